"""`python -m arena --target HOST:PORT --game ID`: play a round in the terminal, against bots or with others.

Without a terminal, or with --watch, a bot plays in your place and the result is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import random
import re
import sys

import oofgg

from .accounts import Accounts
from .bots import Brain
from .lobby import MOST_BOTS, Settings, lines, seated, tables
from .play import play
from .screen import ArenaApp
from .wire import OtherGame


def add_options(parser: argparse.ArgumentParser) -> None:
    """What a player can choose."""
    parser.add_argument("--name", default=_own_name(), help="your name (default: that of your login)")
    parser.add_argument("--bots", type=_bots, default=5, metavar="N", help=f"bots to play with, 0 to {MOST_BOTS}")
    parser.add_argument("--seconds", type=_seconds, default=60.0, help="how long the round lasts (default: 60)")
    parser.add_argument("--watch", action="store_true", help="let a bot play for you, without a screen")


def main(arguments: list[str]) -> int:
    """Plays a round; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m arena", description=__doc__)
    parser.add_argument("--target", default="localhost:8080", help="the platform's address (default: localhost:8080)")
    parser.add_argument("--game", required=True, help="id of the game on that platform")
    parser.add_argument("--session", default="", metavar="ID", help="join this round instead of opening one")
    add_options(parser)
    told = parser.parse_args(arguments)
    bots = 0 if told.session and "--bots" not in arguments else told.bots
    settings = Settings(told.target, told.game, told.name, bots, told.seconds, session=told.session)
    try:
        return asyncio.run(run(settings, Accounts(), watch=told.watch or not is_terminal()))
    except KeyboardInterrupt:
        return 130


async def run(settings: Settings, accounts: Accounts, *, watch: bool) -> int:
    """Plays a round and prints how it ended. 0 when it ended as it should, or the player went; 1 when it failed."""
    if watch:
        return await _watch(settings, accounts)
    app = ArenaApp(settings, accounts)
    await app.run_async()
    if app.failure is not None:
        print(f"the game ended: {app.failure}", file=sys.stderr)
        return 1
    if app.ending is None:
        print("You left before the end; the seat is given up.")
    else:
        print("\n".join(lines(app.ending, app.tables)), flush=True)
    return app.return_code or 0


def is_terminal() -> bool:
    """Whether there is somebody to play."""
    return sys.stdin.isatty() and sys.stdout.isatty()


async def _watch(settings: Settings, accounts: Accounts) -> int:
    ending, shown = None, None
    try:
        async with seated(settings, accounts, say=lambda line: print(f"  {line}", flush=True)) as seat:
            print(f"  bots play for {seat.game.round.plan.seconds:g} s", flush=True)
            ending = await play(seat.game, Brain(random.Random()))  # noqa: S311
            shown = await tables(seat.client, seat.game.session.session_id)
    except* (oofgg.OofggError, OtherGame) as group:
        print(f"the game ended: {group.exceptions[0]}", file=sys.stderr)
    if ending is None:
        return 1
    print("\n" + "\n".join(lines(ending, shown)), flush=True)
    return 0 if ending.state is oofgg.ResultState.AGREED else 1


def _own_name() -> str:
    try:
        name = re.sub(r"[^A-Za-z0-9]", "", getpass.getuser())
    except (OSError, KeyError):
        name = ""
    return name if len(name) > 2 and name not in {"root", "admin"} else "player"


def _bots(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MOST_BOTS:
        raise argparse.ArgumentTypeError(f"from 0 to {MOST_BOTS} bots")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 600:
        raise argparse.ArgumentTypeError("a round lasts from 1 to 600 seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
