"""What the leader of a queue reads and writes in Redis. Everything raises Unavailable when Redis is away.

What it writes carries its epoch; `Fenced` is raised when another node leads the queue by now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import redis.asyncio as redis

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.cache.answers import answers
from pkg.cache.scripts import Argument, Call, run, run_all
from services.matchmaking.engine.tickets import Why
from services.matchmaking.stores import scripts
from services.matchmaking.stores.tickets import MANY_SECONDS, MatchRecord, base_of, pack_why

_ACTIVE: Final = "mm:active"
_FEED_AT_ONCE: Final = 2_000
_LOAD_AT_ONCE: Final = 500
_EVENTS_AT_ONCE: Final = 500
_OPENING_MILLISECONDS: Final = 24 * 3600 * 1000


def channel_of(node: str) -> str:
    """Where a node hears of what concerns it."""
    return f"mm:node:{node}"


class Fenced(Exception):
    """Another node leads the queue."""


class QueueKey(NamedTuple):
    """A queue of a game."""

    game_id: str
    name: str

    @property
    def text(self) -> str:
        """For an index of all queues."""
        return f"{self.game_id} {self.name}"


@dataclass(frozen=True, slots=True)
class Lead:
    """Who leads a queue. `epoch` is empty when it is not this node; `free_seconds`: for how long nobody has."""

    epoch: str
    holder: str = ""
    free_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class News:
    """An entry of a feed: a ticket that entered (`data`), one that left, or a session that looks for players."""

    kind: str
    subject: str
    data: bytes
    enter_ms: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A proposed match. `answer_ms` None: nobody is asked. `tickets` have the number of their players."""

    match_id: str
    data: bytes
    players: int
    answer_ms: int | None
    tickets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Happened:
    """Something for Kafka: kind M(atch) or T(icket), and its id."""

    position: str
    kind: str
    subject: str


