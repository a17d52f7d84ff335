"""How far behind the outbox and the projections are, and what they put aside, for the metrics of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from pkg.db.database import Database
from pkg.errors import Unavailable
from pkg.telemetry.metrics import Metrics

_EVERY_SECONDS: Final = 5.0
_WAITING: Final = """
    select count(*) as events, coalesce(extract(epoch from now() - min(occur_time)), 0)::float as seconds
    from outbox where number is null
"""


async def watch_outbox(database: Database, metrics: Metrics) -> None:
    """Keeps the figures of an outbox fresh until cancelled. They stay as they were while PostgreSQL is away."""
    while True:
        with suppress(Unavailable):
            async with database.acquire() as connection:
                (row,) = await connection.fetch(_WAITING)
            metrics.outbox_events.labels(database.schema).set(row["events"])
            metrics.outbox_seconds.labels(database.schema).set(row["seconds"])
        await asyncio.sleep(_EVERY_SECONDS)


async def watch_dead_letters(database: Database, metrics: Metrics) -> None:
    """Keeps the number of dead letters fresh until cancelled. It stays as it was while PostgreSQL is away."""
    while True:
        with suppress(Unavailable):
            async with database.acquire() as connection:
                count = await connection.fetchval("select count(*) from dead_letter")
            metrics.dead_letters_kept.labels(database.schema).set(count)
        await asyncio.sleep(_EVERY_SECONDS)


class ProjectionFigures:
    """The figures of one projection in this process."""

    def __init__(self, metrics: Metrics, topic: str) -> None:
        self._gauge = metrics.projection_lag
        self._put_aside = metrics.dead_letters.labels(topic)
        self._went_back = metrics.projection_went_back.labels(topic)
        self._seconds = metrics.projection_seconds.labels(topic)
        self._topic = topic
        self._told: set[int] = set()

    def put_aside(self, records: int) -> None:
        """Counts records that became dead letters."""
        self._put_aside.inc(records)

    def went_back(self) -> None:
        """Counts that reading went back to records that had been passed over."""
        self._went_back.inc()

    def tell(self, behind: Mapping[int, int], seconds: float) -> None:
        """Offsets between what was read and the end, by partition, and for how long it has not caught up."""
        self._seconds.set(seconds)
        for partition in self._told - behind.keys():
            self._gauge.remove(self._topic, str(partition))
        for partition, offsets in behind.items():
            self._gauge.labels(self._topic, str(partition)).set(max(0, offsets))
        self._told = set(behind)
