"""A game's finished matches from Kafka: the extra `kafka` of the SDK (`pip install './sdk[kafka]'` from the checkout).

async with MatchHistory("kafka:9092", game_id, position=stored) as history:
    async for record in history:
        await take_in(record.match, record.position)  # in one transaction, if it must be once

There is no blocking twin: what follows a topic for days is a service of its own, and has its own loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Final, Self

try:
    from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
    from aiokafka.errors import OffsetOutOfRangeError, UnknownTopicOrPartitionError
    from aiokafka.structs import OffsetAndMetadata
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "oofgg.kafka needs aiokafka, which the extra `kafka` of oofgg brings: pip install 'oofgg[kafka]', or from the "
        "checkout pip install './sdk[kafka]'",
        name=error.name,
    ) from error
from google.protobuf.message import DecodeError

from oofgg import errors
from oofgg._backoff import Backoff
from oofgg._convert import wire_time
from oofgg._finished import finished_match
from oofgg._kafka_clients import FAULTS, REFUSALS, Clients, Security, translated
from oofgg._types import Match
from oofgg.events.v1.match_pb2 import MatchFinished

__all__ = ["MatchHistory", "MatchRecord", "Security"]

logger = logging.getLogger("oofgg")

_TOPIC: Final = "oofgg.match-history."
_TYPE: Final = MatchFinished.DESCRIPTOR.full_name
_BATCH: Final = 500
_GLANCE_MS: Final = 20
_DOZE_SECONDS: Final = 0.1
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class MatchRecord:
    """A finished match, and where its reader stands."""

    match: Match
    position: str
    """Go on from here: `MatchHistory(…, position=…)`."""
    event_id: str
    """The same whenever the match comes again; `ce_id` of the record."""


class MatchHistory:
    """An async context manager and iterator over the finished matches of a game, in the order they were taken in.

    Each match comes once, and goes on coming: when the broker is away it is waited for, and a broker that lost its
    newest records and got them again is not believed to have new ones. What begins is the first of these that is given:

    - `position`: of a MatchRecord, from wherever it was stored,
    - `group`: what `commit` last left under this name; a group names a position, it does not share the matches out,
    - `since`: the first match that was published at this time or later,
    - otherwise the oldest match that the topic still has.

    Raises PermissionDenied when the broker refuses the game's topic or the group, and when it is entered, Unavailable
    when no broker answers within `timeout` seconds: also a wrong password looks like that.
    """

    def __init__(
        self,
        bootstrap: str,
        game: str,
        *,
        position: str = "",
        group: str = "",
        since: datetime | None = None,
        security: Security | None = None,
        timeout: float = 10.0,
        remember: int = 10_000,
    ) -> None:
        """`bootstrap` is host:port of brokers, by comma; `remember` is for how many matches repeats are known by id.

        Raises ValueError for a position of something else, and for a time that is not aware.
        """
        if since is not None:
            wire_time(since)  # refuses one without a time zone
        self._place = TopicPartition(_TOPIC + game, 0)
        self._clients = Clients(bootstrap, security or Security(), timeout)
        self._entered = False
        self._group = group
        self._since = since
        self._reader: AIOKafkaConsumer | None = None
        self._committer: AIOKafkaConsumer | None = None
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._ready: deque[MatchRecord | errors.DataLoss] = deque()
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._remember = remember
        # Where the next fetch goes on, None while that is to be found out; and the number of the last record.
        self._next: int | None = None
        self._seen = 0
        if position:
            self._next, self._seen = _parsed(position)
        # Up to this offset, what is missing was removed by the topic's retention.
        self._floor = -1
        self._restart = False
        self._position = position

    @property
    def topic(self) -> str:
        """The topic it reads."""
        return str(self._place.topic)

    @property
    def position(self) -> str:
        """The position after the last match that was handed out; empty before the first."""
        return self._position

    async def __aenter__(self) -> Self:
        self._entered = True
        known = False
        try:
            known = await self._clients.knows(self.topic)
            await self._connected()
        except UnknownTopicOrPartitionError:
            await self._disconnect()
        except FAULTS as error:
            await self._disconnect()
            raise translated(error) from error
        except BaseException:
            await self._disconnect()
            raise
        if not known:
            logger.warning(
                "the topic %s does not exist yet: waiting for it. It is made a moment after its game; check the game's "
                "id, and that its match history on Kafka is not turned off (match_history_topic_disabled).",
                self.topic,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered = False
        await self._disconnect()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MatchRecord:
        """The next match, however long it takes. Raises PermissionDenied, or DataLoss for an unreadable record."""
        if not self._entered:
            raise RuntimeError("not reading: use `async with MatchHistory(…) as history:`")
        while not self._ready:
            await self._more()
        record = self._ready.popleft()
        if isinstance(record, errors.DataLoss):
            raise record
        self._position = record.position
        return record

    async def commit(self) -> None:
        """Leaves the position with the group, for who comes after. Raises FailedPrecondition without a group or a
        match, PermissionDenied, Unavailable."""
        if not self._group or not self._position:
            raise errors.FailedPrecondition("There is no group, or no match yet whose position could be left with it.")
        offset, number = _parsed(self._position)
        try:
            committer = await self._member()
            left = {self._place: OffsetAndMetadata(offset, str(number))}
            await self._clients.within(committer.commit(left))
        except FAULTS as error:
            raise translated(error) from error

    async def _more(self) -> None:
        try:
            reader = await self._connected()
            try:
                self._take(await self._fetch(reader))
            except OffsetOutOfRangeError:
                self._start_over(self._floor)
            if self._restart:
                await self._rewind(reader)
            self._backoff.reset()
        except REFUSALS as error:
            raise translated(error) from error
        except FAULTS:
            await self._disconnect()
            await asyncio.sleep(self._backoff.delay())

    async def _fetch(self, reader: AIOKafkaConsumer) -> list[ConsumerRecord[bytes, bytes]]:
        """What has come. A reader that found nothing asks no more for a moment: some brokers answer that at once."""
        reader.resume(self._place)
        try:
            came: Mapping[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = await self._clients.within(
                reader.getmany(timeout_ms=_GLANCE_MS, max_records=_BATCH)
            )
        except asyncio.CancelledError:
            reader.seek(self._place, self._next)  # what had come may be lost with whoever waited for it
            raise
        records = came.get(self._place, [])
        if not records:
            reader.pause(self._place)
            await asyncio.sleep(_DOZE_SECONDS)
        return records

    def _take(self, records: list[ConsumerRecord[bytes, bytes]]) -> None:
        for record in records:
            headers = dict(record.headers)
            number, before = _number(headers, "oofgg-number"), _number(headers, "oofgg-previous")
            if self._seen and before > self._seen and record.offset > self._floor:
                # The broker lost its end, and what was lost came back at lower offsets.
                self._start_over(record.offset)
                return
            self._next = record.offset + 1
            if number and number <= self._seen:
                continue
            self._seen = max(self._seen, number)
            self._read(record, headers)

    def _read(self, record: ConsumerRecord[bytes, bytes], headers: Mapping[str, bytes]) -> None:
        event_id = headers.get("ce_id", b"").decode(errors="replace")
        if headers.get("ce_type", b"").decode(errors="replace") != _TYPE or event_id in self._recent:
            return
        self._recent[event_id] = None
        if len(self._recent) > self._remember:
            self._recent.popitem(last=False)
        try:
            match = finished_match(MatchFinished.FromString(record.value or b""))
        except DecodeError:
            self._ready.append(errors.DataLoss(f"{self.topic} has an unreadable match at offset {record.offset}."))
            return
        self._ready.append(MatchRecord(match, f"{record.offset + 1}.{self._seen}", event_id))

    def _start_over(self, floor: int) -> None:
        """Has it read from the beginning again, skipping what was seen. Gaps up to `floor` are accepted."""
        self._restart, self._floor = True, floor

    async def _rewind(self, reader: AIOKafkaConsumer) -> None:
        beginnings = await self._clients.within(reader.beginning_offsets([self._place]))
        self._next = int(beginnings[self._place])
        self._floor = max(self._floor, self._next)
        reader.seek(self._place, self._next)
        self._restart = False

    async def _connected(self) -> AIOKafkaConsumer:
        if self._reader is None:
            self._reader = self._clients.consumer(self.topic)
            await self._clients.within(self._reader.start())
            if self._next is None:
                self._next, self._seen = await self._clients.within(self._begin(self._reader))
            self._reader.seek(self._place, self._next)
        return self._reader

    async def _begin(self, reader: AIOKafkaConsumer) -> tuple[int, int]:
        """Where to begin without a position: the offset, and the number of the last match before it, 0 if unknown."""
        if self._group and (left := await self._clients.left_with(self._group, self._place)) is not None:
            return int(left.offset), int(left.metadata) if left.metadata.isdigit() else 0
        if self._since is not None:
            found = await reader.offsets_for_times({self._place: int(self._since.timestamp() * 1000)})
            if found[self._place] is not None:
                return int(found[self._place].offset), 0
            return int((await reader.end_offsets([self._place]))[self._place]), 0
        return int((await reader.beginning_offsets([self._place]))[self._place]), 0

    async def _member(self) -> AIOKafkaConsumer:
        """Who commits: of the group without joining it, so that nobody is asked to give anything up."""
        if self._committer is None:
            committer = self._clients.consumer(group=self._group)
            committer.assign([self._place])
            self._committer = committer
            await self._clients.within(committer.start())
        return self._committer

    async def _disconnect(self) -> None:
        consumers, self._reader, self._committer = (self._reader, self._committer), None, None
        await self._clients.stop(consumers)


def _parsed(position: str) -> tuple[int, int]:
    offset, _, number = position.partition(".")
    if not (offset.isdecimal() and number.isdecimal()):
        raise ValueError(f"{position!r} is no position of MatchHistory")
    return int(offset), int(number)


def _number(headers: Mapping[str, bytes], name: str) -> int:
    text = headers.get(name, b"0")
    return int(text) if text.isdigit() else 0