class LeaderStore:
    """Queues as their leaders work them."""

    def __init__(self, client: redis.Redis, node: str) -> None:
        self._redis: Any = client  # its types do not know that answers are bytes
        self._node = node

    # Who leads.

    async def mark_active(self, keys: Iterable[QueueKey], now: float) -> None:
        """These queues want leaders."""
        async with answers():
            await self._redis.zadd(_ACTIVE, {key.text: now for key in keys}, gt=True)

    async def active(self, forget_before: float) -> list[QueueKey]:
        """Queues that want leaders, without those that nobody has entered since a time."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zremrangebyscore(_ACTIVE, "-inf", forget_before)
        pipeline.zrange(_ACTIVE, 0, -1)
        async with answers():
            _, found = await pipeline.execute()
        return [QueueKey(*text.decode().split(" ", 1)) for text in found]

    async def lead(self, keys: Sequence[QueueKey], lease_seconds: float, *, take: bool) -> list[Lead]:
        """Renews the lease of queues; with `take` takes it where it is free."""
        lease = int(lease_seconds * 1000)
        calls: list[Call] = [([base_of(key.game_id)], [key.name, self._node, lease, int(take)]) for key in keys]
        told = await run_all(self._redis, scripts.LEAD, calls, within=MANY_SECONDS)
        return [
            Lead(answer[0].decode())
            if answer[0]
            else Lead("", answer[1].decode(), 0.0 if answer[1] else float(answer[2]) / 1000)
            for answer in told
        ]

    async def release(self, key: QueueKey, epoch: str, *, only_idle: bool) -> bool:
        """Leads a queue no more. Whether that is so."""
        return bool(await run(self._redis, scripts.RELEASE, [base_of(key.game_id)], [key.name, epoch, int(only_idle)]))

    async def hand(self, node: str, key: QueueKey) -> None:
        """Tells a node that it should lead a queue."""
        async with answers():
            await self._redis.publish(channel_of(node), f"l {key.text}")

    # What there is.

    async def feed_end(self, key: QueueKey) -> str:
        """Position of the last entry of the feed."""
        async with answers():
            found = await self._redis.xrevrange(f"{base_of(key.game_id)}:f:{key.name}", count=1)
        return found[0][0].decode() if found else "0-0"

    async def waiting(self, key: QueueKey) -> list[News]:
        """All tickets that wait, oldest first."""
        base = base_of(key.game_id)
        async with answers():
            members = await self._redis.zrange(f"{base}:q:{key.name}", 0, -1, withscores=True)
        found: list[News] = []
        for start in range(0, len(members), _LOAD_AT_ONCE):
            chunk = members[start : start + _LOAD_AT_ONCE]
            pipeline = self._redis.pipeline(transaction=False)
            for ticket_id, _ in chunk:
                pipeline.hget(f"{base}:t:{ticket_id.decode()}", "d")
            async with answers():
                rows = await pipeline.execute()
            found += [
                News("+", ticket_id.decode(), data, int(score))
                for (ticket_id, score), data in zip(chunk, rows, strict=True)
                if data
            ]
        return found

    async def feed(self, key: QueueKey, epoch: str, position: str) -> tuple[str, list[News]]:
        """What is new after a position, and the position of the last of it. What was read before is dropped.

        Raises Fenced.
        """
        base = base_of(key.game_id)
        if await run(self._redis, scripts.LOOK, [base], [key.name, epoch, position]) == b"FENCED":
            raise Fenced
        async with answers():
            found = await self._redis.xrange(f"{base}:f:{key.name}", f"({position}", "+", count=_FEED_AT_ONCE)
        news = [
            News(fields[b"o"].decode(), fields[b"t"].decode(), fields.get(b"d", b""), int(float(fields.get(b"e", 0))))
            for _, fields in found
        ]
        return (found[-1][0].decode() if found else position), news

    async def openings(self, key: QueueKey, session_ids: Sequence[str] | None = None) -> dict[str, News | None]:
        """Sessions that look for players: all, or some of them; None for one that does not any more."""
        base = base_of(key.game_id)
        if session_ids is None:
            async with answers():
                session_ids = [found.decode() for found in await self._redis.zrange(f"{base}:os:{key.name}", 0, -1)]
        if not session_ids:
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for session_id in session_ids:
            pipeline.hmget(f"{base}:o:{session_id}", "d", "e")
        async with answers():
            rows = await pipeline.execute()
        return {
            session_id: News("o", session_id, row[0], int(float(row[1]))) if row[0] else None
            for session_id, row in zip(session_ids, rows, strict=True)
        }

    async def matches(self, key: QueueKey, match_ids: Sequence[str] | None = None) -> dict[str, MatchRecord]:
        """Matches on their way: all of a queue, or some of them."""
        base = base_of(key.game_id)
        if match_ids is None:
            async with answers():
                match_ids = [found.decode() for found in await self._redis.zrange(f"{base}:ms:{key.name}", 0, -1)]
        if not match_ids:
            return {}
        pipeline = self._redis.pipeline(transaction=False)
        for match_id in match_ids:
            pipeline.hmget(f"{base}:m:{match_id}", "d", "s", "n", "until")
        async with answers():
            rows = await pipeline.execute()
        return {
            match_id: MatchRecord(match_id, row[0], row[1].decode(), int(row[2]), int(float(row[3])))
            for match_id, row in zip(match_ids, rows, strict=True)
            if row[0]
        }

    # What it decides.

    async def claim(self, key: QueueKey, epoch: str, claims: Sequence[Claim]) -> list[list[str]]:
        """Takes the tickets of matches. For each the tickets that are gone; none: the match is claimed.

        Raises Fenced.
        """
        base = base_of(key.game_id)
        calls: list[Call] = [
            ([base], [key.name, epoch, claim.match_id, claim.data, claim.players,
                      "" if claim.answer_ms is None else claim.answer_ms,
                      *(word for ticket in claim.tickets.items() for word in ticket)])
            for claim in claims
        ]  # fmt: skip
        told = await run_all(self._redis, scripts.CLAIM, calls, within=MANY_SECONDS)
        if any(answer[0] == b"FENCED" for answer in told):
            raise Fenced
        return [[ticket.decode() for ticket in answer[1:]] for answer in told]

    async def settle(self, key: QueueKey, epoch: str, matches: Mapping[str, bytes]) -> None:
        """These matches have sessions; their data. Raises Fenced."""
        await self._all(scripts.SETTLE, key, [[key.name, epoch, match_id, data] for match_id, data in matches.items()])

    async def undo(self, key: QueueKey, epoch: str, match_ids: Iterable[str]) -> None:
        """These matches cannot have sessions: their tickets return to their places. Raises Fenced."""
        await self._all(scripts.UNDO, key, [[key.name, epoch, match_id] for match_id in match_ids])

    async def overdue(self, key: QueueKey, epoch: str, match_ids: Iterable[str]) -> None:
        """The time to answer these matches is over. Raises Fenced."""
        await self._all(scripts.OVERDUE, key, [[key.name, epoch, match_id] for match_id in match_ids])

    async def dismiss(
        self,
        key: QueueKey,
        epoch: str,
        ticket_ids: Sequence[str],
        state: pb.TicketState.ValueType,
        reason: pb.TicketReason.ValueType,
        *,
        last: bool = True,
    ) -> None:
        """Tickets leave this queue, and are over when it was their last one, or at once unless `last`.

        Raises Fenced.
        """
        for start in range(0, len(ticket_ids), _LOAD_AT_ONCE):
            chunk = ticket_ids[start : start + _LOAD_AT_ONCE]
            await self._all(scripts.DISMISS, key, [[key.name, epoch, state, reason, int(last), 0, *chunk]])

    async def expire_unwatched(self, key: QueueKey, epoch: str, now_ms: int) -> None:
        """Tickets of the game that nobody renews are over. Raises Fenced."""
        async with answers():
            found = await self._redis.zrangebyscore(
                f"{base_of(key.game_id)}:alive", "-inf", now_ms, start=0, num=_LOAD_AT_ONCE
            )
        if found:
            tickets = [ticket.decode() for ticket in found]
            state, reason = pb.TICKET_STATE_EXPIRED, pb.TICKET_REASON_ABANDONED
            await self._all(scripts.DISMISS, key, [[key.name, epoch, state, reason, 0, 1, *tickets]])

    async def tell_why(self, key: QueueKey, reasons: Mapping[str, Why]) -> None:
        """What keeps others away from tickets, for their watchers."""
        base = base_of(key.game_id)
        calls: list[Call] = [([base], [ticket_id, pack_why(why)]) for ticket_id, why in reasons.items()]
        await run_all(self._redis, _TELL_WHY, calls, within=MANY_SECONDS)

    async def open(self, key: QueueKey, session_id: str, data: bytes) -> bool:
        """A session looks for players; with no data, not any more. Whether the queue has a leader."""
        return bool(
            await run(
                self._redis,
                scripts.OPEN,
                [base_of(key.game_id)],
                [key.name, session_id, data, _OPENING_MILLISECONDS],
            )
        )

    # What happened, and how it goes.

    async def happened(self, key: QueueKey) -> list[Happened]:
        """What has not been published yet, oldest first."""
        async with answers():
            found = await self._redis.xrange(f"{base_of(key.game_id)}:x:{key.name}", count=_EVENTS_AT_ONCE)
        return [Happened(at.decode(), fields[b"k"].decode(), fields[b"i"].decode()) for at, fields in found]

    async def published(self, key: QueueKey, positions: Sequence[str]) -> None:
        """These need not be published again."""
        async with answers():
            await self._redis.xdel(f"{base_of(key.game_id)}:x:{key.name}", *positions)

    async def write_stats(self, key: QueueKey, stats: bytes) -> None:
        """How it goes in a queue."""
        async with answers():
            await self._redis.set(f"{base_of(key.game_id)}:s:{key.name}", stats, ex=86_400)

    async def read_stats(self, keys: Sequence[QueueKey]) -> list[tuple[bytes, int]]:
        """The same, and tickets that wait now."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.get(f"{base_of(key.game_id)}:s:{key.name}")
            pipeline.zcard(f"{base_of(key.game_id)}:q:{key.name}")
        async with answers():
            found = await pipeline.execute()
        return [(stats or b"", count) for stats, count in zip(found[::2], found[1::2], strict=True)]

    async def _all(self, script: str, key: QueueKey, calls: Sequence[Sequence[Argument]]) -> None:
        keyed = [([base_of(key.game_id)], arguments) for arguments in calls]
        told = await run_all(self._redis, script, keyed, within=MANY_SECONDS)
        if b"FENCED" in told:
            raise Fenced


# ARGV: ticket, why. Only for a ticket that waits. Watchers are told of the first at once, of others when they renew.
_TELL_WHY: Final = """
local key = KEYS[1] .. ':t:' .. ARGV[1]
local have = redis.call('HMGET', key, 's', 'y', 'w')
if have[1] ~= '1' or have[2] == ARGV[2] then return 0 end
redis.call('HSET', key, 'y', ARGV[2])
if not have[2] then
  local game = string.match(KEYS[1], '^{mm:(.*)}$')
  for node in string.gmatch(have[3] or '', '%S+') do
    redis.call('PUBLISH', 'mm:node:' .. node, 't ' .. game .. ' ' .. ARGV[1])
  end
end
return 1
"""
