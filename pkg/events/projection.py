"""Applying events to a database, each once.

Position and effects commit together, so a crash repeats nothing; a record that comes again in another place is known by
its event id. When the broker loses its end and others take the lost offsets, the numbers of the records show what
was passed over, and reading goes back to it (`loss`). What cannot be applied is put aside with a reason (`applying`).

Claims, looks at the topic's end, and every partition are worked independently: whatever is slow holds up itself alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from pkg.clock import SystemClock
from pkg.db.database import Database
from pkg.errors import OofggError
from pkg.events import clients
from pkg.events.applying import Apply, Applying, PartitionReader, Record
from pkg.events.cluster import Cluster
from pkg.events.dead_letters import replay_marked
from pkg.events.lag import ProjectionFigures
from pkg.events.loss import gaps, passed_over
from pkg.events.news import TopicNews
from pkg.events.positions import PositionMoved, Positions
from pkg.events.records import numbers_of
from pkg.events.tail import Lookout, Tail
from pkg.events.topics import TopicSpec, ensure_topics
from pkg.telemetry.logs import get_logger
from pkg.telemetry.tracing import Tracing
from pkg.wakes import woken

_log = get_logger(__name__)

_GLANCE_MS: Final = 2
_QUIET_SECONDS: Final = 5.0
_START_SECONDS: Final = 15.0
_DAY_SECONDS: Final = 86_400.0
_FAULTS: Final = (KafkaError, OSError, TimeoutError, OofggError)


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
    """Between looks at the topic's end, and for dead letters that are to be applied again."""
    forget: float = 3_600.0
    stalled: float = 15.0
    """A consumer that brings nothing for so long, though the topic has more, is opened anew."""


