"""Matches that two players play through Envoy, seen to the end."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import oofgg
from sdk.examples.rock_paper_scissors import Hand, play

PASSWORD = "correct horse battery"
VISIBLE_SECONDS = 30.0


def name_of(first: str) -> str:
    return f"{first}-{os.urandom(3).hex()}"


async def until(check: Callable[[], Awaitable[bool]], what: str, seconds: float = VISIBLE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not await check():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:.0f} s"
        await asyncio.sleep(0.1)


async def register(client: oofgg.Client, first: str) -> str:
    name = name_of(first)
    await client.register(name, f"{name}@example.org", PASSWORD)
    return name


async def play_match(target: str, game_id: str, *, rounds_pause: float = 0.0) -> tuple[str, str]:
    """Two players play, and see the result where it belongs; returns the session's id and the node it ran on.

    One of them thinks for `rounds_pause` seconds before each of the two rounds.
    """
    async with oofgg.Client(target, game=game_id) as ada, oofgg.Client(target, game=game_id) as bob:
        winner = await register(ada, "ada")
        await register(bob, "bob")
        session = await ada.sessions.create(min_seats=2, max_seats=2)

        async def rock(_: int) -> Hand:
            await asyncio.sleep(rounds_pause)
            return Hand.ROCK

        async def scissors(_: int) -> Hand:
            return Hand.SCISSORS

        async with ada.play(session) as left, bob.play(session) as right, asyncio.timeout(30):
            won, seen = await asyncio.gather(play(left, rock), play(right, scissors))
        assert won.rounds == seen.rounds

        async def in_history() -> bool:
            try:
                return (await ada.history.get(session.session_id)).result_state is oofgg.ResultState.AGREED
            except oofgg.errors.NotFound:
                return False

        async def leads() -> bool:
            entries = [entry async for entry in ada.leaderboards.get(game_id=game_id)]
            return (winner, 1) in [(entry.username, entry.wins) for entry in entries]

        await until(in_history, "the match history")
        await until(leads, "the leaderboard")
    return session.session_id, session.node
