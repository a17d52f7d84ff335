"""Tickets that are watched on this node: kept alive together, read together when they change.

Changes are told by Redis (pub/sub); one that was missed is found with the next renewal. A ticket that Redis has lost
with its newest data is entered again, at its old place.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

import redis.asyncio as redis
from redis.exceptions import RedisError

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.cache.answers import answers
from pkg.errors import OofggError, Reason, ResourceExhausted
from pkg.internal.v1 import ticket_pb2 as kept_pb
from pkg.telemetry.logs import get_logger
from services.matchmaking.engine.tickets import Why
from services.matchmaking.stores.leading import QueueKey, channel_of
from services.matchmaking.stores.tickets import TicketRecord, TicketStore

_log = get_logger(__name__)

_RENEW_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.5
_LISTEN_SECONDS: Final = 5.0


class TicketKey(NamedTuple):
    """A ticket of a game."""

    game_id: str
    ticket_id: str


class Watched:
    """A ticket that somebody watches here."""

    __slots__ = ("events", "lost", "record", "why")

    def __init__(self, record: TicketRecord) -> None:
        self.record = record
        self.why: Why | None = record.why
        self.lost = False  # Redis has it no more, and it could not be entered again
        self.events: set[asyncio.Event] = set()

    def wake(self) -> None:
        """Has its watchers look."""
        for event in self.events:
            event.set()


class Watching:
    """The watched tickets of this node."""

    def __init__(
        self,
        client: redis.Redis,
        node: str,
        tickets: TicketStore,
        *,
        leader_news: Callable[[QueueKey], None],
        wanted: Callable[[QueueKey], None],
        most_per_player: int,
        draining: asyncio.Event,
    ) -> None:
        """`leader_news` is told of news for queues that are led here, `wanted` of queues that should be."""
        self._redis = client
        self._node = node
        self._tickets = tickets
        self._leader_news = leader_news
        self._wanted = wanted
        self._most = most_per_player
        self._draining = draining
        self._watched: dict[TicketKey, Watched] = {}
        self._streams: Counter[str] = Counter()
        self._changed: set[TicketKey] = set()
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def stream(self, user_id: str) -> AsyncIterator[None]:
        """Counts a stream of a player. Raises ResourceExhausted(QUOTA_EXCEEDED)."""
        if self._streams[user_id] >= self._most:
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED,
                f"You watch {self._most} tickets at this node, which is as many as a player may. Close one first.",
                quota="ticket_streams",
            )
        self._streams[user_id] += 1
        try:
            yield
        finally:
            self._streams[user_id] -= 1
            if not self._streams[user_id]:
                del self._streams[user_id]

    @asynccontextmanager
    async def watch(self, key: TicketKey, record: TicketRecord) -> AsyncIterator[tuple[Watched, asyncio.Event]]:
        """The ticket as it goes on from a record, and the event that is set when it has changed.

        This node is already told of its changes.
        """
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = Watched(record)
        elif record.version > watched.record.version:
            watched.record = record
            watched.wake()
        event = asyncio.Event()
        watched.events.add(event)
        try:
            yield watched, event
        finally:
            watched.events.discard(event)
            if not watched.events and self._watched.get(key) is watched:
                del self._watched[key]

    async def run(self) -> None:
        """Reads and renews until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._renew())
            group.create_task(self._tell_of_the_end())
            while True:
                if not self._changed:
                    await self._wake.wait()
                self._wake.clear()
                changed, self._changed = self._changed, set()
                try:
                    await self._read(changed)
                except OofggError as error:
                    _log.warning("tickets cannot be read", tickets=len(changed), error=repr(error))
                    self._changed |= changed
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, keys: set[TicketKey]) -> None:
        by_game: defaultdict[str, list[str]] = defaultdict(list)
        for key in keys:
            if key in self._watched:
                by_game[key.game_id].append(key.ticket_id)
        for game_id, ticket_ids in by_game.items():
            records = await self._tickets.read(game_id, ticket_ids)
            for ticket_id, record in zip(ticket_ids, records, strict=True):
                watched = self._watched.get(TicketKey(game_id, ticket_id))
                if watched is not None and record is not None and record.version >= watched.record.version:
                    watched.record, watched.why = record, record.why
                    watched.wake()

    async def _tell_of_the_end(self) -> None:
        """Has all streams look when the process drains."""
        await self._draining.wait()
        for watched in self._watched.values():
            watched.wake()

    async def _listen(self) -> None:
        """Hears what concerns this node."""
        while True:
            pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
            try:
                async with answers():
                    await pubsub.subscribe(channel_of(self._node))
                while True:
                    message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_LISTEN_SECONDS)
                    if message is not None:
                        self._hear(message["data"].decode().split(" "))
            except (OofggError, RedisError, OSError, TimeoutError) as error:
                _log.warning("news of tickets cannot be heard", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
                self._changed.update(self._watched)
                self._wake.set()
            finally:
                with suppress(RedisError, OSError, TimeoutError):
                    async with asyncio.timeout(1.0):
                        await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _hear(self, words: list[str]) -> None:
        kind, game_id, *rest = words
        if kind == "t":
            self._changed.update(TicketKey(game_id, ticket_id) for ticket_id in rest)
            self._wake.set()
        elif kind == "f":
            self._leader_news(QueueKey(game_id, rest[0]))
        elif kind == "l":
            self._wanted(QueueKey(game_id, rest[0]))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            by_game: defaultdict[str, list[str]] = defaultdict(list)
            for key in self._watched:
                by_game[key.game_id].append(key.ticket_id)
            for game_id, ticket_ids in by_game.items():
                try:
                    await self._renew_some(game_id, ticket_ids)
                except OofggError as error:
                    _log.warning("tickets cannot be renewed", tickets=len(ticket_ids), error=repr(error))

    async def _renew_some(self, game_id: str, ticket_ids: list[str]) -> None:
        told = await self._tickets.keep(game_id, ticket_ids)
        for ticket_id, found in zip(ticket_ids, told, strict=True):
            key = TicketKey(game_id, ticket_id)
            watched = self._watched.get(key)
            if watched is None:
                continue
            if found is None:
                await self._enter_again(key, watched)
                continue
            version, why = found
            if version != watched.record.version:
                self._changed.add(key)
                self._wake.set()
            elif why != watched.why:
                watched.why = why
                watched.wake()

    async def _enter_again(self, key: TicketKey, watched: Watched) -> None:
        """Redis has lost a ticket that waited here."""
        record = watched.record
        if record.state not in (pb.TICKET_STATE_QUEUED, pb.TICKET_STATE_PROPOSED, pb.TICKET_STATE_ACCEPTED):
            return
        ticket = kept_pb.StoredTicket.FromString(record.data).ticket
        try:
            entered = await self._tickets.enter(
                key.game_id,
                key.ticket_id,
                record.data,
                users=[player.user_id for player in ticket.players],
                queues=ticket.queues,
                watched=True,
                enter_ms=record.enter_ms,
            )
        except OofggError as error:
            if error.reason is not Reason.TICKET_ACTIVE:
                raise
            watched.lost = True  # its player has begun anew meanwhile
            watched.wake()
            return
        if entered.new:
            _log.warning("a ticket that was lost is entered again", game=key.game_id, ticket=key.ticket_id)
            watched.record = (await self._tickets.read(key.game_id, [key.ticket_id]))[0] or record
            watched.wake()
            for queue in ticket.queues:
                self._wanted(QueueKey(key.game_id, queue))
