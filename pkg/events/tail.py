"""What a topic holds: the number of the last committed record of each partition, and where it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from pkg.events import clients
from pkg.events.cluster import Cluster
from pkg.events.loss import Spot, resume_offset
from pkg.events.records import Numbers, numbers_of

# Records read back from the end at first; transaction markers and aborted records count too.
_FIRST_STEP: Final = 8
_STEP_FACTOR: Final = 16
_DEADLINE_SECONDS: Final = 30.0
_POLL_MS: Final = 200


@dataclass(slots=True)
class Tail:
    """The end of one partition."""

    number: int
    """Of the last committed record; 0 where there is none, or it has no number."""
    end: int
    """The offset that comes next, or lower: never more than what the broker has acknowledged."""
    writer: int = 0
    """Of the last committed record."""
    last_offset: int = -1
    """Of the last committed record that has a number; -1 where there is none."""


async def read_tails(consumer: AIOKafkaConsumer, topic: str, partitions: Sequence[int]) -> dict[int, Tail]:
    """The tails of a topic by partition.

    `consumer` must be read-committed and without a group. What a producer left open hides all that comes after it: to
    know where to go on, fence it first. Raises KafkaError or TimeoutError.
    """
    places = {TopicPartition(topic, partition) for partition in partitions}
    return await clients.whole(_read(consumer, places), within=_DEADLINE_SECONDS)


async def _read(consumer: AIOKafkaConsumer, places: set[TopicPartition]) -> dict[int, Tail]:
    _assign(consumer, places)
    ends = await consumer.end_offsets(list(places))
    starts = await consumer.beginning_offsets(list(places))
    last = await _last(consumer, starts, ends)
    consumer.pause(*places)  # a consumer that is kept for the next time need not fetch meanwhile
    return {
        place.partition: Tail(last[place][1].number, ends[place], last[place][1].writer, last[place][0])
        for place in places
    }


def _assign(consumer: AIOKafkaConsumer, places: set[TopicPartition]) -> None:
    if consumer.assignment() != places:
        consumer.assign(list(places))
    consumer.resume(*places)


async def _last(
    consumer: AIOKafkaConsumer, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> dict[TopicPartition, tuple[int, Numbers]]:
    """Offset and numbers of the last record that has them, by partition; walks back in growing steps."""
    last = dict.fromkeys(ends, (-1, Numbers(0, 0, 0)))
    unread = dict(ends)
    step = _FIRST_STEP
    while wanted := {place for place, below in unread.items() if last[place][0] < 0 and below > starts[place]}:
        begins = {place: max(starts[place], ends[place] - step) for place in wanted}
        for place in ends:
            consumer.seek(place, begins.get(place, ends[place]))
        behind = set(wanted)
        while behind:
            fetched = await consumer.getmany(*behind, timeout_ms=_POLL_MS)
            for place, records in fetched.items():
                for record in records:
                    if record.offset < unread[place] and (found := numbers_of(record.headers)).number:
                        last[place] = record.offset, found
            # The position moves over markers and aborted records too.
            behind = {place for place in behind if await consumer.position(place) < unread[place]}
        unread.update(begins)
        step *= _STEP_FACTOR
    return last


class Lookout:
    """Looks at the end of a topic, and back into it, one look at a time, with a consumer of its own.

    The consumer starts with the first look, and anew after one that failed. Everything raises KafkaError, OSError or
    TimeoutError.
    """

    def __init__(self, cluster: Cluster | str, topic: str, client_id: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._client_id = client_id
        self._turn = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None

    async def tails(self, partitions: Sequence[int]) -> dict[int, Tail]:
        """As `read_tails`."""
        if not partitions:
            return {}
        async with self._look() as consumer:
            return await read_tails(consumer, self._topic, partitions)

    async def beginning(self, partition: int) -> int:
        """The first offset that is kept."""
        place = TopicPartition(self._topic, partition)
        async with self._look() as consumer:
            found: dict[TopicPartition, int] = await clients.whole(
                consumer.beginning_offsets([place]), within=_DEADLINE_SECONDS
            )
            return found[place]

    async def resume_offset(self, partition: int, *, below: int, seen_number: int) -> int | None:
        """As `pkg.events.loss.resume_offset`."""
        place = TopicPartition(self._topic, partition)
        async with self._look() as consumer:
            _assign(consumer, {place})
            call = _resume_offset(consumer, place, below, seen_number)
            found = await clients.whole(call, within=_DEADLINE_SECONDS)
            consumer.pause(place)
            return found

    async def close(self) -> None:
        """Stops the consumer. Raises nothing."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await clients.stop(consumer.stop)

    @asynccontextmanager
    async def _look(self) -> AsyncIterator[AIOKafkaConsumer]:
        async with self._turn:
            try:
                if self._consumer is None:
                    self._consumer = clients.consumer(self._cluster, self._client_id)
                    await clients.start(self._consumer, within=_DEADLINE_SECONDS)
                yield self._consumer
            except BaseException:
                await self.close()
                raise


async def _resume_offset(consumer: AIOKafkaConsumer, place: TopicPartition, below: int, seen_number: int) -> int | None:
    beginning = (await consumer.beginning_offsets([place]))[place]
    return await resume_offset(
        _Looked(consumer, place, beginning), beginning=beginning, below=below, seen_number=seen_number
    )


class _Looked:
    """A partition of a topic, as `pkg.events.loss` looks into it."""

    def __init__(self, consumer: AIOKafkaConsumer, place: TopicPartition, beginning: int) -> None:
        self._consumer = consumer
        self._place = place
        self._beginning = beginning

    async def first(self, start: int, stop: int) -> Spot | None:
        self._consumer.seek(self._place, start)
        while await self._consumer.position(self._place) < stop:
            fetched = await self._consumer.getmany(self._place, timeout_ms=_POLL_MS)
            for record in fetched.get(self._place, ()):
                if record.offset >= stop:
                    return None
                if number := numbers_of(record.headers).number:
                    return Spot(record.offset, number)
        return None

    async def last(self, stop: int) -> Spot | None:
        found = await _last(self._consumer, {self._place: self._beginning}, {self._place: stop})
        offset, numbers = found[self._place]
        return Spot(offset, numbers.number) if offset >= 0 else None
