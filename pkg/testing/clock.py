"""A clock that a test moves on, so that nobody has to wait."""

from __future__ import annotations

from datetime import datetime, timedelta

from pkg.clock import SystemClock


class SteppedClock:
    """The machine's clock, ahead by what it was moved on. A cache forgets at once; a sleep still takes its time."""

    def __init__(self) -> None:
        self._system = SystemClock()
        self._ahead_seconds = 0.0

    def now(self) -> datetime:
        return self._system.now() + timedelta(seconds=self._ahead_seconds)

    def monotonic(self) -> float:
        return self._system.monotonic() + self._ahead_seconds

    def advance(self, seconds: float) -> None:
        """From now on it is so much later."""
        self._ahead_seconds += seconds
