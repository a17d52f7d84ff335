"""All that was told on a topic: what the topic still has, and what only the outbox has."""

from __future__ import annotations

from pkg.db.database import Database
from pkg.events.log import Log
from pkg.events.topics import TopicSpec
from tests.integration.events.outboxes import committed, partitions, put, relaying


async def test_each_event_comes_once_from_the_topic_or_from_the_outbox(
    database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    forgotten = await put(database, topic, count=30)
    async with database.acquire() as connection:
        # They have numbers, and the topic keeps them no longer.
        await connection.execute("update outbox set number = insert_id, occur_time = now() - interval '20 days'")
    kept = await put(database, topic, count=20)
    async with relaying(database, kafka_bootstrap, partitions(2)):
        await committed(kafka_bootstrap, topic, 20)
    untold = await put(database, topic, count=3)
    log = Log(kafka_bootstrap, TopicSpec(topic, 2, 7), database)
    found = [event.event_id async for batch in log.events() for event in batch]
    assert sorted(found) == sorted([*forgotten, *kept])
    assert not set(found) & set(untold)


async def test_a_topic_that_is_not_there_has_only_what_the_outbox_has(
    database: Database, kafka_bootstrap: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "results"
    ids = await put(database, topic, count=2)
    async with database.acquire() as connection:
        await connection.execute("update outbox set number = insert_id")
    log = Log(kafka_bootstrap, TopicSpec(topic, 2, 7), database)
    assert [event.event_id async for batch in log.events() for event in batch] == ids
