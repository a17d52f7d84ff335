"""How it goes in queues, as calls ask: remembered for two seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pkg.clock import Clock
from pkg.remembering import Remembered
from services.matchmaking.leading.figures import Figures
from services.matchmaking.stores.leading import LeaderStore, QueueKey

_REMEMBER_SECONDS: Final = 2.0
_REMEMBERED: Final = 10_000
# No median: a wait is never negative.
_UNKNOWN: Final = -1.0


class QueueFigures:
    """Figures of queues by key."""

    def __init__(self, store: LeaderStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: Remembered[QueueKey, tuple[Figures, int]] = Remembered(
            _REMEMBERED, _REMEMBER_SECONDS, clock.monotonic
        )
        self._medians: Remembered[QueueKey, float | None] = Remembered(_REMEMBERED, _REMEMBER_SECONDS, clock.monotonic)

    async def of(self, key: QueueKey) -> tuple[Figures, int]:
        """The figures, and tickets that wait. Raises Unavailable."""
        known = self._known.get(key, None)
        if known is not None:
            return known
        ((data, waiting),) = await self._store.read_stats([key])
        return self._known.put(key, (Figures(data), waiting))

    async def estimate(self, game_id: str, queues: Iterable[str]) -> float | None:
        """How long a ticket in these queues waits, in seconds: the shortest median. None when nothing is known."""
        medians = [await self._median(QueueKey(game_id, queue)) for queue in queues]
        return min((median for median in medians if median is not None), default=None)

    async def _median(self, key: QueueKey) -> float | None:
        median = self._medians.get(key, _UNKNOWN)
        if median != _UNKNOWN:
            return median
        figures, _ = await self.of(key)
        estimate = figures.estimate(self._clock.now().timestamp())
        return self._medians.put(key, estimate.median if estimate else None)
