"""The relay over a real PostgreSQL and a real broker: once each, whatever breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from pkg.db.database import Database
from pkg.events.ledger import Entry
from pkg.events.outbox import append
from pkg.events.publisher import Publisher
from pkg.events.records import partition_of, received
from pkg.events.topics import TopicSpec, ensure_topics
from pkg.testing.brokers import ApacheBroker, Broker
from tests.integration.events.outboxes import (
    HIDES,
    committed,
    event,
    eventually,
    id_of,
    number,
    partitions,
    put,
    relaying,
)


async def test_events_arrive_once_in_order_as_cloudevents(
    database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    first = event("session-1", b"first")
    async with database.transaction() as connection:
        await append(connection, first, [topic])
        await append(connection, first, [topic])  # again does nothing
    ids = [first.event_id, *await put(database, topic, count=20)]
    async with relaying(database, kafka_bootstrap, partitions(1)):
        records = await committed(kafka_bootstrap, topic, 21)
        ids += await put(database, topic, count=3)  # while it runs
        records = await committed(kafka_bootstrap, topic, 24)
    assert [id_of(record) for record in records] == ids
    assert [number(record) for record in records] == list(range(1, 25))
    told = dict(records[0].headers)
    assert (records[0].key, records[0].value) == (b"session-1", b"first")
    assert told["ce_specversion"] == b"1.0"
    assert told["ce_type"] == b"oofgg.events.v1.MatchFinished"
    assert told["ce_source"] == b"/oofgg/owner"
    assert told["ce_subject"] == b"session-1"
    assert told["content-type"] == b"application/protobuf"
    assert received(records[0].key, records[0].value, records[0].headers) == first


async def test_an_append_that_rolls_back_is_never_published(
    database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"

    async def fail() -> None:
        async with database.transaction() as connection:
            await append(connection, event(), [topic])
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    ids = await put(database, topic)
    async with relaying(database, kafka_bootstrap, partitions(1)):
        assert [id_of(record) for record in await committed(kafka_bootstrap, topic, 1)] == ids


async def test_partitions_follow_keys_and_link_their_records(
    database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    async with relaying(database, kafka_bootstrap, partitions(8)):
        await put(database, topic, count=40)
        await put(database, topic, count=20)
        records = await committed(kafka_bootstrap, topic, 60)
    assert sorted(number(record) for record in records) == list(range(1, 61))
    last: Counter[int] = Counter()
    for record in records:
        assert record.key is not None
        assert record.partition == partition_of(record.key.decode(), 8)
        assert number(record, "oofgg-previous") == last[record.partition]
        last[record.partition] = number(record)
    assert len(last) > 4


async def test_our_partitions_are_those_of_other_clients(kafka_bootstrap: str, topic_prefix: str) -> None:
    topic = topic_prefix + "keys"
    await ensure_topics(kafka_bootstrap, [TopicSpec(topic, 8, 7)])
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for index in range(50):
            sent = await producer.send_and_wait(topic, b"", key=f"key-{index}".encode())
            assert sent.partition == partition_of(f"key-{index}", 8)


@pytest.mark.parametrize("moment", ["before the broker's commit", "after the broker's commit"])
async def test_a_crash_around_the_commit_repeats_and_loses_nothing(
    database: Database, kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    topic = topic_prefix + "results"
    real = Publisher.publish
    crashes: list[str] = []

    async def crash(self: Publisher, entries: list[Entry]) -> None:
        if moment.startswith("after"):
            await real(self, entries)
        if len(crashes) < 3:
            crashes.append(moment)
            raise ConnectionResetError(moment)
        if moment.startswith("before"):
            await real(self, entries)

    monkeypatch.setattr(Publisher, "publish", crash)
    ids = await put(database, topic, count=10)
    async with relaying(database, kafka_bootstrap, partitions(4)):
        for turn in range(1, 4):
            ids += await put(database, topic, count=10)
            records = await committed(kafka_bootstrap, topic, 10 + 10 * turn)
    assert len(crashes) == 3
    assert Counter(id_of(record) for record in records) == Counter(ids)


async def test_a_crash_inside_the_transaction_leaves_nothing_that_is_read(
    database: Database, kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = topic_prefix + "results"
    real = AIOKafkaProducer.commit_transaction
    crashes: list[str] = []

    async def crash(self: Any) -> None:
        if len(crashes) < 2:
            crashes.append("")
            raise ConnectionResetError
        await real(self)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", crash)
    ids = await put(database, topic, count=10)
    async with relaying(database, kafka_bootstrap, partitions(2)):
        await committed(kafka_bootstrap, topic, 10)
        ids += await put(database, topic, count=2)
        records = await committed(kafka_bootstrap, topic, 12)
    assert len(crashes) == 2
    assert Counter(id_of(record) for record in records) == Counter(ids)


async def test_restarts_go_on_where_the_topic_ends(database: Database, kafka_bootstrap: str, topic_prefix: str) -> None:
    topic = topic_prefix + "results"
    ids: list[str] = []
    for turn in range(1, 4):
        async with relaying(database, kafka_bootstrap, partitions(2)):
            ids += await put(database, topic, count=5)
            await committed(kafka_bootstrap, topic, 5 * turn)
    records = await committed(kafka_bootstrap, topic, 15)
    assert Counter(id_of(record) for record in records) == Counter(ids)


async def test_two_relays_publish_once_while_the_elected_one_keeps_losing_its_connection(
    database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    ids: list[str] = []
    cut = 0
    async with (
        relaying(database, kafka_bootstrap, partitions(3)),
        relaying(database, kafka_bootstrap, partitions(3)),
    ):
        for _ in range(6):
            ids += await put(database, topic, count=10)
            async with database.acquire() as connection:
                cut += await connection.fetchval(
                    "select count(pg_terminate_backend(pid)) from pg_locks where locktype = 'advisory'"
                    " and database = (select oid from pg_database where datname = current_database())"
                )
            await asyncio.sleep(0.1)  # lets the election move to and fro
        records = await committed(kafka_bootstrap, topic, 60)
    assert cut > 0
    assert Counter(id_of(record) for record in records) == Counter(ids)


async def test_a_partition_that_lost_its_end_gets_it_again_and_the_others_nothing(
    database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    """What such a broker looks like: partition 0 has everything up to number 20, partition 1 up to number 4."""
    topic = topic_prefix + "results"
    await put(database, topic, count=20)
    async with database.acquire() as connection:
        await connection.execute("update outbox set number = insert_id")
        rows = await connection.fetch("select number, key, event_id::text from outbox order by number")
    await ensure_topics(kafka_bootstrap, [TopicSpec(topic, 2, 7)])
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        for row in rows:
            partition = partition_of(row["key"], 2)
            if partition == 0 or row["number"] <= 4:
                await producer.send_and_wait(
                    topic, b"p", key=row["key"].encode(), partition=partition,
                    headers=[("ce_id", row["event_id"].encode()), ("oofgg-number", str(row["number"]).encode())],
                )  # fmt: skip
    async with relaying(database, kafka_bootstrap, partitions(2)):
        records = await committed(kafka_bootstrap, topic, 20)
    assert sorted(number(record) for record in records) == list(range(1, 21))


async def attempted(database: Database, count: int) -> bool:
    async with database.acquire() as connection:
        return bool(await connection.fetchval("select count(number) = $1 from outbox", count))


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "busy"])
async def test_a_broker_that_lost_its_newest_records_gets_them_again(
    database: Database, broker: Broker, topic_prefix: str, idle: bool
) -> None:
    if not idle and not isinstance(broker, ApacheBroker):
        pytest.skip(HIDES)
    topic = topic_prefix + "results"
    bootstrap = broker.bootstrap
    ids: list[str] = []
    async with relaying(database, bootstrap, partitions(2)):
        for _ in range(3):
            ids += await put(database, topic, count=30)
            await committed(bootstrap, topic, len(ids))
            ids += await put(database, topic, count=3)
            await eventually(partial(attempted, database, len(ids)), "all events were attempted")
            await broker.crash()
            if not idle:
                ids += await put(database, topic, count=20)
            records = await committed(bootstrap, topic, len(ids))
            assert Counter(id_of(record) for record in records) == Counter(ids)
    per_partition: dict[int, list[int]] = {}
    for record in records:
        per_partition.setdefault(record.partition, []).append(number(record))
    assert all(numbers == sorted(numbers) for numbers in per_partition.values())


async def test_events_wait_while_kafka_is_down(database: Database, broker: Broker, topic_prefix: str) -> None:
    topic = topic_prefix + "results"
    broker.stop()
    async with relaying(database, broker.bootstrap, partitions(1)):
        ids = await put(database, topic, count=5)
        await asyncio.sleep(0.5)  # let some attempts fail
        async with database.acquire() as connection:
            assert await connection.fetchval("select count(*) from outbox where number is null") == 5
        broker.start()
        records = await committed(broker.bootstrap, topic, 5)
    assert [id_of(record) for record in records] == ids


async def test_a_bad_topic_stalls_no_other(database: Database, kafka_bootstrap: str, topic_prefix: str) -> None:
    good, undeclared, refused = topic_prefix + "good", topic_prefix + "undeclared", topic_prefix + "not a name"

    def spec(name: str) -> TopicSpec:
        if name == undeclared:
            raise ValueError(name)
        return TopicSpec(name, 1, 7)

    await put(database, undeclared, refused, count=3)
    async with relaying(database, kafka_bootstrap, spec):
        ids = await put(database, undeclared, refused, good, count=3)
        assert [id_of(record) for record in await committed(kafka_bootstrap, good, 3)] == ids


async def test_old_published_events_are_forgotten_and_numbers_go_on(
    database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    async with relaying(database, kafka_bootstrap, partitions(1)):
        await put(database, topic, count=3)
        await committed(kafka_bootstrap, topic, 3)
    async with database.acquire() as connection:
        await connection.execute("update outbox set occur_time = occur_time - interval '40 days'")
    async with relaying(database, kafka_bootstrap, partitions(1)):
        await put(database, topic, count=1)
        records = await committed(kafka_bootstrap, topic, 4)
        assert [number(record) for record in records] == [1, 2, 3, 4]

        async def pruned() -> bool:
            async with database.acquire() as connection:
                return int(await connection.fetchval("select count(*) from outbox")) <= 2

        await eventually(pruned, "old rows are gone")
