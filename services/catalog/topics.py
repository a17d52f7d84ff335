"""Creates the Kafka topics of games, as soon as the broker lets it."""

from __future__ import annotations

import asyncio

from pkg.clock import Clock
from pkg.db.database import Database
from pkg.db.replies import forget_old_replies
from pkg.errors import OofggError
from pkg.events.cluster import Cluster
from pkg.events.topics import ensure_topics, spec_of
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken
from services.catalog.store import GameStore

_log = get_logger(__name__)
_BATCH = 50
_RETRY_SECONDS = 2.0
_TIDY_SECONDS = 600.0


class TopicKeeper:
    """Creates what the table of topics says is missing."""

    def __init__(self, games: GameStore, database: Database, cluster: Cluster, clock: Clock) -> None:
        self._games = games
        self._database = database
        self._cluster = cluster
        self._clock = clock
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Says that a topic may be missing."""
        self._wake.set()

    async def run(self) -> None:
        """Looks after topics until cancelled; tries again while the broker is away."""
        while True:
            wait = _TIDY_SECONDS
            try:
                while names := await self._games.missing_topics(_BATCH):
                    await ensure_topics(self._cluster, [spec_of(name) for name in names])
                    for name in names:
                        await self._games.topic_created(name, self._clock.now())
                await forget_old_replies(self._database)
            except OofggError as error:
                _log.warning("topics wait to be created", error=repr(error), cause=repr(error.__cause__))
                wait = _RETRY_SECONDS
            await woken(self._wake, within=wait)
            self._wake.clear()
