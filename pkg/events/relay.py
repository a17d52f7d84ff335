"""The relay: brings what is in an outbox to Kafka, in order, exactly once for readers of committed records.

One relay per outbox works at a time: the one that holds an advisory lock on its PostgreSQL connection, through which
all its statements go. Each topic has its own worker, producer and transactions, so that a bad topic stalls no other.
A worker goes on from what the topic holds, never from notes of its own: a crash after the broker's commit repeats
nothing, and a broker that lost its newest records gets them again. See docs/architecture/events.md.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from pkg.clock import Clock
from pkg.db.database import Connection, Database, translate_fault
from pkg.errors import OofggError, backend_unavailable
from pkg.events import clients
from pkg.events.cluster import Cluster
from pkg.events.ledger import Ledger
from pkg.events.news import TopicNews
from pkg.events.outbox import wake_channel
from pkg.events.publisher import Publisher, TailLost, open_publisher
from pkg.events.topics import TopicSpec, spec_of
from pkg.telemetry.logs import get_logger
from pkg.telemetry.tracing import Tracing
from pkg.wakes import woken

_log = get_logger(__name__)

_BATCH: Final = 500
_LEAST_BATCH: Final = 8
# Looks at the outbox take at most this share of the time: with a large backlog each of them is slow.
_LOOK_SHARE: Final = 0.1
# Topics whose end is looked up at the same time: after a start, all of them want it.
_OPENING: Final = 16
_PRUNE_BATCH: Final = 5_000
BROKER_FAULTS: Final = (KafkaError, OSError, TimeoutError, OofggError)


@dataclass(frozen=True, slots=True)
class RelayTimes:
    """Seconds."""

    election: float = 1.0
    """Between attempts to become the one that works."""
    silence: float = 10.0
    """After which the one that works has lost its election: it may be paused, or cut off, and its connection last."""
    poll: float = 1.0
    """Between looks at the outbox when nothing announces itself."""
    gather: float = 0.02
    """Between looks when much does; what comes after a quiet time is seen at once."""
    idle: float = 600.0
    """After which a topic without events gives up its producer."""
    check: float = 2.0
    """Between looks at whether the broker still has what it acknowledged."""
    retry_first: float = 0.2
    retry_most: float = 10.0
    prune: float = 3_600.0
    keep: float = 32 * 24 * 3600.0
    """How long published events are kept; longer than any topic does."""


class _Worker:
    """What the relay knows of one topic."""

    __slots__ = ("batch", "suspect", "task", "wake")

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.suspect = False
        self.task: asyncio.Task[None] | None = None
        # Events in a transaction: fewer after one that failed, so that a slow broker gets through.
        self.batch = _BATCH

    def succeeded(self) -> None:
        self.batch = min(_BATCH, self.batch * 2)

    def failed(self) -> None:
        self.batch = max(_LEAST_BATCH, self.batch // 4)


class Relay:
    """Publishes the outbox of one schema. Run it in every process that may; one of them works."""

    def __init__(
        self,
        database: Database,
        cluster: Cluster | str,
        clock: Clock,
        *,
        spec: Callable[[str], TopicSpec] = spec_of,
        times: RelayTimes | None = None,
        tracing: Tracing | None = None,
        news: TopicNews | None = None,
    ) -> None:
        self._database = database
        self._cluster = cluster
        self._clock = clock
        self._spec = spec
        self._times = times or RelayTimes()
        self._tracing = tracing
        self._news = news
        self._wake = asyncio.Event()
        self._opening = asyncio.Semaphore(_OPENING)
        self._workers: dict[str, _Worker] = {}
        self._ends: dict[str, dict[int, int]] = {}
        lock = hashlib.sha256(f"oofgg relay {database.schema}".encode()).digest()
        self._silence = f"{self._times.silence * 1000:.0f}ms"
        self._lock_key = int.from_bytes(lock[:8], "big", signed=True)

    async def run(self) -> None:
        """Works until cancelled, whatever PostgreSQL and Kafka do meanwhile."""
        while True:
            try:
                async with self._database.hold() as connection:
                    await connection.execute("select set_config('idle_session_timeout', $1, false)", self._silence)
                    # The lock goes with the connection.
                    while not await connection.fetchval("select pg_try_advisory_lock($1)", self._lock_key):
                        await asyncio.sleep(self._times.election)
                    await self._lead(connection)
            except OofggError as error:
                _log.warning(
                    "the relay waits for PostgreSQL", schema=self._database.schema, cause=repr(error.__cause__)
                )
            except asyncpg.PostgresError:
                _log.exception("the relay starts over", schema=self._database.schema)
            await asyncio.sleep(self._times.election)

    async def _lead(self, connection: Connection) -> None:
        _log.info("relaying", schema=self._database.schema)
        ledger = Ledger(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(), name="relay-listen")
                tasks.create_task(self._watch_ends(), name="relay-ends")
                tasks.create_task(self._prune(ledger), name="relay-prune")
                await self._dispatch(ledger, tasks)
        except BaseExceptionGroup as faults:
            if all(isinstance(fault, OSError | OofggError) or translate_fault(fault) for fault in _leaves(faults)):
                raise backend_unavailable("PostgreSQL") from faults
            if all(isinstance(fault, asyncpg.PostgresError) for fault in _leaves(faults)):
                raise _leaves(faults)[0] from faults
            raise
        finally:
            self._workers.clear()

    async def _listen(self) -> None:
        """Wakes the dispatcher at every append. Without it, the outbox is looked at now and then.

        On a connection of its own: PostgreSQL ends the elected one when it is silent, but not while it is stuck there
        telling the news to a process that does not read.
        """

        def heard(*_: object) -> None:
            self._wake.set()

        while True:
            with suppress(OofggError):
                async with self._database.hold() as connection:
                    await connection.add_listener(wake_channel(self._database.schema), heard)
                    while True:
                        self._wake.set()
                        await asyncio.sleep(self._times.silence)
                        await connection.execute("select 1")
            await asyncio.sleep(self._times.election)

    async def _dispatch(self, ledger: Ledger, tasks: asyncio.TaskGroup) -> None:
        """Gives every topic with something to publish a worker. At first, every topic that may lack something."""
        since = self._clock.now() - timedelta(seconds=self._times.keep)
        topics = await ledger.recent_topics(since)
        looked, took = self._clock.monotonic(), 0.0
        while True:
            for topic in topics:
                worker = self._workers.setdefault(topic, _Worker())
                worker.wake.set()
                if worker.task is None or worker.task.done():
                    worker.task = tasks.create_task(self._work(ledger, topic, worker), name=f"relay-{topic}")
            await woken(self._wake, within=self._times.poll)
            gather = min(self._times.poll, max(self._times.gather, took / _LOOK_SHARE))
            await asyncio.sleep(max(0.0, looked + gather - self._clock.monotonic()))
            looked = self._clock.monotonic()
            self._wake.clear()
            topics = await ledger.waiting_topics()
            took = self._clock.monotonic() - looked
            topics += [topic for topic, worker in self._workers.items() if worker.suspect]

    async def _work(self, ledger: Ledger, topic: str, worker: _Worker) -> None:
        """Publishes one topic until it is idle; opens it anew after every fault."""
        try:
            spec = self._spec(topic)
        except ValueError:
            _log.error("events for a topic that nobody declared stay in the outbox", topic=topic)
            await asyncio.sleep(self._times.retry_most)
            return
        pause = self._times.retry_first
        while True:
            try:
                async with AsyncExitStack() as stack:
                    async with self._opening:
                        publisher = await stack.enter_async_context(self._open(spec))
                        worker.suspect = False
                        await self._resume(ledger, publisher, spec, worker)
                    pause = self._times.retry_first
                    await self._publish(ledger, publisher, worker, spec.linger_seconds)
                    return
            except TailLost as lost:
                _log.warning("the broker lost records; they are published again", topic=topic, found=str(lost))
            except BROKER_FAULTS as error:
                worker.failed()
                _log.warning("events wait for Kafka", topic=topic, error=repr(error), retry_seconds=round(pause, 1))
                await asyncio.sleep(pause)
                pause = min(self._times.retry_most, pause * 2)

    def _open(self, spec: TopicSpec) -> AbstractAsyncContextManager[Publisher]:
        schema = self._database.schema
        return open_publisher(
            self._cluster,
            spec,
            source=f"/oofgg/{schema}",
            name=f"oofgg-relay-{schema}-{spec.name}",
            tracing=self._tracing,
        )

    async def _resume(self, ledger: Ledger, publisher: Publisher, spec: TopicSpec, worker: _Worker) -> None:
        """Publishes what has a number and is not in the topic, unless the topic would not keep it any more."""
        since = self._clock.now() - timedelta(days=spec.retention_days)
        after = publisher.complete_up_to
        while entries := await ledger.numbered(publisher.topic, after, since, worker.batch):
            if missing := [entry for entry in entries if not publisher.holds(entry)]:
                await publisher.publish(missing)
                worker.succeeded()
                _log.info("published again", topic=publisher.topic, events=len(missing))
            after = entries[-1].number
        self._ends[publisher.topic] = publisher.ends

    async def _publish(self, ledger: Ledger, publisher: Publisher, worker: _Worker, linger: float) -> None:
        """Publishes what comes; a topic for which nothing came gives up its producer at once."""
        idle = 0.0
        while True:
            worker.wake.clear()
            if worker.suspect:
                raise TailLost(f"{publisher.topic} ends earlier than it did")
            if entries := await ledger.number_next(publisher.topic, publisher.highest, worker.batch):
                await publisher.publish(entries)
                worker.succeeded()
                if self._news is not None:
                    self._news.published(publisher.topic)
                self._ends[publisher.topic] = publisher.ends
                idle = self._times.idle
                continue
            if not await woken(worker.wake, within=idle):
                return
            await asyncio.sleep(linger)

    async def _watch_ends(self) -> None:
        """Notices when the broker comes back with less than it acknowledged, although nothing is being published."""
        while True:
            await asyncio.sleep(self._times.check)
            if not self._ends:
                continue
            # Of all records: those of a transaction are committed a moment after the broker has said so.
            name = f"oofgg-relay-{self._database.schema}-ends"
            consumer = clients.consumer(self._cluster, name, isolation_level="read_uncommitted")
            try:
                await clients.start(consumer, within=2 * clients.REQUEST_MS / 1000)
                while True:
                    await self._compare_ends(consumer)
                    await asyncio.sleep(self._times.check)
            except BROKER_FAULTS as error:
                _log.debug("the broker does not tell its ends", error=repr(error))
            finally:
                await clients.stop(consumer.stop)

    async def _compare_ends(self, consumer: AIOKafkaConsumer) -> None:
        known = {
            TopicPartition(topic, partition): end
            for topic, ends in self._ends.items()
            for partition, end in ends.items()
        }
        found = await clients.whole(_ends_of(consumer, known), within=clients.REQUEST_MS / 1000)
        for place, end in known.items():
            # Compared with what was known before asking; publishing goes on meanwhile.
            if found.get(place, 0) < end:
                worker = self._workers.setdefault(place.topic, _Worker())
                worker.suspect = True
                worker.wake.set()
                self._wake.set()

    async def _prune(self, ledger: Ledger) -> None:
        while True:
            before = self._clock.now() - timedelta(seconds=self._times.keep)
            while await ledger.prune(before, _PRUNE_BATCH) == _PRUNE_BATCH:
                continue
            await asyncio.sleep(self._times.prune)


async def _ends_of(consumer: AIOKafkaConsumer, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Where these partitions end, of those that there are: a broker that lost a topic has it again with fewer."""
    cluster = await consumer._client.fetch_all_metadata()
    existing = [
        place for place in places if place.partition in (cluster.partitions_for_topic(place.topic) or frozenset())
    ]
    ends: dict[TopicPartition, int] = await consumer.end_offsets(existing) if existing else {}
    return ends


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
