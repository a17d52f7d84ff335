"""In how many sessions a player has a seat: an index in Redis that only points, and is tidied when it seems full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import redis.asyncio as redis

from pkg.cache.answers import answers
from pkg.cache.scripts import Call, run_all
from pkg.clock import Clock
from pkg.errors import Reason, ResourceExhausted
from pkg.ids import time_of
from services.game.stores.sessions import SessionStore

_KEPT_SECONDS: Final = 7 * 86_400
# Seats are entered before their session is made: one that is not there yet is waited for this long.
_BIRTH_SECONDS: Final = 10.0
# KEYS: a player's sessions. ARGV: one more, seconds to keep them. Answers how many there are.
_ENTER: Final = """
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('SCARD', KEYS[1])
"""


class Memberships:
    """Sessions by player. Everything raises Unavailable when Redis is away."""

    def __init__(self, client: redis.Redis, store: SessionStore, clock: Clock, *, most: int) -> None:
        self._redis = client
        self._store = store
        self._clock = clock
        self._most = most

    async def enter(self, user_id: str, session_id: str) -> None:
        """A player is about to take a seat. Raises ResourceExhausted(QUOTA_EXCEEDED) for one too many."""
        for refusal in (await self.enter_all([(user_id, session_id)])).values():
            raise refusal

    async def enter_all(self, entries: Sequence[tuple[str, str]]) -> dict[tuple[str, str], ResourceExhausted]:
        """Players are about to take seats: (user id, session id), in one round trip. Returns who has one too many.

        It is counted before it is judged: of several that are taken at once, none passes beyond the bound.
        """
        calls: list[Call] = [([_key(user_id)], [session_id, _KEPT_SECONDS]) for user_id, session_id in entries]
        counts = await run_all(self._redis, _ENTER, calls)
        refused: dict[tuple[str, str], ResourceExhausted] = {}
        for (user_id, session_id), count in zip(entries, counts, strict=True):
            if count > self._most and await self._is_full(user_id, session_id):
                refused[user_id, session_id] = ResourceExhausted(
                    Reason.QUOTA_EXCEEDED,
                    f"You have a seat in {self._most} sessions, which is as many as a player may. Leave one first.",
                    quota="player_sessions",
                    user_id=user_id,
                )
        return refused

    async def leave_all(self, entries: Sequence[tuple[str, str]]) -> None:
        """Players do not take seats after all: their sessions are not made."""
        pipeline = self._redis.pipeline(transaction=False)
        for user_id, session_id in entries:
            pipeline.srem(_key(user_id), session_id)
        async with answers():
            await pipeline.execute()

    async def _is_full(self, user_id: str, session_id: str) -> bool:
        """Drops what leads nowhere; whether there is still one too many, which is then dropped too."""
        key = _key(user_id)
        async with answers():
            members = cast("set[bytes]", await self._redis.smembers(key))
        others = sorted(each.decode() for each in members if each.decode() != session_id)
        sessions = await self._store.read_many(others)
        now = self._clock.now().timestamp()
        over = [
            other
            for other, session in zip(others, sessions, strict=True)
            if (
                now - time_of(other) > _BIRTH_SECONDS
                if session is None
                else session.over or not session.seat_of(user_id)
            )
        ]
        refused = len(others) - len(over) >= self._most
        async with answers():
            if gone := [*over, *([session_id] if refused else [])]:
                await self._redis.srem(key, *gone)
        return refused


def _key(user_id: str) -> str:
    return f"game:player:{user_id}"
