"""What a topic holds: the number of the last committed record of each partition, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from pkg.events import clients
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


async def read_tails(consumer: AIOKafkaConsumer, topic: str, partitions: Sequence[int]) -> dict[int, Tail]:
    """The tails of a topic by partition.

    `consumer` must be read-committed and without a group. What a producer left open hides all that comes after it: to
    know where to go on, fence it first. Raises KafkaError or TimeoutError.
    """
    places = {TopicPartition(topic, partition) for partition in partitions}
    return await clients.whole(_read(consumer, places), within=_DEADLINE_SECONDS)


async def _read(consumer: AIOKafkaConsumer, places: set[TopicPartition]) -> dict[int, Tail]:
    if consumer.assignment() != places:
        consumer.assign(list(places))
    consumer.resume(*places)
    ends = await consumer.end_offsets(list(places))
    starts = await consumer.beginning_offsets(list(places))
    last = await _last(consumer, starts, ends)
    consumer.pause(*places)  # a consumer that is kept for the next time need not fetch meanwhile
    return {place.partition: Tail(last[place].number, ends[place], last[place].writer) for place in places}


async def _last(
    consumer: AIOKafkaConsumer, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]
) -> dict[TopicPartition, Numbers]:
    """Number and writer of the last record that has them, by partition; walks back in growing steps."""
    last = dict.fromkeys(ends, Numbers(0, 0, 0))
    unread = dict(ends)
    step = _FIRST_STEP
    while wanted := {place for place, below in unread.items() if not last[place].number and below > starts[place]}:
        begins = {place: max(starts[place], ends[place] - step) for place in wanted}
        for place in ends:
            consumer.seek(place, begins.get(place, ends[place]))
        behind = set(wanted)
        while behind:
            fetched = await consumer.getmany(*behind, timeout_ms=_POLL_MS)
            for place, records in fetched.items():
                for record in records:
                    if record.offset < unread[place] and (found := numbers_of(record.headers)).number:
                        last[place] = found
            # The position moves over markers and aborted records too.
            behind = {place for place in behind if await consumer.position(place) < unread[place]}
        unread.update(begins)
        step *= _STEP_FACTOR
    return last