class Projection:
    """Reads one topic and applies its events in this database. Run it in every process that may; they share partitions.

    `apply` runs in the transaction that also moves the position, once per event. When it raises what another attempt
    would not change (ValueError, DecodeError, ArithmeticError, asyncpg.DataError, a refusal), the event is put aside at
    once, for any other error after three attempts. While PostgreSQL is away, it is waited for; an event that runs into
    time limits again and again while PostgreSQL answers others is put aside after about a minute.
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
        self._times = times or ProjectionTimes()
        self._figures = figures
        self._news = (news or TopicNews()).of(spec.name)
        self._eager_until = 0.0
        self._positions = Positions(database, spec.name, holder)
        self._clock = SystemClock()
        self._applying = Applying(database, self._positions, spec.name, apply, self._clock, tracing, figures)
        self._client_id = f"oofgg-projection-{database.schema}"
        self._lookout = Lookout(cluster, spec.name, self._client_id)
        self._readers: dict[int, PartitionReader] = {}
        self._rested = asyncio.Event()  # a partition is not busy any more
        self._last_came = time.monotonic()
        self._brought = self._last_came  # when the consumer last brought something, or there was nothing to bring
        self._patience = self._times.stalled
        self._reopen = False

    async def run(self) -> None:
        """Works until cancelled, whatever PostgreSQL and Kafka do meanwhile."""
        try:
            async with asyncio.TaskGroup() as tasks:
                repeat = self._repeat
                tasks.create_task(repeat(self._claim, self._times.renew), name=f"claims of {self._spec.name}")
                tasks.create_task(
                    repeat(partial(self._verify, tasks), self._times.verify), name=f"end of {self._spec.name}"
                )
                tasks.create_task(repeat(self._replay, self._times.verify), name=f"replays of {self._spec.name}")
                tasks.create_task(repeat(self._forget, self._times.forget), name=f"old ids of {self._spec.name}")
                await self._repeat(partial(self._read, tasks), 0.0)
        finally:
            await self._lookout.close()
            with suppress(OofggError):
                await self._positions.release()

    async def _repeat(self, work: Callable[[], Awaitable[None]], every: float) -> None:
        """Does something again and again; after a fault of PostgreSQL or Kafka with growing pauses."""
        pause = self._times.retry_first
        while True:
            began = time.monotonic()
            try:
                await work()
            except _FAULTS as error:
                if time.monotonic() - began > self._times.retry_most:
                    pause = self._times.retry_first
                _log.warning("a projection waits", topic=self._spec.name, error=repr(error), retry_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(self._times.retry_most, pause * 2)
            else:
                pause = self._times.retry_first
                await asyncio.sleep(every)

    async def _claim(self) -> None:
        """Renews the leases, and reads on where the database says: where this reader is, unless another took over."""
        busy = {number for number, reader in self._readers.items() if reader.busy}
        idle = {number: reader.position for number, reader in self._readers.items() if number not in busy}
        claimed = await self._positions.claim(range(self._spec.partitions), self._times.lease, busy)
        if claimed.keys() != self._readers.keys():
            _log.info("reading", topic=self._spec.name, partitions=sorted(claimed))
        for number in self._readers.keys() - claimed.keys():
            self._readers.pop(number).retired = True
        for number, position in claimed.items():
            if position is None:
                continue
            reader = self._readers.get(number)
            if reader is None or (not reader.busy and idle.get(number) == reader.position != position):
                self._readers[number] = PartitionReader(self._applying, number, position)

    async def _verify(self, tasks: asyncio.TaskGroup) -> None:
        """Goes back where the last record of the topic was passed over."""
        tails = await self._lookout.tails(sorted(self._readers))
        readers = {number: self._readers[number] for number in tails if number in self._readers}
        for number, reader in readers.items():
            tail = tails[number]
            if not reader.busy and passed_over(reader.position, tail.last_offset, tail.number):
                reason = f"number {tail.number} was passed over"
                self._occupy(tasks, reader, partial(self._go_back, reader, tail.last_offset + 1, reason))
        self._tell(readers, tails)
        self._look_after_consumer(readers, tails)

    def _look_after_consumer(self, readers: dict[int, PartitionReader], tails: dict[int, Tail]) -> None:
        """Has the consumer opened anew when it brings nothing although there is something to read and nobody is busy.

        A client of Kafka may lose its way when a broker comes back without topics that it had. Where that does not
        help, the wait before the next time is twice as long: a broker that is slow is not asked for more.
        """
        now = time.monotonic()
        waits = any(tails[number].last_offset >= reader.position.next_offset for number, reader in readers.items())
        if not waits or any(reader.busy for reader in readers.values()):
            self._brought = now
        elif now - max(self._brought, self._last_came) > self._patience:
            _log.warning("a consumer is opened anew", topic=self._spec.name, silent_seconds=round(self._patience))
            self._reopen, self._brought, self._patience = True, now, min(300.0, 2 * self._patience)

    def _tell(self, readers: dict[int, PartitionReader], tails: dict[int, Tail]) -> None:
        """Keeps the figures: offsets that were not read, and since when the reader is behind."""
        now = self._clock.monotonic()
        for number, reader in readers.items():
            if reader.position.next_offset > reader.due:
                reader.caught_up_at = now
            reader.due = tails[number].last_offset
        if self._figures:
            behind = {number: tails[number].end - reader.position.next_offset for number, reader in readers.items()}
            seconds = max((now - reader.caught_up_at for reader in readers.values()), default=0.0)
            self._figures.tell(behind, seconds)

    async def _replay(self) -> None:
        await replay_marked(self._database, self._spec.name, self._applying.apply)

    async def _forget(self) -> None:
        await self._positions.forget((self._spec.retention_days + 3) * _DAY_SECONDS)

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        await ensure_topics(self._cluster, [self._spec])
        consumer = clients.consumer(self._cluster, self._client_id)
        try:
            await clients.start(consumer, within=_START_SECONDS)
            self._reopen = False
            while not self._reopen:
                self._place(consumer)
                await self._take(consumer, tasks)
        finally:
            await clients.stop(consumer.stop)

    def _place(self, consumer: AIOKafkaConsumer) -> None:
        """Has the consumer stand where the readers are."""
        held = {self._at(number) for number in self._readers}
        if held and consumer.assignment() != held:
            consumer.assign(list(held))
            for reader in self._readers.values():
                reader.placed = False
        for number, reader in self._readers.items():
            if not reader.busy and not reader.placed:
                consumer.seek(self._at(number), reader.position.next_offset)
                reader.placed = True

    async def _take(self, consumer: AIOKafkaConsumer, tasks: asyncio.TaskGroup) -> None:
        """Gives each partition that is not busy what has come for it. Between looks fetching is paused.

        The embedded broker answers a fetch at once even when it has nothing, and the client would ask again, thousands
        of times a second. A broker that waits, as it should, is waited for as well: what it sends meanwhile is kept.
        """
        readers = {self._at(number): reader for number, reader in self._readers.items() if not reader.busy}
        others = consumer.assignment() - readers.keys()
        consumer.pause(*others)
        consumer.resume(*readers)
        self._rested.clear()
        fetched: dict[TopicPartition, list[Record]] = {}
        try:
            if readers:
                # All that has come: the client asks a broker for nothing while some partition's records are left to it.
                glance = consumer.getmany(*readers, timeout_ms=_GLANCE_MS)
                fetched = await clients.whole(glance, within=clients.REQUEST_MS / 1000)
        except OffsetOutOfRangeError as error:
            for place in error.args[0]:
                if self._is_current(readers.get(place)):
                    self._occupy(tasks, readers[place], partial(self._start_over, readers[place]))
            return
        for place, records in fetched.items():
            if self._is_current(readers[place]):
                self._occupy(tasks, readers[place], partial(self._work, readers[place], records))
        if fetched:
            self._last_came = time.monotonic()
            self._patience = self._times.stalled
            self._eager_until = 0.0
            return
        consumer.pause(*consumer.assignment())
        await self._rest()

    async def _rest(self) -> None:
        """Until there may be something to read."""
        now = time.monotonic()
        if any(reader.busy for reader in self._readers.values()):
            await woken(self._rested, within=self._times.glance)
        elif now >= self._eager_until:
            quiet = now - self._last_came > _QUIET_SECONDS
            if await woken(self._news, within=self._times.doze if quiet else self._times.glance):
                self._news.clear()
                self._eager_until = time.monotonic() + self._times.eager

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._spec.name, partition)

    def _is_current(self, reader: PartitionReader | None) -> bool:
        """Whether this is still how the partition is read: a claim may have been lost, or the position set anew."""
        return reader is not None and not reader.busy and self._readers.get(reader.partition) is reader

    def _occupy(self, tasks: asyncio.TaskGroup, reader: PartitionReader, work: Callable[[], Awaitable[object]]) -> None:
        reader.busy = True
        tasks.create_task(self._finish(reader, work), name=f"{self._spec.name}/{reader.partition}")

    async def _finish(self, reader: PartitionReader, work: Callable[[], Awaitable[object]]) -> None:
        """Does the work of one partition. Where that fails, it is read again from its position."""
        try:
            await work()
        except PositionMoved as error:
            _log.info("another reader has a partition", topic=self._spec.name, error=str(error))
            if self._readers.get(reader.partition) is reader:
                del self._readers[reader.partition]
        except _FAULTS as error:
            reader.placed = False
            _log.warning("a projection waits", topic=self._spec.name, partition=reader.partition, error=repr(error))
            await asyncio.sleep(self._times.retry_first)
        finally:
            reader.busy = False
            self._rested.set()

    async def _work(self, reader: PartitionReader, records: list[Record]) -> None:
        """Applies records; before one whose predecessor was not seen, it goes back."""
        begin = 0
        for index in gaps(reader.position.seen_number, [numbers_of(record.headers) for record in records]):
            await reader.apply(records[begin:index])
            missing = f"number {numbers_of(records[index].headers).previous} was passed over"
            if await self._go_back(reader, records[index].offset, missing):
                return
            begin = index
        await reader.apply(records[begin:])

    async def _go_back(self, reader: PartitionReader, below: int, reason: str) -> bool:
        """Has reading go on from where something is missing. False where the topic has nothing of it: retention."""
        seen = reader.position.seen_number
        offset = await self._lookout.resume_offset(reader.partition, below=below, seen_number=seen)
        if offset is None:
            _log.info(
                "records are gone from the topic", topic=self._spec.name, partition=reader.partition, found=reason
            )
            return False
        await self._move(reader, offset, reason)
        return True

    async def _start_over(self, reader: PartitionReader) -> None:
        """Reads on from the beginning: the position is not in the topic, which may be another one altogether."""
        await self._move(reader, await self._lookout.beginning(reader.partition), "the position is not in the topic")

    async def _move(self, reader: PartitionReader, offset: int, reason: str) -> None:
        before = reader.position.next_offset
        await reader.move_to(offset)
        if before != offset:
            _log.warning(
                "reading goes back",
                topic=self._spec.name, partition=reader.partition, offset=offset, before=before, reason=reason,
            )  # fmt: skip
            if self._figures:
                self._figures.went_back()
