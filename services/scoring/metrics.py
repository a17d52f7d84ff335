"""Metrics of `scoring`. Documented in docs/reference/metrics.md."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from pkg.db.database import Database
from pkg.errors import Unavailable

_EVERY_SECONDS: Final = 5.0
_WAITING: Final = """
    select count(*) as changes, coalesce(extract(epoch from now() - min(due_time)), 0)::float as seconds
    from leaderboard_change where not applied and due_time <= now()
"""


class ScoringMetrics:
    """How far what Redis knows of ranks is behind."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._changes = Gauge(
            "oofgg_leaderboard_changes", "Changes of ranks that Redis should know of by now.", registry=registry
        )
        self._seconds = Gauge(
            "oofgg_leaderboard_changes_seconds", "How long the first of them has waited.", registry=registry
        )

    async def watch(self, database: Database) -> None:
        """Keeps the figures fresh until cancelled. They stay as they were while PostgreSQL is away."""
        while True:
            with suppress(Unavailable):
                async with database.acquire() as connection:
                    (row,) = await connection.fetch(_WAITING)
                self._changes.set(row["changes"])
                self._seconds.set(row["seconds"])
            await asyncio.sleep(_EVERY_SECONDS)
