"""From names to a round: accounts, a session to play in, bots beside the player, and afterwards the tables."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import oofgg
from oofgg import errors

from . import wire
from .accounts import Accounts
from .bots import NAMES, Brain
from .play import Ending, Game, play

_T = TypeVar("_T")
MOST_BOTS: Final = len(NAMES)
MOST_SEATS: Final = 16
_LEAVE_SECONDS: Final = 2.0
_BOTS_SECONDS: Final = 5.0
_TABLES_SECONDS: Final = 10.0
_LOOK_AGAIN_SECONDS: Final = 0.2
_MOST_ENTRIES: Final = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for."""

    target: str
    game: str
    name: str
    bots: int = 5
    seconds: float = 60.0
    countdown: float = 3.0
    session: str = ""
    """Whose round to join; empty to open one."""
    place: str = ""
    """What the accounts are kept under; empty for the target."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A player's place in a round that is about to be played."""

    client: oofgg.Client
    game: Game


@dataclass(frozen=True, slots=True)
class Tables:
    """What the platform made of the round."""

    match: oofgg.Match | None
    """None if it is not in the history (yet)."""
    scores: Sequence[oofgg.LeaderboardEntry]
    """The leaderboard: points of all rounds."""


@asynccontextmanager
async def seated(
    settings: Settings, accounts: Accounts, say: Callable[[str], None] = lambda _line: None
) -> AsyncIterator[Seat]:
    """Takes a seat and fills others with bots. Whoever goes before the end gives the seats up."""
    async with asyncio.TaskGroup() as bots, oofgg.Client(settings.target, game=settings.game) as client:
        place = settings.place or settings.target
        say(f"logging in as {settings.name}")
        await accounts.enter(client, settings.name, place=place)
        if settings.session:
            session = await client.sessions.get(settings.session)
        else:
            session = await client.sessions.create(
                label="arena",
                attributes=wire.attributes(settings.seconds, settings.countdown),
                min_seats=max(2, 1 + settings.bots),
                max_seats=MOST_SEATS,
            )
        say(f"taking a seat in {session.session_id}")
        running = [
            bots.create_task(_bot(settings, accounts, place, number, session.session_id))
            for number in range(settings.bots)
        ]
        try:
            async with _seat(client, session) as game:
                yield Seat(client, game)
            if running and game.session.state.over:
                await asyncio.wait(running, timeout=_BOTS_SECONDS)
        finally:
            for task in running:
                task.cancel()


async def tables(client: oofgg.Client, session_id: str) -> Tables:
    """Reads the tables, once this match is in them. Gives up waiting for it after some seconds."""
    match: oofgg.Match | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(_TABLES_SECONDS):
            while match is None:
                try:
                    match = await client.history.get(session_id)
                except errors.NotFound:
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    scores = await _first(_MOST_ENTRIES, client.leaderboards.get("score"))
    return Tables(match, scores)


def lines(ending: Ending, shown: Tables | None) -> list[str]:
    """The result and the tables as plain text."""
    told = [f"The round is over; the result is {ending.state.lower()}.", ""]
    told += [
        f"  {place.placement:>2}. {ending.names.get(place.seat, '?'):<20} {place.score:>5} points"
        for place in sorted(ending.result, key=lambda place: (place.placement, place.seat))
    ]
    if shown and shown.scores:
        told += ["", "The leaderboard, over all rounds:", ""]
        told += [
            f"  {entry.rank:>2}. {entry.username:<20} {entry.score:>5} points  {entry.wins:>3} won"
            for entry in shown.scores
        ]
    if shown and shown.match:
        told += ["", f"In the match history: {shown.match.match_id}"]
    return told


async def _bot(settings: Settings, accounts: Accounts, place: str, number: int, session_id: str) -> None:
    skill = 0.3 + 0.5 * (number % 4) / 3
    async with oofgg.Client(settings.target, game=settings.game) as client:
        await accounts.enter(client, NAMES[number], place=place)
        async with _seat(client, session_id) as game:
            await play(game, Brain(random.Random(), skill))  # noqa: S311


@asynccontextmanager
async def _seat(client: oofgg.Client, session: str | oofgg.Session) -> AsyncIterator[Game]:
    async with client.play(session) as playing:
        try:
            yield Game(playing)
        finally:
            if not playing.state.over:
                with suppress(oofgg.OofggError, TimeoutError):
                    async with asyncio.timeout(_LEAVE_SECONDS):
                        await playing.leave()


async def _first(most: int, entries: AsyncIterator[_T]) -> list[_T]:
    found: list[_T] = []
    async for entry in entries:
        found.append(entry)
        if len(found) == most:
            break
    return found
