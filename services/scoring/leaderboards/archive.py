"""What becomes of what is over: windows are counted, old ones pruned, deleted leaderboards swept, notes forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from pkg.clock import Clock
from pkg.db.database import Database
from pkg.db.replies import forget_old_replies
from pkg.errors import OofggError
from pkg.telemetry.logs import get_logger
from services.scoring.leaderboards.changes import KEPT_MINUTES
from services.scoring.leaderboards.ranks import Ranks

_log = get_logger(__name__)

# A window is archived so long after its end: results of matches that ended in it may still be on their way.
ARCHIVE_AFTER: Final = timedelta(hours=1)
# Processes know a leaderboard for a few seconds after it was deleted, and may write to it.
SWEEP_AFTER: Final = timedelta(minutes=1)

_EVERY_SECONDS: Final = 60.0
_LOCK: Final = 0x6F6F_6667_6C62
_WINDOWS: Final = 20
_ENTRIES: Final = 2_000

_OVER: Final = """
    select leaderboard_id, window_start from leaderboard_window
    where archive_time is null and window_end <= $1 order by window_end limit $2
"""
_COUNT: Final = """
    update leaderboard_window set archive_time = $3, entries = (
        select count(*) from leaderboard_entry where leaderboard_id = $1 and window_start = $2)
    where leaderboard_id = $1 and window_start = $2
"""
_TOO_MANY: Final = """
    select leaderboard_id, window_start from (
        select w.leaderboard_id, w.window_start, l.kept_windows,
            row_number() over (partition by w.leaderboard_id order by w.window_start desc) as number
        from leaderboard_window w join leaderboard l using (leaderboard_id)
        where l.kept_windows > 0 and w.archive_time is not null
    ) ended where number > kept_windows limit $1
"""
_DELETED: Final = """
    select w.leaderboard_id, w.window_start from leaderboard l join leaderboard_window w using (leaderboard_id)
    where l.delete_time <= $1 limit $2
"""
_CLEAR: Final = """
    delete from leaderboard_entry where (user_id, leaderboard_id, window_start) in (
        select user_id, leaderboard_id, window_start from leaderboard_entry
        where leaderboard_id = $1 and window_start = $2 limit $3)
"""
_FORGET: Final = """
    delete from leaderboard l where delete_time <= $1
        and not exists (select from leaderboard_window w where w.leaderboard_id = l.leaderboard_id)
"""
_TOLD: Final = "delete from leaderboard_change where applied and create_time < now() - make_interval(mins => $1)"


class Archive:
    """Runs in every process; one of them works at a time."""

    def __init__(self, database: Database, ranks: Ranks, clock: Clock) -> None:
        self._database = database
        self._ranks = ranks
        self._clock = clock

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            try:
                async with self._database.hold() as connection:
                    if await connection.fetchval("select pg_try_advisory_lock($1)", _LOCK):
                        await self.tend()
            except OofggError as error:
                _log.warning("the archive waits for PostgreSQL", cause=repr(error.__cause__))
            except asyncpg.PostgresError:
                _log.exception("the archive starts over")
            await asyncio.sleep(_EVERY_SECONDS)

    async def tend(self) -> None:
        """Does all that there is to do. Raises Unavailable when PostgreSQL is away."""
        now = self._clock.now()
        while windows := await self._fetch(_OVER, now - ARCHIVE_AFTER, _WINDOWS):
            for window in windows:
                await self._execute(_COUNT, *window, now)
        while windows := await self._fetch(_TOO_MANY, _WINDOWS):
            await self._clear(windows)
        while windows := await self._fetch(_DELETED, now - SWEEP_AFTER, _WINDOWS):
            await self._clear(windows)
        await self._execute(_FORGET, now - SWEEP_AFTER)
        await self._execute(_TOLD, KEPT_MINUTES)
        await forget_old_replies(self._database)

    async def _clear(self, windows: Sequence[tuple[str, datetime]]) -> None:
        for leaderboard_id, start in windows:
            # Before the entries, so that nobody reads ranks of what is going, and after, for who built them meanwhile.
            await self._ranks.drop((leaderboard_id, start))
            while await self._execute(_CLEAR, leaderboard_id, start, _ENTRIES) == f"DELETE {_ENTRIES}":
                pass
            await self._execute(
                "delete from leaderboard_window where leaderboard_id = $1 and window_start = $2", leaderboard_id, start
            )
            await self._ranks.drop((leaderboard_id, start))

    async def _fetch(self, statement: str, *values: Any) -> list[tuple[str, datetime]]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statement, *values)
        return [(str(row["leaderboard_id"]), row["window_start"]) for row in rows]

    async def _execute(self, statement: str, *values: Any) -> str:
        async with self._database.acquire() as connection:
            return await connection.execute(statement, *values)
