"""What was told on a topic: read from its beginning, and from the outbox for as long as that keeps more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from pkg.db.database import Database
from pkg.errors import backend_unavailable
from pkg.events import clients
from pkg.events.cluster import Cluster
from pkg.events.outbox import Event
from pkg.events.records import MalformedRecord, numbers_of, partition_of, received
from pkg.events.topics import TopicSpec

_BATCH: Final = 500
_POLL_MS: Final = 500
_START_SECONDS: Final = 15.0
_CALL_SECONDS: Final = 30.0
_KEPT: Final = """
    select number, event_id::text, type, key, payload, occur_time from outbox
    where topic = $1 and number > $2 order by number limit $3
"""


class Log:
    """All that is still known to have been told on a topic, each event once, in the order of its partition."""

    def __init__(self, cluster: Cluster | str, spec: TopicSpec, outbox: Database) -> None:
        """`outbox` is the database of the topic's publisher."""
        self._cluster = cluster
        self._spec = spec
        self._outbox = outbox
        # First and last number that each partition was found to hold.
        self._held: dict[int, tuple[int, int]] = {}

    async def events(self) -> AsyncIterator[list[Event]]:
        """Events in batches: those on the topic until the end it has now, then those that it keeps no longer. Records
        that are no events are passed over. Raises Unavailable when Kafka or PostgreSQL does not answer."""
        try:
            async for batch in self._on_the_topic():
                yield batch
        except (KafkaError, OSError, TimeoutError) as error:
            raise backend_unavailable("Kafka") from error
        number = 0
        while True:
            async with self._outbox.acquire() as connection:
                rows = await connection.fetch(_KEPT, self._spec.name, number, _BATCH)
            if not rows:
                return
            number = rows[-1]["number"]
            kept = [Event(*list(row)[1:]) for row in rows if not self._holds(row["key"], row["number"])]
            if kept:
                yield kept

    def _holds(self, key: str, number: int) -> bool:
        first, last = self._held.get(partition_of(key, self._spec.partitions), (1, 0))
        return first <= number <= last

    async def _on_the_topic(self) -> AsyncIterator[list[Event]]:
        async with AsyncExitStack() as stack:
            consumer = clients.consumer(self._cluster, f"oofgg-log-{self._spec.name}")
            stack.push_async_callback(clients.stop, consumer.stop)
            await clients.start(consumer, within=_START_SECONDS)
            if self._spec.name not in await clients.whole(consumer.topics(), within=_CALL_SECONDS):
                return
            places = [TopicPartition(self._spec.name, partition) for partition in range(self._spec.partitions)]
            consumer.assign(places)
            starts = await clients.whole(consumer.beginning_offsets(places), within=_CALL_SECONDS)
            ends = await clients.whole(consumer.end_offsets(places), within=_CALL_SECONDS)
            for place in places:
                consumer.seek(place, starts[place])
            behind = {place for place in places if starts[place] < ends[place]}
            while behind:
                fetched = await clients.whole(
                    consumer.getmany(*behind, timeout_ms=_POLL_MS, max_records=_BATCH), within=_CALL_SECONDS
                )
                events = []
                for place, records in fetched.items():
                    for record in records:
                        number = numbers_of(record.headers).number
                        first, _ = self._held.get(place.partition, (number, number))
                        self._held[place.partition] = (first, number)
                        try:
                            events.append(received(record.key, record.value, record.headers))
                        except MalformedRecord:
                            continue
                if events:
                    yield events
                # The position moves over markers and aborted records too.
                behind = {place for place in behind if await consumer.position(place) < ends[place]}
