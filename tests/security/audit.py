"""Reads what is on a topic, from its beginning."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition

from oofgg.events.v1 import identity_pb2
from pkg.embedded import Platform
from pkg.events.topics import AUDIT

WITHIN = 40.0
Event = identity_pb2.SecurityEvent


def kind_of(event: Event) -> str:
    return identity_pb2.SecurityEventKind.Name(event.kind).removeprefix("SECURITY_EVENT_KIND_")


async def read_until(platform: Platform, topic: str, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """All records so far, as soon as they are enough."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=platform.endpoints.kafka_bootstrap,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    records: list[bytes] = []
    try:
        async with asyncio.timeout(WITHIN):
            while not (partitions := await _partitions(consumer, topic)):
                await asyncio.sleep(0.2)
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            while not enough(records):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for record in batch:
                        assert record.value is not None
                        headers = b"".join(name.encode() + value for name, value in record.headers)
                        records.append((record.key or b"") + b"\n" + headers + b"\n" + record.value)
        return records
    finally:
        await consumer.stop()


async def events_until(platform: Platform, enough: Callable[[list[Event]], bool]) -> list[Event]:
    """The security events so far, as soon as they are enough."""

    def parsed(records: list[bytes]) -> list[Event]:
        return [Event.FromString(record.split(b"\n", 2)[2]) for record in records]

    return parsed(await read_until(platform, AUDIT, lambda records: enough(parsed(records))))


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    await consumer.topics()
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
