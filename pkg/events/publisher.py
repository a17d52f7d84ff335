"""Publishing to one topic, exactly once, from where the topic ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from enum import Enum, auto
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from pkg.events import clients
from pkg.events.cluster import Cluster
from pkg.events.ledger import Entry
from pkg.events.records import headers_of, partition_of
from pkg.events.tail import Tail, read_tails
from pkg.events.topics import TopicSpec, ensure_topics
from pkg.telemetry.tracing import Tracing

_OPEN_SECONDS: Final = 20.0
_TRANSACTION_SECONDS: Final = 20.0
_METADATA_SECONDS: Final = 0.05
# Between the end of a transaction and readers being shown its records: once they are past them, and at the most.
_SHOWN_SECONDS: Final = 5.0
_SLOW_SECONDS: Final = 60.0
_MOST_WRITERS: Final = 1_000


class Shown(Enum):
    """What readers of committed records see of what was committed."""

    YES = auto()
    NOT_YET = auto()
    """They have not come there."""
    PASSED_OVER = auto()


def shown_to_readers(written: Mapping[int, Tail], shown: Mapping[int, Tail]) -> Shown:
    """Whether readers are shown the last records that were `written`, by partition, when topic ends as `shown`."""
    missing = [partition for partition, tail in written.items() if shown[partition].number < tail.number]
    if not missing:
        return Shown.YES
    passed = any(shown[partition].end >= written[partition].end for partition in missing)
    return Shown.PASSED_OVER if passed else Shown.NOT_YET


class TailLost(Exception):
    """The broker no longer has records it acknowledged; what the topic holds has to be read again."""


class Publisher:
    """A producer of one topic that has fenced its predecessors, and knows what the topic holds."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        topic: str,
        source: str,
        tails: dict[int, Tail],
        writer: int,
        tracing: Tracing | None,
        consumer: AIOKafkaConsumer,
        reading: AsyncExitStack,
    ) -> None:
        """`reading` stops the consumer, which reads committed records."""
        self.topic = topic
        self._consumer = consumer
        self._reading: AsyncExitStack | None = reading
        self._producer = producer
        self._source = source
        self._tails = tails
        self._writer = writer
        self._tracing = tracing

    @property
    def highest(self) -> int:
        """The highest number in the topic."""
        return max(tail.number for tail in self._tails.values())

    @property
    def complete_up_to(self) -> int:
        """Whatever has this number or a lower one is in the topic, in any partition."""
        return min(tail.number for tail in self._tails.values())

    @property
    def ends(self) -> dict[int, int]:
        """Offsets, by partition, below which the broker has acknowledged everything."""
        return {partition: tail.end for partition, tail in self._tails.items()}

    def holds(self, entry: Entry) -> bool:
        """Whether the topic has this event. A partition loses its end, never its middle."""
        return entry.number <= self._tails[self._partition(entry)].number

    async def publish(self, entries: Sequence[Entry]) -> None:
        """Publishes all or none, in one transaction.

        Raises TailLost, KafkaError or TimeoutError; this publisher is of no use afterwards, and whether the records are
        there, only the topic can tell.
        """
        # A transaction that fails stays open: the next publisher's start ends it.
        with ExitStack() as spans:
            parents = [self._trace(entry, spans) for entry in entries]
            written = await clients.whole(self._transact(entries, parents), within=_TRANSACTION_SECONDS)
        self._tails.update(written)
        if self._reading is not None:
            await self._confirm(self._reading, written)
            self._reading = None

    async def _confirm(self, reading: AsyncExitStack, written: Mapping[int, Tail]) -> None:
        """Sees, after the first transaction, that readers are shown it. Raises TailLost when they are not.

        A broker that was killed may give a producer the number of one whose transactions were aborted, and tell
        readers so: they pass over all that it writes, though it was committed. A broker that is slow has not let them
        come so far yet, which is something else and is waited for.
        """
        async with reading:
            clock = asyncio.get_running_loop().time
            began, passed_at = clock(), None
            while True:
                shown = await read_tails(self._consumer, self.topic, sorted(self._tails))
                match shown_to_readers(written, shown):
                    case Shown.YES:
                        return
                    case Shown.PASSED_OVER:
                        passed_at = passed_at or clock()
                    case Shown.NOT_YET:
                        passed_at = None
                if clock() - began > _SLOW_SECONDS or (passed_at and clock() - passed_at > _SHOWN_SECONDS):
                    raise TailLost(f"{self.topic}: readers are not shown what was committed")
                await asyncio.sleep(_METADATA_SECONDS)

    def _trace(self, entry: Entry, spans: ExitStack) -> str:
        parent = entry.event.trace_parent
        if not parent or self._tracing is None:
            return parent
        return spans.enter_context(self._tracing.publish(self.topic, parent))

    async def _transact(self, entries: Sequence[Entry], parents: Sequence[str]) -> dict[int, Tail]:
        written: dict[int, Tail] = {}
        await self._producer.begin_transaction()
        waiting = []
        for entry, parent in zip(entries, parents, strict=True):
            partition = self._partition(entry)
            previous = written.get(partition, self._tails[partition]).number
            waiting.append(
                await self._producer.send(
                    self.topic,
                    entry.event.payload,
                    key=entry.event.key.encode(),
                    partition=partition,
                    headers=headers_of(entry.event, self._source, entry.number, previous, self._writer, parent),
                )
            )
            written[partition] = Tail(entry.number, 0)
        for record in await asyncio.gather(*waiting):
            if record.offset < self._tails[record.partition].end:
                raise TailLost(f"{self.topic}/{record.partition} goes on at {record.offset}")
            written[record.partition].end = max(written[record.partition].end, record.offset + 1)
        await self._producer.commit_transaction()
        return written

    def _partition(self, entry: Entry) -> int:
        return partition_of(entry.event.key, len(self._tails))


