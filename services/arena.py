"""`python -m services arena`: starts the embedded platform and plays a round of the arena on it, in this terminal.

The game is `sdk/examples/arena`, which knows only the SDK. What is played stays: the leaderboard grows with each round.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import oofgg
from pkg.embedded import EmbeddedError, Platform
from sdk.examples.arena.__main__ import add_options, is_terminal
from sdk.examples.arena.__main__ import run as play_round
from sdk.examples.arena.accounts import Accounts
from sdk.examples.arena.lobby import Settings
from services.demo import interrupt_on_signals
from services.up import DATA_DIR, Choices, ignore_signals, options

_PLACE = "the embedded platform"
_GAME = "Arena"


def run(arguments: list[str]) -> int:
    """Plays a round. 0 when it was played to the end or the player went, 1 when something failed, 130 on a signal."""
    parser = argparse.ArgumentParser(prog="python -m services arena", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR / "arena", help="where data is kept")
    add_options(parser)
    told = parser.parse_args(arguments)
    watch = told.watch or not is_terminal()
    reports = Reports()
    platform = Platform(options(Choices(data_dir=told.data_dir, report=reports.take)))
    interrupt_on_signals()
    try:
        print("Starting the platform: PostgreSQL, Valkey, Kafka broker, services, Envoy", flush=True)
        platform.start()
        accounts = Accounts(platform.data_dir / "arena.json")
        target = platform.endpoints.envoy
        game = asyncio.run(_game(target, accounts))
        print(f"A round of {told.seconds:g} s with {told.bots} bots", flush=True)
        settings = Settings(target, game, told.name, told.bots, told.seconds, place=_PLACE)
        with reports.hidden(not watch):
            code = asyncio.run(play_round(settings, accounts, watch=watch))
    except KeyboardInterrupt:
        ignore_signals()
        print("\nstopping", flush=True)
        return 130
    except (EmbeddedError, oofgg.OofggError, TimeoutError, OSError) as error:
        print(f"\nFAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(f"  logs: {platform.data_dir / 'logs'}", file=sys.stderr, flush=True)
        return 1
    finally:
        ignore_signals()
        platform.stop()
    return code


class Reports:
    """What the platform says: printed, but not over a picture."""

    def __init__(self) -> None:
        self._shown = True

    def take(self, line: str) -> None:
        """Takes a line."""
        if self._shown:
            print(f"  {line}", flush=True)

    @contextmanager
    def hidden(self, while_in: bool) -> Iterator[None]:
        """Says nothing meanwhile, if so."""
        self._shown = not while_in
        try:
            yield
        finally:
            self._shown = True


async def _game(target: str, accounts: Accounts) -> str:
    """Id of the game, which is made in the first round."""
    async with oofgg.Client(target) as studio:
        await accounts.enter(studio, "studio", place=_PLACE)
        account = await studio.account()
        if account.role is oofgg.Role.PLAYER:
            await studio.become_developer()
        async for game in studio.games.list():
            if game.name == _GAME:
                return game.game_id
        return (await studio.games.create(_GAME)).game_id
