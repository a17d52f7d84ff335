"""Applying events to a database, each once.

Position and effects commit together, so a crash repeats nothing; a record that comes again in another place is known by
its event id. When the broker loses its end and others take the lost offsets, the numbers of the records show what
was passed over, and reading starts over. What cannot be applied is put aside with a reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from google.protobuf.message import DecodeError

from pkg.db.database import Connection, Database
from pkg.errors import OofggError, Unavailable
from pkg.events import clients
from pkg.events.cluster import Cluster
from pkg.events.dead_letters import bury, replay_marked
from pkg.events.lag import ProjectionFigures
from pkg.events.news import TopicNews
from pkg.events.outbox import Event
from pkg.events.positions import HINDRANCES, Position, PositionMoved, Positions
from pkg.events.records import MalformedRecord, numbers_of, received
from pkg.events.tail import read_tails
from pkg.events.topics import TopicSpec, ensure_topics
from pkg.telemetry.logs import get_logger
from pkg.telemetry.tracing import Tracing
from pkg.wakes import woken

_log = get_logger(__name__)

_BATCH: Final = 200
_ATTEMPTS: Final = 3
_ATTEMPT_PAUSE: Final = 0.2
_GLANCE_MS: Final = 2
_QUIET_SECONDS: Final = 5.0
_START_SECONDS: Final = 15.0
_DAY_SECONDS: Final = 86_400.0

Apply = Callable[[Connection, Event], Awaitable[None]]
Record = ConsumerRecord[bytes, bytes]


@dataclass(frozen=True, slots=True)
class ProjectionTimes:
    """Seconds."""

    lease: float = 5.0
    renew: float = 1.5
    glance: float = 0.02
    """Between looks for new records."""
    doze: float = 0.1
    """The same after some seconds without any."""
    eager: float = 0.1
    """How long it looks all the time, when this process has just published there."""
    retry_first: float = 0.2
    retry_most: float = 5.0
    verify: float = 5.0
    """Between looks at whether the topic ends with what was read."""
    forget: float = 3_600.0


class Projection:
    """Reads one topic and applies its events in this database. Run it in every process that may; they share partitions.

    `apply` runs in the transaction that also moves the position, once per event. When it raises ValueError or
    DecodeError the event is put aside at once, for any other error after three attempts; while PostgreSQL is away, it
    is waited for.
    """

    def __init__(
        self,
        database: Database,
        cluster: Cluster | str,
        spec: TopicSpec,
        apply: Apply,
        *,
        holder: str,
        times: ProjectionTimes | None = None,
        tracing: Tracing | None = None,
        figures: ProjectionFigures | None = None,
        news: TopicNews | None = None,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._spec = spec
        self._apply = apply
        self._times = times or ProjectionTimes()
        self._tracing = tracing
        self._figures = figures
        self._news = (news or TopicNews()).of(spec.name)
        self._eager_until = 0.0
        self._positions = Positions(database, spec.name, holder)
        self._at: dict[int, Position] = {}
        # Where reading started over: the offset, by partition, up to which gaps are due to retention.
        self._floor: dict[int, int] = {}
        # Numbers of the last records when it was looked last, by partition: they should have been read by now.
        self._due: dict[int, int] = {}
        self._last_came = time.monotonic()

    async def run(self) -> None:
        """Works until cancelled, whatever PostgreSQL and Kafka do meanwhile."""
        pause = self._times.retry_first
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._read()
                except (KafkaError, OSError, TimeoutError, OofggError, PositionMoved, *HINDRANCES) as error:
                    if time.monotonic() - began > self._times.retry_most:
                        pause = self._times.retry_first
                    _log.warning("a projection waits", topic=self._spec.name, error=repr(error), retry_seconds=pause)
                    await asyncio.sleep(pause)
                    pause = min(self._times.retry_most, pause * 2)
        finally:
            with suppress(OofggError):
                await self._positions.release()

    async def _read(self) -> None:
        await ensure_topics(self._cluster, [self._spec])
        self._at, self._due = {}, {}
        async with AsyncExitStack() as stack:
            consumer, verifier = await self._consumer(stack), await self._consumer(stack)
            renewed = verified = forgotten = -self._times.forget
            while True:
                now = time.monotonic()
                if now - renewed > self._times.renew:
                    renewed = now
                    await self._claim(consumer)
                if now - verified > self._times.verify:
                    verified = now
                    await self._verify(consumer, verifier)
                    await replay_marked(self._database, self._spec.name, self._apply)
                if now - forgotten > self._times.forget:
                    forgotten = now
                    await self._positions.forget((self._spec.retention_days + 3) * _DAY_SECONDS)
                await self._take(consumer)

    async def _consumer(self, stack: AsyncExitStack) -> AIOKafkaConsumer:
        consumer = clients.consumer(self._cluster, f"oofgg-projection-{self._database.schema}")
        stack.push_async_callback(clients.stop, consumer.stop)
        await clients.start(consumer, within=_START_SECONDS)
        return consumer

    async def _claim(self, consumer: AIOKafkaConsumer) -> None:
        """Renews the leases, and reads on where the database says: where this reader is, unless another took over."""
        claimed = await self._positions.claim(range(self._spec.partitions), self._times.lease)
        if claimed.keys() != self._at.keys():
            _log.info("reading", topic=self._spec.name, partitions=sorted(claimed))
            consumer.assign([TopicPartition(self._spec.name, partition) for partition in claimed])
            self._at = {}
        for partition, position in claimed.items():
            if self._at.get(partition) != position:
                consumer.seek(TopicPartition(self._spec.name, partition), position.next_offset)
                self._at[partition] = position

    async def _verify(self, consumer: AIOKafkaConsumer, verifier: AIOKafkaConsumer) -> None:
        """Starts over where the topic ended with something that was not read until now.

        That happens when lost records came back at lower offsets than they had, and nothing has followed them yet.
        """
        tails = await read_tails(verifier, self._spec.name, sorted(self._at)) if self._at else {}
        for partition, due in self._due.items():
            if partition in self._at and self._at[partition].seen_number < due:
                place = TopicPartition(self._spec.name, partition)
                await self._start_over(consumer, place, f"number {due} was passed over")
        self._due = {partition: tail.number for partition, tail in tails.items()}
        if self._figures:
            self._figures.tell(
                {partition: tail.end - self._at[partition].next_offset for partition, tail in tails.items()}
            )

    async def _take(self, consumer: AIOKafkaConsumer) -> None:
        """Applies what has come. Between looks fetching is paused.

        The embedded broker answers a fetch at once even when it has nothing, and the client would ask again, thousands
        of times a second. A broker that waits, as it should, is waited for as well: what it sends meanwhile is kept.
        """
        places = consumer.assignment() if self._at else set()
        consumer.resume(*places)
        try:
            fetched = {}
            if places:
                glance = consumer.getmany(timeout_ms=_GLANCE_MS, max_records=_BATCH)
                fetched = await clients.whole(glance, within=clients.REQUEST_MS / 1000)
        except OffsetOutOfRangeError as error:
            for place in error.args[0]:
                await self._start_over(consumer, place, "the position is not in the topic")
            return
        if fetched:
            self._last_came = time.monotonic()
            self._eager_until = 0.0
        else:
            consumer.pause(*places)
            now = time.monotonic()
            quiet = now - self._last_came > _QUIET_SECONDS
            if now >= self._eager_until and await woken(
                self._news, within=self._times.doze if quiet else self._times.glance
            ):
                self._news.clear()
                self._eager_until = time.monotonic() + self._times.eager
        for place, records in fetched.items():
            gap = self._gap(place.partition, records)
            if gap is not None:
                missing, offset = gap
                await self._start_over(consumer, place, missing, offset)
                continue
            await self._apply_all(place.partition, records)

    def _gap(self, partition: int, records: Sequence[Record]) -> tuple[str, int] | None:
        """What is missing before one of these records, and the record's offset; None where nothing is."""
        if partition in self._floor:
            return None
        seen = self._at[partition].seen_number
        for record in records:
            numbers = numbers_of(record.headers)
            if numbers.number > seen:
                if numbers.previous > seen:
                    return f"number {numbers.previous} was passed over", record.offset
                seen = numbers.number
        return None

    async def _start_over(
        self, consumer: AIOKafkaConsumer, place: TopicPartition, reason: str, suspect: int = -1
    ) -> None:
        """Reads a partition from its beginning again; what was applied is known by its id.

        A gap that is still there before the `suspect` offset is due to the topic's retention.
        """
        beginnings = await clients.whole(consumer.beginning_offsets([place]), within=clients.REQUEST_MS / 1000)
        beginning = beginnings[place]
        start = self._at[place.partition]
        end = Position(beginning, start.seen_number)
        async with self._database.transaction() as connection:
            await self._positions.advance(connection, place.partition, start, end)
        if start.next_offset != beginning:
            _log.warning("reading starts over", topic=place.topic, partition=place.partition, reason=reason)
        self._floor[place.partition] = max(suspect, beginning)
        self._at[place.partition] = end
        consumer.seek(place, beginning)

    async def _apply_all(self, partition: int, records: Sequence[Record]) -> None:
        try:
            await self._apply_together(partition, records)
        except (PositionMoved, Unavailable):
            raise
        except Exception as error:
            _log.info("events are applied one by one", topic=self._spec.name, error=repr(error))
            for record in records:
                await self._apply_alone(partition, record)
        if self._at[partition].next_offset > self._floor.get(partition, -1):
            self._floor.pop(partition, None)

    async def _apply_alone(self, partition: int, record: Record) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._apply_together(partition, [record])
            except (PositionMoved, Unavailable):
                raise
            except Exception as error:
                if attempt < _ATTEMPTS and not isinstance(error, ValueError | DecodeError):
                    await asyncio.sleep(_ATTEMPT_PAUSE)
                    continue
                _log.exception("an event is put aside", topic=record.topic, partition=partition, offset=record.offset)
                await self._apply_together(partition, [record], refusal=repr(error))
            return

    def _span(self, event: Event) -> AbstractContextManager[None]:
        if self._tracing is None or not event.trace_parent:
            return nullcontext()
        return self._tracing.apply(self._spec.name, event.trace_parent)

    async def _apply_together(self, partition: int, records: Sequence[Record], refusal: str | None = None) -> None:
        """Applies records, or puts them aside with this refusal, and moves the position, in one transaction."""
        start = self._at[partition]
        readable: list[tuple[Record, Event]] = []
        malformed: list[tuple[Record, str]] = []
        for record in records:
            try:
                readable.append((record, received(record.key, record.value, record.headers)))
            except MalformedRecord as error:
                malformed.append((record, str(error)))
        numbers = [numbers_of(record.headers).number for record in records]
        end = Position(records[-1].offset + 1, max([start.seen_number, *numbers]))
        buried = len(malformed)
        async with self._database.transaction() as connection:
            await self._positions.advance(connection, partition, start, end)
            fresh = await self._positions.fresh(connection, [event.event_id for _, event in readable])
            for record, event in readable:
                if event.event_id not in fresh:
                    continue
                fresh.discard(event.event_id)
                if refusal is None:
                    with self._span(event):
                        await self._apply(connection, event)
                else:
                    await bury(connection, record, refusal)
                    buried += 1
            for record, reason in malformed:
                await bury(connection, record, reason)
        self._at[partition] = end
        if buried and self._figures:
            self._figures.put_aside(buried)
