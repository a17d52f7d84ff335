"""What the metrics say of events that wait, and of records that were not read."""

from __future__ import annotations

import asyncio
from functools import partial

from pkg.db.database import Connection, Database
from pkg.events.lag import ProjectionFigures, watch_outbox
from pkg.events.outbox import Event
from pkg.events.projection import Projection
from pkg.events.topics import TopicSpec
from pkg.telemetry.metrics import Metrics
from tests.integration.events.outboxes import committed, event, eventually, partitions, put, relaying
from tests.integration.events.test_projection import QUICK, effects, publish

__all__ = ["effects"]


def figure(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_what_waits_in_an_outbox(database: Database, kafka_bootstrap: str, topic_prefix: str) -> None:
    metrics = Metrics()

    async def shows(events: int) -> bool:
        watching = asyncio.create_task(watch_outbox(database, metrics))
        await asyncio.sleep(0.2)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return figure(metrics, "oofgg_outbox_events", service="owner") == events

    await put(database, topic_prefix + "results", count=3)
    assert await shows(3)
    assert (figure(metrics, "oofgg_outbox_seconds", service="owner") or 0) > 0
    async with relaying(database, kafka_bootstrap, partitions(1)):
        await committed(kafka_bootstrap, topic_prefix + "results", 3)
        await eventually(partial(shows, 0), "nothing waits")
    assert figure(metrics, "oofgg_outbox_seconds", service="owner") == 0


async def test_what_a_projection_has_not_read(
    effects: Database,
    kafka_bootstrap: str,
    topic_prefix: str,
) -> None:
    topic, metrics, gate = topic_prefix + "results", Metrics(), asyncio.Event()

    async def apply(_connection: Connection, new: Event) -> None:
        if new.key == "stuck" and not gate.is_set():
            raise ConnectionResetError  # PostgreSQL is away: everything waits

    async def shows(offsets: int) -> bool:
        return figure(metrics, "oofgg_projection_lag", topic=topic, partition="0") == offsets

    await publish(kafka_bootstrap, topic, [event("a"), event("stuck"), event("b")])
    figures = ProjectionFigures(metrics, topic)
    projection = Projection(
        effects, kafka_bootstrap, TopicSpec(topic, 1, 7), apply, holder="one", times=QUICK, figures=figures
    )
    task = asyncio.create_task(projection.run())
    await eventually(partial(shows, 3), "none is read: they are applied together")
    gate.set()
    await eventually(partial(shows, 0), "all are read")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    figures.tell({}, 0.0)
    assert await shows(0) is False
