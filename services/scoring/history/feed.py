"""Matches as they are taken in, for those who watch: each once, in one order, from a position on.

The order is that of transactions, and within one of numbers. A match is told of once every transaction before its own
has ended: then none can come that would belong before it. So a position never has to go back.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pkg.db.database import Connection, Database
from pkg.errors import Unavailable
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken

_log = get_logger(__name__)

_CHANNEL: Final = "match_taken_in"
_CHECK_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0

Position = tuple[int, int]
"""(transaction, number) of a match."""

_NOTIFY: Final = "select pg_notify($1, $2)"
_AFTER: Final = """
    select match_id, transaction::text::bigint as transaction, number from match
    where game_id = $1 and (transaction, number) > ($2::text::xid8, $3)
      and transaction < pg_snapshot_xmin(pg_current_snapshot())
    order by transaction, number limit $4
"""
_NOW: Final = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


async def announce(connection: Connection, game_id: str) -> None:
    """Tells watchers of a game that a match was taken in, once the transaction commits."""
    await connection.execute(_NOTIFY, _CHANNEL, game_id)


class MatchFeed:
    """Wakes those who watch, and finds what comes after a position."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def watching(self, game_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when there may be something new of a game; now, to begin with."""
        event = asyncio.Event()
        event.set()
        self._watchers[game_id].add(event)
        try:
            yield event
        finally:
            self._watchers[game_id].discard(event)
            if not self._watchers[game_id]:
                del self._watchers[game_id]

    async def now(self) -> Position:
        """The position after which comes what is taken in from now on."""
        async with self._database.acquire() as connection:
            return (int(await connection.fetchval(_NOW)), 0)

    async def after(self, game_id: str, position: Position, limit: int) -> list[tuple[Position, str]]:
        """Ids of matches after a position, with their own, in order."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_AFTER, game_id, str(position[0]), position[1], limit)
        return [((row["transaction"], row["number"]), str(row["match_id"])) for row in rows]

    async def run(self, draining: asyncio.Event) -> None:
        """Listens until the process drains, or until cancelled. While nobody can be heard, all look now and then."""
        while not draining.is_set():
            try:
                async with self._database.hold() as connection:
                    await connection.add_listener(_CHANNEL, self._heard)
                    self._wake_all()
                    while not await woken(draining, within=_CHECK_SECONDS):
                        async with asyncio.timeout(_CHECK_SECONDS):
                            await connection.execute("select 1")
                        # A match is told of late when another transaction was open at its commit.
                        self._wake_all()
            except (Unavailable, TimeoutError) as error:
                _log.info("news of matches cannot be heard now", reason=repr(error))
                self._wake_all()
                await woken(draining, within=_RETRY_SECONDS)
        self._wake_all()

    def _heard(self, _connection: object, _pid: int, _channel: str, game_id: object) -> None:
        for event in self._watchers.get(str(game_id), ()):
            event.set()

    def _wake_all(self) -> None:
        for events in self._watchers.values():
            for event in events:
                event.set()
