"""Definitions of leaderboards, and the windows in which somebody has played."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from pkg.db.database import Connection, Database
from pkg.errors import AlreadyExists, Reason, ResourceExhausted
from services.scoring.leaderboards.rules import MOST_BOARDS, Leaderboard, Operator, Submitters
from services.scoring.leaderboards.windows import Schedule, Window, WindowKind

_COLUMNS: Final = """
    leaderboard_id, game_id, name, description, ascending, operator, window_kind, time_zone, cron, submitters,
    min_score, max_score, max_attempts, kept_windows, version, create_time, update_time
"""
_INSERT: Final = (
    f"insert into leaderboard ({_COLUMNS}) "  # noqa: S608
    "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
)
_UPDATE: Final = """
    update leaderboard set description = $2, submitters = $3, min_score = $4, max_score = $5, max_attempts = $6,
        kept_windows = $7, version = $8, update_time = $9
    where leaderboard_id = $1
"""
_LIVE: Final = f"select {_COLUMNS} from leaderboard where game_id = $1 and delete_time is null"  # noqa: S608
# A window that was archived and is played in again, by a late result, has to be counted again. The usual one is not
# touched, for everybody would wait for its row.
_PLAYED: Final = """
    insert into leaderboard_window as w (leaderboard_id, window_start, window_end)
    select * from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[])
        as i (leaderboard_id, window_start, window_end)
    where not exists (select from leaderboard_window known where known.leaderboard_id = i.leaderboard_id
        and known.window_start = i.window_start and known.archive_time is null)
    on conflict (leaderboard_id, window_start) do update set archive_time = null where w.archive_time is not null
"""


@dataclass(frozen=True, slots=True)
class Season:
    """A window in which somebody has played."""

    window: Window
    archive_time: datetime | None = None
    entries: int = 0


class LeaderboardStore:
    """Definitions. Methods that take a connection run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, connection: Connection, board: Leaderboard) -> None:
        """Raises AlreadyExists(LEADERBOARD_NAME_TAKEN), ResourceExhausted(QUOTA_EXCEEDED)."""
        # One at a time per game, so that two cannot both be the last that fits.
        await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 4))", board.game_id)
        count = await connection.fetchval(
            "select count(*) from leaderboard where game_id = $1 and delete_time is null", board.game_id
        )
        if count >= MOST_BOARDS:
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED, f"A game has at most {MOST_BOARDS} leaderboards.", quota="leaderboards"
            )
        try:
            await connection.execute(
                _INSERT, board.leaderboard_id, board.game_id, board.name, board.description, board.ascending,
                board.operator, board.schedule.kind, board.schedule.time_zone, board.schedule.cron, board.submitters,
                board.min_score, board.max_score, board.max_attempts, board.kept_windows, board.version,
                board.create_time, board.update_time,
            )  # fmt: skip
        except asyncpg.UniqueViolationError as error:
            raise AlreadyExists(
                Reason.LEADERBOARD_NAME_TAKEN, f"This game has a leaderboard “{board.name}”.", leaderboard=board.name
            ) from error

    async def update(self, connection: Connection, board: Leaderboard) -> None:
        """Writes what an update can change."""
        await connection.execute(
            _UPDATE, board.leaderboard_id, board.description, board.submitters, board.min_score, board.max_score,
            board.max_attempts, board.kept_windows, board.version, board.update_time,
        )  # fmt: skip

    async def delete(self, connection: Connection, leaderboard_id: str, now: datetime) -> None:
        """Marks a leaderboard as deleted; its entries are swept later (`archive`)."""
        await connection.execute(
            "update leaderboard set delete_time = $2 where leaderboard_id = $1", leaderboard_id, now
        )

    async def by_name(self, game_id: str, name: str) -> Leaderboard | None:
        """The leaderboard, unless it was deleted."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(f"{_LIVE} and name = $2", game_id, name)
        return _board(row) if row else None

    async def lock(self, connection: Connection, game_id: str, name: str) -> Leaderboard | None:
        """The leaderboard, locked until the transaction ends, unless it was deleted."""
        row = await connection.fetchrow(f"{_LIVE} and name = $2 for update", game_id, name)
        return _board(row) if row else None

    async def fed_by_results(self, connection: Connection, game_id: str) -> list[Leaderboard]:
        """The leaderboards of a game that take the scores of results."""
        rows = await connection.fetch(f"{_LIVE} and submitters = 'results'", game_id)
        return [_board(row) for row in rows]

    async def page(self, game_id: str, after: str, limit: int) -> list[Leaderboard]:
        """Leaderboards by name, that come after this one."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(f"{_LIVE} and name > $2 order by name limit $3", game_id, after, limit)
        return [_board(row) for row in rows]

    async def all(self, game_id: str | None, name: str | None) -> list[Leaderboard]:
        """Every leaderboard, or those of a game, or of a name: for commands of an operator."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select {_COLUMNS} from leaderboard where delete_time is null "  # noqa: S608
                "and ($1::uuid is null or game_id = $1) and ($2::text is null or name = $2) order by game_id, name",
                game_id, name,
            )  # fmt: skip
        return [_board(row) for row in rows]


class SeasonStore:
    """Windows in which somebody has played."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def played(self, connection: Connection, windows: Iterable[tuple[str, Window]]) -> None:
        """Notes windows (leaderboard id, window), in the caller's transaction."""
        # In one order, so that two transactions cannot wait for each other.
        found = sorted(windows, key=lambda pair: (pair[0], pair[1].start))
        await connection.execute(
            _PLAYED,
            [leaderboard_id for leaderboard_id, _ in found],
            [window.start for _, window in found],
            [window.end for _, window in found],
        )

    async def page(self, leaderboard_id: str, before: datetime | None, limit: int) -> list[Season]:
        """Windows of a leaderboard, latest first, that began before this one."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                """
                select window_start, window_end, archive_time, entries from leaderboard_window
                where leaderboard_id = $1 and ($2::timestamptz is null or window_start < $2)
                order by window_start desc limit $3
                """,
                leaderboard_id, before, limit,
            )  # fmt: skip
        return [
            Season(Window(row["window_start"], row["window_end"]), row["archive_time"], row["entries"]) for row in rows
        ]


def _board(row: asyncpg.Record) -> Leaderboard:
    return Leaderboard(
        leaderboard_id=str(row["leaderboard_id"]),
        game_id=str(row["game_id"]),
        name=row["name"],
        description=row["description"],
        ascending=row["ascending"],
        operator=Operator(row["operator"]),
        schedule=Schedule(WindowKind(row["window_kind"]), row["time_zone"], row["cron"]),
        submitters=Submitters(row["submitters"]),
        min_score=row["min_score"],
        max_score=row["max_score"],
        max_attempts=row["max_attempts"],
        kept_windows=row["kept_windows"],
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
