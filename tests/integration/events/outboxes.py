"""Putting events into an outbox, relaying them, reading what reached the topics."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from pkg.clock import SystemClock
from pkg.db.database import Database
from pkg.db.migrations import Migration
from pkg.events.cluster import Cluster
from pkg.events.outbox import Event, append
from pkg.events.relay import Relay, RelayTimes
from pkg.events.topics import TopicSpec

OUTBOX = Migration(
    "001_outbox",
    """
    create table outbox (
        event_id uuid not null, topic text not null, number bigint, key text not null, type text not null,
        payload bytea not null, occur_time timestamptz not null, trace_parent text,
        insert_id bigint generated always as identity, primary key (event_id, topic), unique (topic, number));
    create index outbox_unnumbered on outbox (insert_id) where number is null;
    """,
)
QUICK = RelayTimes(election=0.1, poll=0.2, check=0.2, retry_first=0.1, retry_most=0.5)
LIMIT = 30.0


def event(key: str = "k", payload: bytes = b"p") -> Event:
    return Event(str(uuid.uuid4()), "oofgg.events.v1.MatchFinished", key, payload, datetime.now(UTC))


async def put(database: Database, *topics: str, count: int = 1, key: str | None = None) -> list[str]:
    """Appends events, each in a transaction of its own, and returns their ids."""
    ids = []
    for index in range(count):
        new = event(key or f"k{index}")
        async with database.transaction() as connection:
            await append(connection, new, topics)
        ids.append(new.event_id)
    return ids


def partitions(count: int) -> Callable[[str], TopicSpec]:
    return lambda name: TopicSpec(name, count, 7)


@asynccontextmanager
async def relaying(
    database: Database, bootstrap: Cluster | str, spec: Callable[[str], TopicSpec]
) -> AsyncIterator[Relay]:
    relay = Relay(database, bootstrap, SystemClock(), spec=spec, times=QUICK)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        ended = task.done()
        task.cancel()
        told = await asyncio.gather(task, return_exceptions=True)
        assert not ended, told


# It forgets who began a transaction, and it never ends one by itself: docs/architecture/events.md.
HIDES = "the embedded broker, when it dies within a transaction, may hide what comes after it"


async def committed(bootstrap: str, topic: str, count: int) -> list[ConsumerRecord[bytes, bytes]]:
    """All committed records of a topic, once it has as many; by partition and offset."""
    consumer: AIOKafkaConsumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False
    )
    await consumer.start()
    try:
        found: dict[tuple[int, int], ConsumerRecord[bytes, bytes]] = {}
        places: set[int] = set()
        deadline = time.monotonic() + LIMIT
        quiet = 0
        # Looks on for a moment after the last expected record: there may be one too many.
        while len(found) < count or quiet < 3:
            assert time.monotonic() < deadline, f"{len(found)} of {count} records in {topic}"
            # A broker that lost the topic has it again with one partition, until the relay sees to that.
            if quiet % 3 == 0 and (now := consumer.partitions_for_topic(topic) or set()) != places:
                places = set(now)
                consumer.assign([TopicPartition(topic, partition) for partition in places])
                await consumer.seek_to_beginning()
            if not places:
                await asyncio.sleep(0.1)
                await consumer._client.force_metadata_update()
                continue
            fetched = await consumer.getmany(timeout_ms=100)
            quiet = 0 if fetched else quiet + 1
            if quiet and len(found) < count:
                await consumer._client.force_metadata_update()
            for place, records in fetched.items():
                found.update({(place.partition, record.offset): record for record in records})
        return [found[place] for place in sorted(found)]
    finally:
        await consumer.stop()


def id_of(record: ConsumerRecord[bytes, bytes]) -> str:
    return dict(record.headers)["ce_id"].decode()


def number(record: ConsumerRecord[bytes, bytes], name: str = "oofgg-number") -> int:
    return int(dict(record.headers)[name])


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, within: float = LIMIT) -> None:
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        await asyncio.sleep(0.05)
