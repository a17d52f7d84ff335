"""`python -m services projections …`: what follows from results, beside the running platform. See
docs/operations/projections.md.

projections verify NAME…    compares what is served with what results say; exits 1 and names the first differences
projections rebuild NAME…   makes it what results say, while matches are taken in; readers see either all or nothing

Names are history (from the log of results), standings and ratings (from the history), or all. --game ID does it for one
game.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from pkg.config import Settings
from pkg.db.database import open_database
from pkg.errors import OofggError
from pkg.events.cluster import Cluster
from pkg.events.log import Log
from pkg.events.topics import MATCH_RESULTS, spec_of
from pkg.ids import is_id, new_id
from services.scoring.rebuilding.from_history import Folded, Rebuilding
from services.scoring.rebuilding.from_log import HistoryRebuilding
from services.scoring.rebuilding.history_fold import RATINGS, STANDINGS
from services.serve import load_settings

HISTORY = "history"
NAMES = (HISTORY, STANDINGS, RATINGS)
CONNECTIONS = 4
OUTBOX_CONNECTIONS = 1
STEP_SECONDS = 1.0


class Progress:
    """How far it has come: on a terminal a line that is written over, elsewhere a line now and then."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._step = STEP_SECONDS
        self._next = time.monotonic() + self._step

    def __call__(self, count: int) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        if sys.stderr.isatty():
            print(f"\r\x1b[K{self._name}: {count:,} matches", end="", file=sys.stderr, flush=True)
        else:
            print(f"{self._name}: {count:,} matches", file=sys.stderr, flush=True)
            self._step = min(60.0, self._step * 2)
        self._next = now + self._step

    def clear(self) -> None:
        """Takes the line away."""
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run(arguments: list[str]) -> int:
    """0 when all is as it should be, 1 when something differs or cannot be done, 2 for what cannot be meant."""
    parser = argparse.ArgumentParser(prog="python -m services projections", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("command", choices=["verify", "rebuild"])
    parser.add_argument("name", nargs="+", choices=[*NAMES, "all"])
    parser.add_argument("--game", metavar="ID", help="only this game")
    told = parser.parse_args(arguments)
    if told.game and not is_id(told.game):
        parser.error(f"--game: {told.game} is not the id of a game")
    settings = load_settings()
    if settings is None:
        return 2
    names = [name for name in NAMES if name in told.name or "all" in told.name]
    try:
        return asyncio.run(carry_out(settings, told.command, names, told.game))
    except (OSError, OofggError) as error:
        print(f"projections: {error}", file=sys.stderr)
        return 1


async def carry_out(settings: Settings, command: str, names: Sequence[str], game_id: str | None) -> int:
    """Prints what was found, and what became of it. The exit code. Raises Unavailable."""
    differing = 0
    async with (
        open_database(settings.postgres_url, "scoring", size=CONNECTIONS) as database,
        open_database(settings.postgres_url, "game", size=OUTBOX_CONNECTIONS) as outbox,
    ):
        if HISTORY in names:
            log = Log(Cluster.from_settings(settings), spec_of(MATCH_RESULTS), outbox)
            history = HistoryRebuilding(database, new_id)
            progress = Progress(HISTORY)
            act = history.rebuild if command == "rebuild" else history.verify
            folded = await act(log.events(), game_id, progress)
            progress.clear()
            differing += _report(command, HISTORY, folded)
        folds = [name for name in names if name != HISTORY]
        if folds:
            rebuilding = Rebuilding(database)
            for game in [game_id] if game_id else await rebuilding.games():
                title = f"{game} {' and '.join(folds)}"
                progress = Progress(title)
                act_on = rebuilding.rebuild if command == "rebuild" else rebuilding.verify
                folded = await act_on(game, folds, progress)
                progress.clear()
                differing += _report(command, title, folded)
    return 1 if differing and command == "verify" else 0


def _report(command: str, title: str, folded: Folded) -> int:
    found = folded.differences
    if not found.count:
        print(f"{title}: as {folded.matches:,} matches say", flush=True)
        return 0
    done = "" if command == "verify" else f", and is now as they say (new results waited {folded.held_seconds:.1f} s)"
    print(f"{title}: {found.count:,} differences from what {folded.matches:,} matches say{done}")
    for line in found.lines:
        print(f"  {line}")
    sys.stdout.flush()
    return found.count
