"""How it goes in queues, as calls ask: remembered for two seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cachetools import TTLCache

from pkg.clock import Clock
from services.matchmaking.leading.figures import Figures
from services.matchmaking.stores.leading import LeaderStore, QueueKey

_REMEMBER_SECONDS: Final = 2.0
_REMEMBERED: Final = 10_000


class QueueFigures:
    """Figures of queues by key."""

    def __init__(self, store: LeaderStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: TTLCache[QueueKey, tuple[Figures, int]] = TTLCache(
            _REMEMBERED, _REMEMBER_SECONDS, timer=clock.monotonic
        )
        self._medians: TTLCache[QueueKey, float | None] = TTLCache(
            _REMEMBERED, _REMEMBER_SECONDS, timer=clock.monotonic
        )

    async def of(self, key: QueueKey) -> tuple[Figures, int]:
        """The figures, and tickets that wait. Raises Unavailable."""
        known = self._known.get(key)
        if known is None:
            ((data, waiting),) = await self._store.read_stats([key])
            known = self._known[key] = Figures(data), waiting
        return known

    async def estimate(self, game_id: str, queues: Iterable[str]) -> float | None:
        """How long a ticket in these queues waits, in seconds: the shortest median. None when nothing is known."""
        medians = [await self._median(QueueKey(game_id, queue)) for queue in queues]
        return min((median for median in medians if median is not None), default=None)

    async def _median(self, key: QueueKey) -> float | None:
        try:
            return self._medians[key]
        except KeyError:
            figures, _ = await self.of(key)
            estimate = figures.estimate(self._clock.now().timestamp())
            median = self._medians[key] = estimate.median if estimate else None
            return median
