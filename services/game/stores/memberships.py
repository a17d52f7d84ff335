"""In how many sessions a player has a seat: an index in Redis that only points, and is tidied when it seems full."""

from __future__ import annotations

from typing import Final, cast

import redis.asyncio as redis

from pkg.cache.answers import answers
from pkg.errors import Reason, ResourceExhausted
from services.game.stores.sessions import SessionStore

_KEPT_SECONDS: Final = 7 * 86_400


class Memberships:
    """Sessions by player. Everything raises Unavailable when Redis is away."""

    def __init__(self, client: redis.Redis, store: SessionStore, *, most: int) -> None:
        self._redis = client
        self._store = store
        self._most = most

    async def enter(self, user_id: str, session_id: str) -> None:
        """A player is about to take a seat. Raises ResourceExhausted(QUOTA_EXCEEDED) for one too many.

        It is counted before it is judged: of several that are taken at once, none passes beyond the bound.
        """
        key = f"game:player:{user_id}"
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.sadd(key, session_id)
        pipeline.expire(key, _KEPT_SECONDS)
        pipeline.scard(key)
        async with answers():
            _, _, count = await pipeline.execute()
        if count <= self._most:
            return
        async with answers():
            members = cast("set[bytes]", await self._redis.smembers(key))
        others = sorted(each.decode() for each in members if each.decode() != session_id)
        sessions = await self._store.read_many(others)
        over = [
            other
            for other, session in zip(others, sessions, strict=True)
            if session is None or session.over or session.seat_of(user_id) is None
        ]
        refused = len(others) - len(over) >= self._most
        async with answers():
            if gone := [*over, *([session_id] if refused else [])]:
                await self._redis.srem(key, *gone)
        if refused:
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED,
                f"You have a seat in {self._most} sessions, which is as many as a player may. Leave one first.",
                quota="player_sessions",
            )
