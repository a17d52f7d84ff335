"""What cannot be applied is told on a topic, and applied once when somebody asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from aiokafka import AIOKafkaProducer

from oofgg.events.v1.dead_letter_pb2 import DeadLetter
from pkg.db.database import Connection, Database
from pkg.events.dead_letters import DeadLetters
from pkg.events.lag import ProjectionFigures, watch_dead_letters
from pkg.events.outbox import Event
from pkg.events.projection import Projection
from pkg.events.topics import DEAD_LETTERS, TopicSpec, spec_of
from pkg.telemetry.metrics import Metrics
from tests.integration.events.outboxes import committed, event, eventually, relaying
from tests.integration.events.test_projection import QUICK, effects, publish

__all__ = ["effects"]


class Trouble:
    """An apply that fails for some keys, for as long as a test wants it to."""

    def __init__(self) -> None:
        self.keys = {"bad", "worse"}

    async def apply(self, connection: Connection, new: Event) -> None:
        await connection.execute(
            "insert into effect (event_id, key, reader) values ($1, $2, 'x')", new.event_id, new.key
        )
        if new.key in self.keys:
            raise ValueError(f"trouble with {new.key}")


@asynccontextmanager
async def projecting(
    database: Database, bootstrap: str, topic: str, trouble: Trouble, reader: str, metrics: Metrics | None = None
) -> AsyncIterator[None]:
    projection = Projection(
        database, bootstrap, TopicSpec(topic, 1, 7), trouble.apply, holder=reader, times=QUICK,
        figures=ProjectionFigures(metrics or Metrics(), topic),
    )  # fmt: skip
    task = asyncio.create_task(projection.run())
    yield
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def keys(database: Database) -> list[str]:
    async with database.acquire() as connection:
        return sorted(row["key"] for row in await connection.fetch("select key from effect"))


async def test_from_the_grave_and_back(
    effects: Database,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    topic = topic_prefix + "results"
    letters, trouble, metrics = DeadLetters(effects), Trouble(), Metrics()
    await publish(kafka_bootstrap, topic, [event("good"), event("bad"), event("worse")])
    strange = [("what", b"\0\xff\\x41"), ("ce_id", "é".encode())]
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await producer.send_and_wait(topic, b"stranger", key=b"\0\xff", headers=strange)
    async with (
        relaying(effects, kafka_bootstrap, spec_of),
        projecting(effects, kafka_bootstrap, topic, trouble, "one", metrics),
        projecting(effects, kafka_bootstrap, topic, trouble, "two", metrics),
    ):

        async def aside(count: int) -> bool:
            return len(await letters.page(0, 10)) == count

        async def seen_to() -> bool:
            return not any(letter.waiting for letter in await letters.page(0, 10))

        await eventually(partial(aside, 3), "three are put aside")
        bad, worse, stranger = await letters.page(0, 10)
        assert metrics.registry.get_sample_value("oofgg_dead_letters_total", {"topic": topic}) == 3
        counting = asyncio.create_task(watch_dead_letters(effects, metrics))

        async def counted() -> bool:
            return metrics.registry.get_sample_value("oofgg_dead_letters_kept", {"service": effects.schema}) == 3

        await eventually(counted, "the letters are counted")
        counting.cancel()
        assert (bad.topic, bad.offset, bad.reason) == (topic, 1, "ValueError('trouble with bad')")
        told = [
            DeadLetter.FromString(record.value or b"") for record in await committed(kafka_bootstrap, DEAD_LETTERS, 3)
        ]
        mine = [letter for letter in told if letter.topic == topic]
        assert [letter.reason for letter in mine] == [bad.reason, worse.reason, stranger.reason]
        assert [(header.key, header.value) for header in mine[2].headers] == strange
        assert (mine[2].key, mine[2].value) == (b"\0\xff", b"stranger")

        trouble.keys = {"worse"}
        assert await letters.replay(None) == [bad.letter_id, worse.letter_id, stranger.letter_id]
        await letters.replay([bad.letter_id, 999])
        await eventually(seen_to, "all were tried again")
        assert await keys(effects) == ["bad", "good"]
        assert [letter.letter_id for letter in await letters.page(0, 10)] == [worse.letter_id, stranger.letter_id]

        trouble.keys = set()
        await letters.replay([worse.letter_id])
        await eventually(partial(aside, 1), "one is left")
        assert await keys(effects) == ["bad", "good", "worse"]
        assert await letters.discard([stranger.letter_id]) == [stranger.letter_id]
        assert await letters.page(0, 10) == []


@pytest.mark.parametrize("text", [b"plain", b"\\n \\", "é\n".encode(), bytes(range(256))])
def test_headers_survive(text: bytes) -> None:
    from pkg.events.dead_letters import _bytes, _text

    assert _bytes(_text(text)) == text
    assert "\0" not in _text(text)
