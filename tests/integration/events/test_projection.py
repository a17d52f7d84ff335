"""Projections over a real PostgreSQL and a real broker: effects once each, whatever breaks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from google.protobuf.message import DecodeError

from pkg.db.database import Connection, Database
from pkg.errors import Unavailable
from pkg.events.lag import ProjectionFigures
from pkg.events.outbox import Event
from pkg.events.projection import Projection, ProjectionTimes
from pkg.events.records import headers_of
from pkg.events.topics import TopicSpec, ensure_topics
from pkg.telemetry.metrics import Metrics
from pkg.testing.brokers import ApacheBroker, Broker
from tests.integration.events.outboxes import (
    HIDES,
    LIMIT,
    committed,
    event,
    eventually,
    partitions,
    put,
    relaying,
)

QUICK = ProjectionTimes(lease=1.5, renew=0.2, verify=0.3, retry_first=0.1, retry_most=0.5, stalled=3.0)
EFFECTS = "create table effect (event_id uuid not null, key text not null, reader text not null)"


@pytest.fixture
async def effects(database: Database) -> Database:
    """The database of a projection that writes down every event it is given, without any uniqueness of its own."""
    migrations = Path(__file__).parents[3] / "services/scoring/migrations"
    async with database.acquire() as connection:
        for name in ("002_events.sql", "007_dead_letters.sql"):
            await connection.execute((migrations / name).read_text())
        await connection.execute(EFFECTS)
    return database


@asynccontextmanager
async def projecting(
    database: Database, bootstrap: str, topic: str, *, count: int = 1, reader: str = "one"
) -> AsyncIterator[Projection]:
    async def apply(connection: Connection, new: Event) -> None:
        if new.payload == b"nonsense":
            raise DecodeError("nonsense")
        if new.payload == b"trouble":
            raise KeyError("trouble")
        await connection.execute(
            "insert into effect (event_id, key, reader) values ($1, $2, $3)", new.event_id, new.key, reader
        )

    projection = Projection(database, bootstrap, TopicSpec(topic, count, 7), apply, holder=reader, times=QUICK)
    task = asyncio.create_task(projection.run())
    try:
        yield projection
    finally:
        ended = task.done()
        task.cancel()
        told = await asyncio.gather(task, return_exceptions=True)
        assert not ended, told


async def applied(database: Database) -> list[str]:
    async with database.acquire() as connection:
        return [row["event_id"] for row in await connection.fetch("select event_id::text from effect")]


async def has_applied(database: Database, count: int) -> bool:
    return len(await applied(database)) >= count


async def until_applied(database: Database, ids: list[str], within: float = LIMIT) -> None:
    """Waits for as many effects, and a moment longer for one too many."""
    await eventually(partial(has_applied, database, len(ids)), f"{len(ids)} effects", within)
    await asyncio.sleep(0.3)
    assert sorted(await applied(database)) == sorted(ids)


async def publish(bootstrap: str, topic: str, events: list[Event], count: int = 1) -> None:
    await ensure_topics(bootstrap, [TopicSpec(topic, count, 7)])
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for number, new in enumerate(events, 1):
            headers = headers_of(new, "/test", number, number - 1, 1)
            await producer.send_and_wait(topic, new.payload, key=new.key.encode(), headers=headers, partition=0)


async def publish_quickly(bootstrap: str, topic: str, events: list[Event], count: int = 1) -> None:
    """As a relay does, over `count` partitions in turn."""
    await ensure_topics(bootstrap, [TopicSpec(topic, count, 7)])
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        sent = []
        for number, new in enumerate(events, 1):
            headers = headers_of(new, "/test", number, max(0, number - count), 1)
            sent.append(
                await producer.send(topic, new.payload, key=new.key.encode(), headers=headers, partition=number % count)
            )
        await asyncio.gather(*sent)


async def test_from_outbox_to_effect_once(effects: Database, kafka_bootstrap: str, topic_prefix: str) -> None:
    topic = topic_prefix + "results"
    async with (
        relaying(effects, kafka_bootstrap, partitions(4)),
        projecting(effects, kafka_bootstrap, topic, count=4),
    ):
        ids = await put(effects, topic, count=30)
        await until_applied(effects, ids)
        ids += await put(effects, topic, count=10)
        await until_applied(effects, ids)


async def test_a_restart_goes_on_where_it_was(effects: Database, kafka_bootstrap: str, topic_prefix: str) -> None:
    topic = topic_prefix + "results"
    ids: list[str] = []
    async with relaying(effects, kafka_bootstrap, partitions(2)):
        for _ in range(3):
            async with projecting(effects, kafka_bootstrap, topic, count=2):
                ids += await put(effects, topic, count=10)
                await until_applied(effects, ids)


async def test_an_event_that_comes_again_changes_nothing(
    effects: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    events = [event(f"k{index}") for index in range(5)]
    await publish(kafka_bootstrap, topic, events + events)
    await publish(kafka_bootstrap, topic, events)
    async with projecting(effects, kafka_bootstrap, topic):
        await until_applied(effects, [new.event_id for new in events])


async def test_two_readers_share_and_take_over(effects: Database, kafka_bootstrap: str, topic_prefix: str) -> None:
    topic = topic_prefix + "results"

    async def shares() -> dict[str, int]:
        async with effects.acquire() as connection:
            rows = await connection.fetch("select holder, count(*) from position where holder is not null group by 1")
        return {row["holder"]: row["count"] for row in rows}

    async def shared_equally() -> bool:
        return await shares() == {"one": 4, "two": 4}

    async def all_taken_by_one() -> bool:
        return await shares() == {"one": 8}

    async with (
        relaying(effects, kafka_bootstrap, partitions(8)),
        projecting(effects, kafka_bootstrap, topic, count=8, reader="one"),
    ):
        ids = await put(effects, topic, count=20)
        async with projecting(effects, kafka_bootstrap, topic, count=8, reader="two"):
            ids += await put(effects, topic, count=20)
            await eventually(shared_equally, "both have four partitions")
            ids += await put(effects, topic, count=40)
            await until_applied(effects, ids)
        async with effects.acquire() as connection:
            assert await connection.fetchval("select count(distinct reader) from effect") == 2
        await eventually(all_taken_by_one, "the one that is left has them all")
        ids += await put(effects, topic, count=20)
        await until_applied(effects, ids)


async def test_a_reader_whose_lease_is_ignored_does_no_harm(
    effects: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    """Both read everything all the time, as a reader does that slept through the end of its lease."""
    topic = topic_prefix + "results"
    async with effects.acquire() as connection:
        await connection.execute(
            "create function nobody() returns trigger language plpgsql as"
            " 'begin new.holder := null; return new; end';"
            " create trigger nobody before update on position for each row execute function nobody();"
            " create function alone() returns trigger language plpgsql as 'begin return null; end';"
            " create trigger alone before insert on position_reader for each row execute function alone();"
            " alter table position_reader disable trigger alone;"
            " insert into position_reader values ('" + topic + "', 'one', now() + interval '1 hour');"
            " alter table position_reader enable trigger alone"
        )
    async with (
        relaying(effects, kafka_bootstrap, partitions(2)),
        projecting(effects, kafka_bootstrap, topic, count=2, reader="one"),
        projecting(effects, kafka_bootstrap, topic, count=2, reader="two"),
    ):
        ids: list[str] = []
        for _ in range(5):
            ids += await put(effects, topic, count=10)
        await until_applied(effects, ids)


@pytest.mark.parametrize("payload", [b"nonsense", b"trouble"])
async def test_what_cannot_be_applied_is_put_aside(
    effects: Database, kafka_bootstrap: str, topic_prefix: str, payload: bytes
) -> None:
    topic = topic_prefix + "results"
    good = [event("a"), event("b"), event("c")]
    bad = event("bad", payload)
    await publish(kafka_bootstrap, topic, [good[0], bad, good[1]])
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await producer.send_and_wait(topic, b"stranger\0", key=b"\0\xff", headers=[("what", b"\0\xff")])
        await producer.send_and_wait(
            topic, None, key=b"k", headers=[("ce_id", b"no uuid"), ("ce_type", b""), ("ce_time", b"")]
        )
    await publish(kafka_bootstrap, topic, [good[2], bad])
    async with projecting(effects, kafka_bootstrap, topic):
        await until_applied(effects, [new.event_id for new in good])

        async def buried() -> bool:
            async with effects.acquire() as connection:
                return int(await connection.fetchval("select count(*) from dead_letter")) == 3

        await eventually(buried, "three dead letters")
    async with effects.acquire() as connection:
        rows = await connection.fetch("select reason, value from dead_letter order by record_offset")
    assert payload.decode() in rows[0]["reason"]
    assert rows[0]["value"] == payload
    assert rows[1]["reason"] == "the header ce_id is missing"
    assert "ce_id" in rows[2]["reason"]


async def answering(database: Database) -> None:
    """Returns when the next statement will be answered: connections of the pool that were cut are gone."""
    while True:
        try:
            return await database.check()
        except Unavailable:
            await asyncio.sleep(0)


async def test_postgres_is_waited_for(effects: Database, kafka_bootstrap: str, topic_prefix: str) -> None:
    topic = topic_prefix + "results"
    async with (
        relaying(effects, kafka_bootstrap, partitions(2)),
        projecting(effects, kafka_bootstrap, topic, count=2),
    ):
        ids = await put(effects, topic, count=10)
        await until_applied(effects, ids)
        for _ in range(3):
            async with effects.acquire() as connection:
                await connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
            await answering(effects)
            ids += await put(effects, topic, count=10)
        await until_applied(effects, ids)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_a_broker_that_lost_records_costs_no_effect(
    effects: Database, broker: Broker, topic_prefix: str, busy: bool
) -> None:
    if busy and not isinstance(broker, ApacheBroker):
        pytest.skip(HIDES)
    topic = topic_prefix + "results"
    bootstrap = broker.bootstrap
    ids: list[str] = []
    # Where the embedded broker forgets that a transaction has ended, the relay waits for a minute before it takes what
    # readers are not shown for lost.
    within = LIMIT if isinstance(broker, ApacheBroker) else LIMIT + 70
    async with relaying(effects, bootstrap, partitions(2)), projecting(effects, bootstrap, topic, count=2):
        for _ in range(4):
            ids += await put(effects, topic, count=10)
            await until_applied(effects, ids, within)
            ids += await put(effects, topic, count=4)
            await eventually(partial(has_applied, effects, len(ids)), "all applied")
            await broker.crash()
            if busy:
                ids += await put(effects, topic, count=15)
                await until_applied(effects, ids, within)
        ids += await put(effects, topic, count=3)
        await until_applied(effects, ids, within)
        await committed(bootstrap, topic, len(ids))


@pytest.mark.parametrize("next_offset", [4, 6], ids=["with a record after it", "at the end"])
async def test_a_gap_behind_the_position_is_noticed(
    effects: Database, kafka_bootstrap: str, topic_prefix: str, next_offset: int
) -> None:
    """The lost records came back in fewer transactions: below the position now is what was never applied."""
    topic = topic_prefix + "results"
    events = [event(f"k{index}") for index in range(6)]
    await publish(kafka_bootstrap, topic, events)
    async with effects.acquire() as connection:
        # As if only the first two had been applied, when they took the offsets up to this one.
        await connection.execute("insert into position values ($1, 0, $2, 2)", topic, next_offset)
        for new in events[:2]:
            await connection.execute("insert into applied_event values ($1, $2)", topic, new.event_id)
    async with projecting(effects, kafka_bootstrap, topic):
        await until_applied(effects, [new.event_id for new in events[2:]])


@pytest.mark.parametrize(("next_offset", "seen"), [(99, 99), (99, 2), (0, 0)])
async def test_a_position_that_is_not_in_the_topic_starts_over(
    effects: Database, kafka_bootstrap: str, topic_prefix: str, next_offset: int, seen: int
) -> None:
    topic = topic_prefix + "results"
    events = [event(f"k{index}") for index in range(6)]
    await publish(kafka_bootstrap, topic, events)
    async with effects.acquire() as connection:
        await connection.execute("insert into position values ($1, 0, $2, $3)", topic, next_offset, seen)
    async with projecting(effects, kafka_bootstrap, topic):
        await until_applied(effects, [new.event_id for new in events])


async def test_a_gap_that_retention_made_is_accepted(
    effects: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    new, after = event("first that is left"), event("another")
    await ensure_topics(kafka_bootstrap, [TopicSpec(topic, 1, 7)])
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await producer.send_and_wait(topic, b"", key=b"", headers=headers_of(new, "/test", 50, 49, 1))
        await producer.send_and_wait(topic, b"", key=b"", headers=headers_of(after, "/test", 60, 55, 1))
    async with projecting(effects, kafka_bootstrap, topic):
        await until_applied(effects, [new.event_id, after.event_id])


@asynccontextmanager
async def running(projection: Projection) -> AsyncIterator[None]:
    task = asyncio.create_task(projection.run())
    try:
        yield
    finally:
        ended = task.done()
        task.cancel()
        told = await asyncio.gather(task, return_exceptions=True)
        assert not ended, told


async def test_a_backlog_that_takes_longer_than_a_look_at_the_end_is_never_taken_for_lost(
    effects: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    """Many events were applied long ago and are still in the topic; reading those again would never end."""
    topic, metrics = topic_prefix + "results", Metrics()
    old, new = [event(f"old{index}") for index in range(3_000)], [event(f"new{index}") for index in range(600)]
    await publish_quickly(kafka_bootstrap, topic, [*old, *new])
    async with effects.acquire() as connection:
        await connection.execute("insert into position values ($1, 0, $2, $2)", topic, len(old))
        await connection.execute(
            "insert into applied_event select $1, unnest($2::uuid[])", topic, [each.event_id for each in old]
        )
    asked = 0

    async def apply(connection: Connection, told: Event) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.005)
        await connection.execute("insert into effect values ($1, $2, 'one')", told.event_id, told.key)

    projection = Projection(
        effects, kafka_bootstrap, TopicSpec(topic, 1, 7), apply, holder="one",
        times=replace(QUICK, verify=0.05), figures=ProjectionFigures(metrics, topic),
    )  # fmt: skip
    async with running(projection):
        await until_applied(effects, [each.event_id for each in new])
    assert asked == len(new)
    assert metrics.registry.get_sample_value("oofgg_projection_went_back_total", {"topic": topic}) == 0


async def test_events_that_cannot_be_applied_delay_no_other_key_and_no_other_partition(
    effects: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic, partitions_ = topic_prefix + "results", 4
    poison = [event(f"bad{index}", b"trouble") for index in range(40)]
    good = [event(f"good{index}") for index in range(8)]
    await publish_quickly(kafka_bootstrap, topic, [*poison, *good], partitions_)
    attempts: Counter[str] = Counter()
    began = asyncio.get_running_loop().time()
    seconds: list[float] = []

    async def apply(_connection: Connection, told: Event) -> None:
        attempts[told.key] += 1
        if told.payload == b"trouble":
            raise KeyError("trouble")
        seconds.append(asyncio.get_running_loop().time() - began)

    projection = Projection(
        effects, kafka_bootstrap, TopicSpec(topic, partitions_, 7), apply, holder="one", times=QUICK
    )  # fmt: skip

    async def buried() -> bool:
        async with effects.acquire() as connection:
            return int(await connection.fetchval("select count(*) from dead_letter")) == len(poison)

    async with running(projection):
        await eventually(buried, "all that cannot be applied is put aside")
        whole = asyncio.get_running_loop().time() - began
    assert len(seconds) >= len(good)
    # In sequence, forty times two pauses of 0.2 s would be sixteen seconds.
    assert whole < 8
    assert max(attempts[each.key] for each in poison) <= 4  # once with others, then three times alone


async def test_events_of_one_key_keep_their_order_when_the_first_needs_another_attempt(
    effects: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    events = [event("a", b"1"), event("b", b"2"), event("a", b"3")]
    await publish(kafka_bootstrap, topic, events)
    order: list[bytes] = []
    failures = 2

    async def apply(connection: Connection, told: Event) -> None:
        nonlocal failures
        if told.payload == b"1" and failures:
            failures -= 1
            raise RuntimeError("not now")
        order.append(told.payload)
        await connection.execute("insert into effect values ($1, $2, 'one')", told.event_id, told.key)

    async with running(Projection(effects, kafka_bootstrap, TopicSpec(topic, 1, 7), apply, holder="one", times=QUICK)):
        await until_applied(effects, [each.event_id for each in events])
    assert order == [b"2", b"1", b"3"]


async def test_a_slow_database_is_given_less_at_a_time_until_it_gets_through(
    effects: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    """All that waits would take longer than a transaction may: the same batch again and again would never end."""
    topic = topic_prefix + "results"
    events = [event(f"k{index}") for index in range(100)]
    await publish_quickly(kafka_bootstrap, topic, events)

    async def apply(connection: Connection, told: Event) -> None:
        await asyncio.sleep(0.07)
        await connection.execute("insert into effect values ($1, $2, 'one')", told.event_id, told.key)

    async with running(Projection(effects, kafka_bootstrap, TopicSpec(topic, 1, 7), apply, holder="one", times=QUICK)):
        await until_applied(effects, [each.event_id for each in events])
    async with effects.acquire() as connection:
        assert await connection.fetchval("select count(*) from dead_letter") == 0


async def test_a_reader_keeps_a_partition_while_it_works_longer_than_its_lease(
    effects: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    events = [event(f"k{index}") for index in range(120)]
    await publish_quickly(kafka_bootstrap, topic, events)

    async def apply(connection: Connection, told: Event) -> None:
        await asyncio.sleep(0.025)  # a batch takes three seconds, twice the lease
        await connection.execute("insert into effect values ($1, $2, 'one')", told.event_id, told.key)

    spec = TopicSpec(topic, 1, 7)
    moved: list[object] = []
    with structlog.testing.capture_logs() as logs:
        async with (
            running(Projection(effects, kafka_bootstrap, spec, apply, holder="one", times=QUICK)),
            running(Projection(effects, kafka_bootstrap, spec, apply, holder="two", times=QUICK)),
        ):
            await until_applied(effects, [each.event_id for each in events])
        moved = [line for line in logs if line["event"] == "another reader has a partition"]
    assert not moved


async def test_a_quiet_topic_costs_little(
    effects: Database, kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    real = AIOKafkaClient.send

    async def counted(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return await real(self, *arguments, **options)  # type: ignore[no-untyped-call]

    topic = topic_prefix + "results"
    monkeypatch.setattr(AIOKafkaClient, "send", counted)
    await publish(kafka_bootstrap, topic, [event("a")])
    async with projecting(effects, kafka_bootstrap, topic):
        await eventually(partial(has_applied, effects, 1), "the event is applied")
        asked = 0
        await asyncio.sleep(2)
    assert 0 < asked < 2_000  # a client left to itself asks this broker ten times as often
