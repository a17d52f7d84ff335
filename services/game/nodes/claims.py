"""Which node runs which sessions, as an index in Redis: so that those of a dead node are found.

The hash of a session is the truth; a pointer that is wrong is dropped when it is come across.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, cast

import redis.asyncio as redis

from pkg.cache.answers import answers
from services.game.nodes.peers import Peer

_OWNERS: Final = "game:owners"
_GIVEN_SECONDS: Final = 3600


class Claims:
    """Sessions by node. Everything raises Unavailable when Redis is away."""

    def __init__(self, client: redis.Redis, me: Peer) -> None:
        self._redis = client
        self._me = me

    async def enter(self) -> None:
        """Makes this node one whose sessions others look for."""
        async with answers():
            await self._redis.hset(_OWNERS, self._me.incarnation, self._me.node)

    async def owners(self) -> list[Peer]:
        """The nodes that may have sessions, the dead included."""
        async with answers():
            found = cast("dict[bytes, bytes]", await self._redis.hgetall(_OWNERS))
        return [Peer(incarnation.decode(), node.decode()) for incarnation, node in found.items()]

    async def some(self, of: Peer, count: int) -> list[str]:
        """Some sessions of a node, any of them."""
        async with answers():
            found = cast("list[bytes]", await self._redis.srandmember(owned_key(of.incarnation), count))
        return [session_id.decode() for session_id in found]

    async def drop(self, of: Peer, session_ids: Iterable[str]) -> None:
        """These are not that node's any more."""
        async with answers():
            await self._redis.srem(owned_key(of.incarnation), *session_ids)

    async def forget(self, peer: Peer) -> None:
        """A dead node has no sessions left."""
        async with answers():
            await self._redis.hdel(_OWNERS, peer.incarnation)

    async def give(self, given: Iterable[tuple[Peer, str]]) -> None:
        """Tells nodes of sessions that are now their own."""
        by_node: defaultdict[str, list[str]] = defaultdict(list)
        for to, session_id in given:
            by_node[to.incarnation].append(session_id)
        if not by_node:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for incarnation, session_ids in by_node.items():
            pipeline.sadd(owned_key(incarnation), *session_ids)
            pipeline.rpush(_given_key(incarnation), *session_ids)
            pipeline.expire(_given_key(incarnation), _GIVEN_SECONDS)
        async with answers():
            await pipeline.execute()

    async def given(self, count: int) -> list[str]:
        """Sessions this node was given since it last asked."""
        async with answers():
            found = cast("list[bytes] | None", await self._redis.lpop(_given_key(self._me.incarnation), count))
        return [session_id.decode() for session_id in found or ()]


def owned_key(incarnation: str) -> str:
    """The set of a node's sessions."""
    return f"game:owned:{incarnation}"


def _given_key(incarnation: str) -> str:
    return f"game:given:{incarnation}"
