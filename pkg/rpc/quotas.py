"""How many calls per second a game may make of a process: a token bucket per game, filled by its quota.

A bucket holds what one second brings, so a game may use its second at once. What a game is allowed is asked of
`catalog` now and then; while `catalog` does not answer, nobody is refused for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from cachetools import LRUCache

from pkg.clock import Clock
from pkg.errors import OofggError, Reason, ResourceExhausted

_MOST_GAMES: Final = 10_000
_ASK_AGAIN_SECONDS: Final = 5.0

# The calls per second of a game; 0 for any number. Raises OofggError.
CallsPerSecond = Callable[[str], Awaitable[int]]


class _Bucket:
    __slots__ = ("asked", "filled", "rate", "tokens")

    def __init__(self, now: float) -> None:
        self.rate = 0
        self.tokens = 0.0
        self.filled = now
        self.asked = float("-inf")


class GameQuotas:
    """The buckets of a process."""

    def __init__(self, calls_per_second: CallsPerSecond, clock: Clock) -> None:
        self._calls_per_second = calls_per_second
        self._clock = clock
        self._buckets: LRUCache[str, _Bucket] = LRUCache(_MOST_GAMES)

    async def spend(self, game_id: str) -> None:
        """Counts a call of a game. Raises ResourceExhausted(QUOTA_EXCEEDED)."""
        now = self._clock.monotonic()
        bucket = self._buckets.get(game_id)
        if bucket is None:
            bucket = self._buckets[game_id] = _Bucket(now)
        if now - bucket.asked > _ASK_AGAIN_SECONDS:
            bucket.asked = now  # before the answer is there, so that not every call of a moment asks
            await self._ask(game_id, bucket)
        if not bucket.rate:
            return
        bucket.tokens = min(float(bucket.rate), bucket.tokens + (now - bucket.filled) * bucket.rate)
        bucket.filled = now
        if bucket.tokens < 1:
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED,
                f"This game may make {bucket.rate} calls a second. Its developer can ask the operator for more.",
                retry_after=(1 - bucket.tokens) / bucket.rate,
                quota="calls_per_second",
            )
        bucket.tokens -= 1

    async def _ask(self, game_id: str, bucket: _Bucket) -> None:
        try:
            rate = await self._calls_per_second(game_id)
        except OofggError:
            return
        if rate != bucket.rate:
            bucket.rate = rate
            bucket.tokens = float(rate)
