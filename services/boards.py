"""`python -m services boards …`: leaderboards for an operator, beside the running platform.

boards verify    compares the ranks in Redis with PostgreSQL; exits 1 and names the first differences if there are any
boards rebuild   makes the ranks again from PostgreSQL, from where they are read meanwhile

Both are for all leaderboards, those of a game (--game ID), or those of a name (--board NAME).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pkg.cache.client import open_redis
from pkg.clock import SystemClock
from pkg.config import Settings
from pkg.db.database import Database, open_database
from pkg.errors import OofggError
from pkg.ids import is_id, new_id
from services.scoring.leaderboards.builder import Builder
from services.scoring.leaderboards.entries import EntryStore, Spot
from services.scoring.leaderboards.ranks import Ranks
from services.scoring.leaderboards.rules import Leaderboard
from services.scoring.leaderboards.store import LeaderboardStore, Season, SeasonStore
from services.scoring.leaderboards.verify import Verifier
from services.serve import load_settings

CONNECTIONS = 2
SHOWN = 10
PAGE = 100
STEP_SECONDS = 0.5
# A writer that died is made up for within some seconds.
PATIENCE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class _Work:
    """A window to look at, by the name that is shown."""

    board: Leaderboard
    season: Season

    @property
    def spot(self) -> Spot:
        return self.board.leaderboard_id, self.season.window.start

    @property
    def name(self) -> str:
        window = self.season.window
        when = "all time" if window.end is None else f"{window.start:%Y-%m-%d %H:%M} UTC"
        return f"{self.board.game_id} {self.board.name} ({when})"


class _Progress:
    """A line that is written over, on a terminal; nothing elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = 0.0

    def __call__(self, count: int) -> None:
        now = time.monotonic()
        if sys.stderr.isatty() and now >= self._next:
            self._next = now + STEP_SECONDS
            print(f"\r\x1b[K{self._name}: {count:,}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the line away."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run(arguments: list[str]) -> int:
    """0 when all is well, 1 when something differs or cannot be done, 2 for wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m services boards", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("command", choices=["verify", "rebuild"])
    parser.add_argument("--game", metavar="ID", help="only leaderboards of this game")
    parser.add_argument("--board", metavar="NAME", help="only leaderboards of this name")
    parser.add_argument(
        "--patience",
        metavar="SECONDS",
        type=float,
        default=PATIENCE_SECONDS,
        help="how long a difference is looked at before it is believed (default: %(default)s)",
    )
    told = parser.parse_args(arguments)
    if told.game and not is_id(told.game):
        parser.error(f"--game: {told.game} is not the id of a game")
    settings = load_settings()
    if settings is None:
        return 2
    try:
        if told.command == "verify":
            return asyncio.run(verify(settings, told.game, told.board, told.patience))
        return asyncio.run(rebuild(settings, told.game, told.board))
    except (OSError, OofggError) as error:
        print(error, file=sys.stderr)
        return 1


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[tuple[Database, Ranks]]:
    async with (
        open_database(settings.postgres_url, "scoring", size=CONNECTIONS) as database,
        open_redis(settings.redis_url) as client,
    ):
        yield database, Ranks(client, SystemClock())


async def _work(database: Database, game_id: str | None, name: str | None) -> AsyncIterator[_Work]:
    seasons = SeasonStore(database)
    for board in await LeaderboardStore(database).all(game_id, name):
        before = None
        while page := await seasons.page(board.leaderboard_id, before, PAGE):
            for season in page:
                yield _Work(board, season)
            before = page[-1].window.start


async def verify(settings: Settings, game_id: str | None, name: str | None, patience: float) -> int:
    """Prints what differs. The exit code."""
    wrong = right = unbuilt = 0
    async with _opened(settings) as (database, ranks):
        verifier = Verifier(EntryStore(database), ranks, patience)
        async for work in _work(database, game_id, name):
            progress = _Progress(work.name)
            found = await verifier.differences(work.spot, ascending=work.board.ascending, told=progress)
            progress.clear()
            if found is None:
                unbuilt += 1
            elif found:
                wrong += 1
                print(f"{work.name}: {len(found):,} differ")
                for line in found[:SHOWN]:
                    print(f"  {line}")
            else:
                right += 1
    print(f"{right} equal, {wrong} different, {unbuilt} not in Redis (read from PostgreSQL)")
    return 1 if wrong else 0


async def rebuild(settings: Settings, game_id: str | None, name: str | None) -> int:
    """Prints what was built. The exit code."""
    failed = 0
    clock = SystemClock()
    async with _opened(settings) as (database, ranks):
        builder = Builder(database, ranks, clock, new_id, _in_the_foreground)
        async for work in _work(database, game_id, name):
            if work.season.window.over(clock.now()):
                continue  # built when somebody looks at it
            progress = _Progress(work.name)
            counted = _Count(progress)
            began = time.monotonic()
            built = await builder.build(work.spot, work.season.window, force=True, told=counted)
            progress.clear()
            seconds = time.monotonic() - began
            if built:
                print(f"{work.name}: {counted.count:,} entries in {seconds:.1f} s")
            else:
                failed += 1
                print(f"{work.name}: not built; is Redis away, or does somebody else build it?", file=sys.stderr)
    return 1 if failed else 0


class _Count:
    """Remembers the last count, and passes it on."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self.count = 0
        self._told = told

    def __call__(self, count: int) -> None:
        self.count = count
        self._told(count)


def _in_the_foreground(_: object) -> asyncio.Task[None]:
    raise AssertionError("a command builds while it waits")
