"""Which sessions there are: sorted sets in Redis by game, state and label.

Members are session ids, which sort by time. The sets only point: what is listed is read from the sessions themselves,
and a pointer to a session that is over, gone or different is dropped when it is come across.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, cast

import redis.asyncio as redis

from pkg.cache.answers import answers
from pkg.clock import Clock
from pkg.ids import time_of
from services.game.engine.facts import OVER, State
from services.game.engine.sessions import Session
from services.game.nodes.claims import owned_key
from services.game.nodes.peers import Peer
from services.game.stores.sessions import SessionStore

# Most pointers one call follows, so that a filter few sessions pass does not read them all.
_MOST_READ: Final = 500
_BIRTH_SECONDS: Final = 60.0
_LISTED: Final = (State.CREATED, State.WAITING, State.STARTED, State.PAUSED)


class Listing:
    """The lists of sessions. Everything raises Unavailable when Redis is away."""

    def __init__(self, client: redis.Redis, store: SessionStore, me: Peer, clock: Clock) -> None:
        self._redis = client
        self._store = store
        self._me = me
        self._clock = clock

    async def update(
        self, session: Session, state: State, label: str, *, old_label: str = "", owner: Peer | None = None
    ) -> None:
        """Lists a session under its state and label, and with its owner (this node); nowhere when it is over."""
        facts = session.facts
        shown = shown_state(state)
        pipeline = self._redis.pipeline(transaction=False)
        for one in dict.fromkeys(("", label, old_label)):
            for other in (*_LISTED, None):
                key = _key(facts.game_id, other, one)
                if one in ("", label) and state not in OVER and other in (shown, None):
                    pipeline.zadd(key, {facts.session_id: 0})
                else:
                    pipeline.zrem(key, facts.session_id)
        key = owned_key((owner or self._me).incarnation)
        if state in OVER:
            pipeline.srem(key, facts.session_id)
        else:
            pipeline.sadd(key, facts.session_id)
        async with answers():
            await pipeline.execute()

    async def add(self, sessions: Sequence[tuple[Session, Peer]]) -> dict[str, int]:
        """Lists sessions that are about to be made or were taken, with their owners. Returns `count` of their games."""
        listed, owned = _pointers(sessions)
        games = list(dict.fromkeys(session.facts.game_id for session, _ in sessions))
        pipeline = self._redis.pipeline(transaction=False)
        for key, ids in listed.items():
            pipeline.zadd(key, dict.fromkeys(ids, 0))
        for key, ids in owned.items():
            pipeline.sadd(key, *ids)
        for game_id in games:
            pipeline.zcard(_key(game_id, None, ""))
        async with answers():
            found = await pipeline.execute()
        return dict(zip(games, map(int, found[-len(games) :]), strict=True))

    async def remove(self, sessions: Sequence[tuple[Session, Peer]]) -> None:
        """Undoes `add` for sessions that were not made."""
        listed, owned = _pointers(sessions)
        pipeline = self._redis.pipeline(transaction=False)
        for key, ids in listed.items():
            pipeline.zrem(key, *ids)
        for key, ids in owned.items():
            pipeline.srem(key, *ids)
        async with answers():
            await pipeline.execute()

    async def claim(self, session_ids: Sequence[str]) -> None:
        """Points to sessions as those of this node."""
        async with answers():
            await self._redis.sadd(owned_key(self._me.incarnation), *session_ids)

    async def page(
        self, game_id: str, state: State | None, label: str, after: str, size: int
    ) -> tuple[list[Session], str]:
        """Up to `size` sessions, newest first, after a session id (empty: from the newest), and the id to go on after
        (empty: that was all)."""
        key = _key(game_id, state, label)
        found: list[Session] = []
        read = 0
        while read < _MOST_READ:
            async with answers():
                raw = cast(
                    "list[bytes]",
                    await self._redis.zrevrangebylex(key, f"({after}" if after else "+", "-", 0, size + 1),
                )
            ids = [value.decode() for value in raw]
            for session_id, session in zip(ids, await self._store.read_many(ids), strict=True):
                if len(found) == size:
                    return found, found[-1].facts.session_id
                after = session_id
                if session is not None and _matches(session, state, label):
                    found.append(session)
                elif session.over if session is not None else self._is_gone(session_id):
                    async with answers():
                        await self._redis.zrem(key, session_id)
            read += len(ids)
            if len(ids) <= size:
                return found, ""
        return found, after

    async def count(self, game_id: str) -> int:
        """How many sessions of a game are not over; pointers that lead nowhere count until they are come across."""
        async with answers():
            return int(await self._redis.zcard(_key(game_id, None, "")))

    def _is_gone(self, session_id: str) -> bool:
        """Whether a session that is not there is not just about to be: it is listed before it is made."""
        return self._clock.now().timestamp() - time_of(session_id) > _BIRTH_SECONDS


def _pointers(sessions: Sequence[tuple[Session, Peer]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Ids of sessions by the sets that list them, and by those of their owners."""
    listed: defaultdict[str, list[str]] = defaultdict(list)
    owned: defaultdict[str, list[str]] = defaultdict(list)
    for session, owner in sessions:
        facts = session.facts
        for label in dict.fromkeys(("", session.profile.label)):
            for state in (shown_state(session.state), None):
                listed[_key(facts.game_id, state, label)].append(facts.session_id)
        owned[owned_key(owner.incarnation)].append(facts.session_id)
    return listed, owned


def shown_state(state: State) -> State:
    """The state as others see it."""
    return State.STARTED if state is State.FINISHING else state


def _matches(session: Session, state: State | None, label: str) -> bool:
    return (
        not session.over
        and (state is None or shown_state(session.state) is state)
        and (not label or session.profile.label == label)
    )


def _key(game_id: str, state: State | None, label: str) -> str:
    return f"{{g:{game_id}}}:{state or '*'}:{label}"
