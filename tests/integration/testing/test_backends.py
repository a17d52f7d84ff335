"""The fixtures give what they promise."""

from __future__ import annotations

import asyncpg
import pytest
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


@pytest.fixture
def postgres_schemas() -> tuple[str, ...]:
    return ()


@pytest.mark.parametrize("turn", [1, 2])
async def test_every_test_has_an_empty_database(postgres_url: str, turn: int) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        assert str(await connection.fetchval("show server_version")).startswith("18")
        await connection.execute("create table only_here (turn int)")  # fails where the other turn's table is
    finally:
        await connection.close()


@pytest.mark.parametrize("turn", range(17))
async def test_every_test_has_an_empty_redis(redis_url: str, turn: int) -> None:
    client = redis.asyncio.Redis.from_url(redis_url)
    assert await client.dbsize() == 0
    await client.set("turn", turn)
    await client.aclose()


async def test_the_broker_keeps_records(kafka_bootstrap: str, topic_prefix: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    await producer.send_and_wait(topic_prefix + "a", b"value", key=b"key")
    await producer.stop()
    consumer = AIOKafkaConsumer(topic_prefix + "a", bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    record = await consumer.getone()
    await consumer.stop()
    assert (record.key, record.value) == (b"key", b"value")
