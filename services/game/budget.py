"""How much one stream may send: two buckets that fill with time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Rates per second, and what may be sent in a burst after a pause."""

    commands_per_second: float
    command_burst: float
    bytes_per_second: float
    byte_burst: float


class Budget:
    """The budget of one stream. `now` is monotonic seconds."""

    __slots__ = ("_bytes", "_commands", "_filled", "_limits")

    def __init__(self, limits: BudgetLimits, now: float) -> None:
        self._limits = limits
        self._commands = limits.command_burst
        self._bytes = limits.byte_burst
        self._filled = now

    def spend(self, commands: float, size: int, now: float) -> bool:
        """Whether there was enough for this; what there is is spent."""
        limits = self._limits
        passed = now - self._filled
        self._filled = now
        self._commands = min(self._commands + passed * limits.commands_per_second, limits.command_burst) - commands
        self._bytes = min(self._bytes + passed * limits.bytes_per_second, limits.byte_burst) - size
        return self._commands >= 0 and self._bytes >= 0
