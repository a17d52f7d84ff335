"""How much may be sent: buckets that fill with time. Who sends more is read more slowly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pkg.errors import Reason, ResourceExhausted


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """Rates per second, and what may be sent in a burst after a pause."""

    commands_per_second: float
    command_burst: float
    bytes_per_second: float
    byte_burst: float


class Budget:
    """What one participant, or a whole session, may send. `now` is monotonic seconds."""

    __slots__ = ("_bytes", "_commands", "_filled", "_limits")

    def __init__(self, limits: BudgetLimits, now: float) -> None:
        self._limits = limits
        self._commands = limits.command_burst
        self._bytes = limits.byte_burst
        self._filled = now

    def spend(self, commands: float, size: int, now: float) -> float:
        """Spends what was sent, and returns the seconds until as much has come in again: 0 when there was enough."""
        limits = self._limits
        passed = now - self._filled
        self._filled = now
        self._commands = min(self._commands + passed * limits.commands_per_second, limits.command_burst) - commands
        self._bytes = min(self._bytes + passed * limits.bytes_per_second, limits.byte_burst) - size
        if self._commands >= 0 and self._bytes >= 0:
            return 0.0
        return max(-self._commands / limits.commands_per_second, -self._bytes / limits.bytes_per_second)

    @property
    def is_light(self) -> bool:
        """Whether less than half of a burst was spent lately."""
        limits = self._limits
        return 2 * self._commands >= limits.command_burst and 2 * self._bytes >= limits.byte_burst

    def is_full(self, now: float) -> bool:
        """Whether nothing was spent for so long that it is as a new one."""
        limits = self._limits
        passed = now - self._filled
        return (
            self._commands + passed * limits.commands_per_second >= limits.command_burst
            and self._bytes + passed * limits.bytes_per_second >= limits.byte_burst
        )


class Budgets:
    """Those of a session: one per account, which survives its streams, and one for all of them together."""

    __slots__ = ("_all", "_limits", "_own")

    # Accounts that were here lately. Beyond so many, those whose budget is as a new one are dropped.
    _MANY = 64

    def __init__(self, each: BudgetLimits, together: BudgetLimits, now: float) -> None:
        self._limits = each
        self._all = Budget(together, now)
        self._own: dict[str, Budget] = {}

    def spend(self, user_id: str, commands: float, size: int, now: float) -> float:
        """Spends what an account sent, and returns the seconds for which it is not to be read."""
        own = self._own.get(user_id)
        if own is None:
            if len(self._own) >= self._MANY:
                self._own = {user: budget for user, budget in self._own.items() if not budget.is_full(now)}
            own = self._own[user_id] = Budget(self._limits, now)
        pause, together = own.spend(commands, size, now), self._all.spend(commands, size, now)
        # When all together send too much, those who send much wait; the others are not to suffer from it.
        return pause if own.is_light else max(pause, together)


@contextmanager
def counted(counter: Counter[str], user_id: str, most: int) -> Iterator[None]:
    """One more of an account's. Raises ResourceExhausted(QUOTA_EXCEEDED) when it has as many as it may."""
    if counter[user_id] >= most:
        raise ResourceExhausted(
            Reason.QUOTA_EXCEEDED,
            f"You have {most} streams open here, which is as many as a player may.",
            quota="streams",
        )
    counter[user_id] += 1
    try:
        yield
    finally:
        counter[user_id] -= 1
        if not counter[user_id]:
            del counter[user_id]