@asynccontextmanager
async def open_publisher(
    cluster: Cluster | str, spec: TopicSpec, *, source: str, name: str, tracing: Tracing | None = None
) -> AsyncIterator[Publisher]:
    """A publisher of one topic, which is created if it is missing.

    `name` is the same for all that may ever publish to this topic; each fences all before it. Only then does the end
    of the topic mean anything. Raises KafkaError, TimeoutError, or Unavailable.
    """
    await ensure_topics(cluster, [spec])
    async with AsyncExitStack() as stack:
        consumer = clients.consumer(cluster, name, fetch_max_wait_ms=50)
        reading = await stack.enter_async_context(AsyncExitStack())
        reading.push_async_callback(clients.stop, consumer.stop)
        await clients.start(consumer, within=_OPEN_SECONDS)
        async with asyncio.timeout(_OPEN_SECONDS):
            partitions = await _partitions(consumer, spec.name)
        before = await read_tails(consumer, spec.name, partitions)
        latest = max(tail.writer for tail in before.values())
        producer, writer = await _next_writer(stack, cluster, name, latest)
        tails = await read_tails(consumer, spec.name, partitions)
        yield Publisher(producer, spec.name, source, tails, writer, tracing, consumer, reading)


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    """The partitions of a topic; one that was just created takes a moment to be known."""
    consumer.assign([TopicPartition(topic, 0)])
    while not (partitions := consumer.partitions_for_topic(topic)):
        await asyncio.sleep(_METADATA_SECONDS)
    return sorted(partitions)


async def _next_writer(
    stack: AsyncExitStack, cluster: Cluster | str, name: str, latest: int
) -> tuple[AIOKafkaProducer, int]:
    """A producer that nobody has been before, after all that were have been fenced, and its number.

    Writers take ids in turn, from the last one whose record is in the topic: starting a producer with an id ends
    whoever has it, so the walk to the first unused one meets everyone who may still write. Going on under a used id
    would fence as well; but the embedded broker tells readers for ever of transactions that were aborted under an id,
    and they would skip what the id writes afterwards.
    """
    for writer in range(max(1, latest), latest + _MOST_WRITERS):
        async with AsyncExitStack() as attempt:
            producer = clients.producer(cluster, f"{name}-{writer}")
            attempt.push_async_callback(clients.stop, producer.stop)
            await clients.start(producer, within=_OPEN_SECONDS)
            if producer._txn_manager.producer_epoch == 0:
                stack.push_async_exit(attempt.pop_all())
                return producer, writer
    raise KafkaError(f"{name} has been used by more than {_MOST_WRITERS} producers that published nothing")
