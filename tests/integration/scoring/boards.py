"""Leaderboards over real PostgreSQL and Redis, without a wire, with a clock that a test turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import redis.asyncio as redis

from pkg.cache.client import open_redis
from pkg.db.database import Database, open_database
from pkg.ids import new_id
from services.scoring.leaderboards.archive import Archive
from services.scoring.leaderboards.builder import Builder
from services.scoring.leaderboards.changes import Changes
from services.scoring.leaderboards.directory import BoardDirectory
from services.scoring.leaderboards.entries import EntryStore, Spot
from services.scoring.leaderboards.ranks import Ranks
from services.scoring.leaderboards.reading import BoardReader
from services.scoring.leaderboards.rules import Leaderboard, Operator, Outcome, Ranked, Submission, Submitters
from services.scoring.leaderboards.store import LeaderboardStore, SeasonStore
from services.scoring.leaderboards.submitting import Job, Repeat, Submitting, Written
from services.scoring.leaderboards.verify import Verifier
from services.scoring.leaderboards.windows import Schedule, Window, WindowKind

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOARD = Leaderboard(
    "", "", "laps", "", False, Operator.BEST, Schedule(WindowKind.ALL_TIME), Submitters.PLAYERS, None, None, 0, 0, 1,
    START, START,
)  # fmt: skip
USERS = [new_id() for _ in range(6)]
# Nobody listens there.
NOWHERE = "redis://127.0.0.1:1/0"


class TurnedClock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


@dataclass(frozen=True, slots=True)
class Boards:
    """All the parts of one process, and a reader whose Redis is away."""

    clock: TurnedClock
    database: Database
    client: redis.Redis
    store: LeaderboardStore
    seasons: SeasonStore
    entries: EntryStore
    ranks: Ranks
    changes: Changes
    builder: Builder
    submitting: Submitting
    directory: BoardDirectory
    reader: BoardReader
    without_redis: BoardReader
    archive: Archive
    verifier: Verifier

    async def make(self, **fields: Any) -> Leaderboard:
        """A leaderboard of a game of its own."""
        fields.setdefault("game_id", new_id())
        board = replace(BOARD, leaderboard_id=new_id(), **fields)
        async with self.database.transaction() as connection:
            await self.store.insert(connection, board)
        return board

    def window(self, board: Leaderboard) -> Window:
        return self.directory.window(board)

    def spot(self, board: Leaderboard) -> Spot:
        return board.leaderboard_id, self.window(board).start

    def submission(
        self, board: Leaderboard, user_id: str, score: int, subscore: int = 0, metadata: str = ""
    ) -> Submission:
        return Submission(
            board, self.window(board), user_id, f"name of {user_id[-4:]}", score, subscore, metadata, self.clock.now()
        )

    async def send(self, *submissions: Submission, request_id: str = "", tell_ranks: bool = False) -> Written:
        repeat = Repeat("caller", "rpc", request_id, b"digest") if request_id else None
        return await self.submitting.submit(Job(submissions, repeat, _reply, tell_ranks=tell_ranks))

    async def submit(self, board: Leaderboard, user_id: str, score: int, subscore: int = 0, **more: str) -> Outcome:
        return (await self.send(self.submission(board, user_id, score, subscore, **more))).outcomes[0]

    async def everybody(self, reader: BoardReader, board: Leaderboard, size: int = 100) -> list[Ranked]:
        """All entries, page by page."""
        found: list[Ranked] = []
        after = b""
        while True:
            part = await reader.page(board, self.window(board), after, size)
            found += part.entries
            if not part.more:
                assert part.total == len(found)
                return found
            after = found[-1].entry.place

    async def differences(self, board: Leaderboard) -> list[str] | None:
        return await self.verifier.differences(self.spot(board), ascending=board.ascending)

    async def members(self, board: Leaderboard) -> Sequence[bytes]:
        """What Redis has, without the one that is always last."""
        leaderboard_id, start = self.spot(board)
        found: Any = await self.client.zrange(f"board:{{{leaderboard_id}:{int(start.timestamp())}}}:ranks", 0, -2)
        return list(found)


def seen(entries: Sequence[Ranked]) -> list[tuple[int, str, int, int, int, str]]:
    return [(one.rank, one.entry.user_id, one.entry.score, one.entry.subscore, one.entry.attempts, one.entry.metadata)
            for one in entries]  # fmt: skip


def _reply(outcomes: Sequence[Outcome]) -> bytes | None:
    return repr([outcome.entry and outcome.entry.score for outcome in outcomes]).encode()


@asynccontextmanager
async def open_boards(postgres_url: str, redis_url: str) -> AsyncIterator[Boards]:
    """One process's leaderboards; changes and archive are tended by the test."""
    clock = TurnedClock()
    async with (
        open_database(postgres_url, "scoring", size=6) as database,
        open_redis(redis_url) as client,
        open_redis(NOWHERE) as nobody,
        asyncio.TaskGroup() as tasks,
    ):
        store, seasons, entries = LeaderboardStore(database), SeasonStore(database), EntryStore(database)
        ranks, no_ranks = Ranks(client, clock), Ranks(nobody, clock)
        builder = Builder(database, ranks, clock, new_id, tasks.create_task)
        changes = Changes(database, entries, ranks)
        submitting = Submitting(database, entries, seasons, ranks, changes, clock)
        working = tasks.create_task(submitting.run())
        yield Boards(
            clock, database, client, store, seasons, entries, ranks, changes, builder, submitting,
            BoardDirectory(store, clock), BoardReader(entries, ranks, builder),
            BoardReader(entries, no_ranks, Builder(database, no_ranks, clock, new_id, tasks.create_task)),
            Archive(database, ranks, clock), Verifier(entries, ranks, patience=0.0),
        )  # fmt: skip
        working.cancel()


def soon(**delta: float) -> timedelta:
    return timedelta(**delta)
