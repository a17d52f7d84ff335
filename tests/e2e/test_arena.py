"""A round of the arena through Envoy: one player at a screen, others without, all with the same result."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import oofgg
from sdk.examples.arena.accounts import Accounts
from sdk.examples.arena.bots import Brain
from sdk.examples.arena.lobby import Settings, lines, seated
from sdk.examples.arena.play import Ending, Game, play
from sdk.examples.arena.screen import ArenaApp
from sdk.examples.arena.wire import OtherGame
from tests.e2e.matches import PASSWORD

SECONDS = 4.0
LONGEST = 30.0


async def a_game(envoy: str) -> str:
    name = f"studio-{os.urandom(3).hex()}"
    async with oofgg.Client(envoy) as studio:
        await studio.register(name, f"{name}@example.org", PASSWORD)
        await studio.become_developer()
        return (await studio.games.create(f"Arena {name}")).game_id


def settings(envoy: str, game_id: str, name: str, session: str = "", bots: int = 0) -> Settings:
    unique = f"{name}-{os.urandom(2).hex()}"
    return Settings(envoy, game_id, unique, bots=bots, seconds=SECONDS, countdown=1.0, session=session)


async def join(envoy: str, game_id: str, accounts: Accounts, session_id: str, name: str) -> tuple[Game, Ending]:
    async with seated(settings(envoy, game_id, name, session_id), accounts) as seat:
        return seat.game, await play(seat.game, Brain(random.Random(name), 0.8))


async def test_everybody_comes_to_the_same_scores(envoy: str, tmp_path: Path) -> None:
    game_id, accounts = await a_game(envoy), Accounts(tmp_path / "accounts.json")
    app = ArenaApp(settings(envoy, game_id, "ada"), accounts)
    async with asyncio.timeout(LONGEST), app.run_test(size=(110, 34)) as pilot:
        while app.game is None:
            await pilot.pause(0.02)
        session_id = app.game.session.session_id
        others = [
            asyncio.create_task(join(envoy, game_id, accounts, session_id, name))
            for name in ("bob", "eve", "mallory", "trent")
        ]
        while app.ending is None:
            for key in ("right", "space", "down", "space", "space"):
                await pilot.press(key)
        while app.tables is None:
            await pilot.pause(0.02)
        played = await asyncio.gather(*others)
        assert app.game.ship.heading in (0, 2), "no key turned the ship"
        assert "THE ROUND" in app.export_screenshot(simplify=True).replace("&#160;", " ")
        await pilot.press("enter")

    games = [app.game, *(game for game, _ in played)]
    assert app.game._shots, "no key fired"
    scores = [{player.name: player.score for player in game.round.players.values()} for game in games]
    assert len(scores[0]) == 5
    assert all(score == scores[0] for score in scores)
    for ending in (app.ending, *(ending for _, ending in played)):
        assert ending.state is oofgg.ResultState.AGREED
        assert {ending.names[place.seat]: place.score for place in ending.result} == scores[0]
    # Positions came, from everybody to everybody.
    assert all(len(game._tracks) == 4 for game in games)

    assert app.tables.match is not None
    assert app.tables.match.match_id == session_id
    assert {who.username: who.score for who in app.tables.match.participants} == scores[0]
    assert {entry.username for entry in app.tables.scores} == set(scores[0])
    assert "agreed" in "\n".join(lines(app.ending, app.tables))


async def test_a_session_of_another_game_is_refused(envoy: str, tmp_path: Path) -> None:
    game_id, accounts = await a_game(envoy), Accounts(tmp_path / "accounts.json")
    async with oofgg.Client(envoy, game=game_id) as client:
        await accounts.enter(client, f"ada-{os.urandom(2).hex()}", place=envoy)
        session = await client.sessions.create(label="chess")
    app = ArenaApp(settings(envoy, game_id, "bob", session.session_id), accounts)
    async with asyncio.timeout(LONGEST), app.run_test() as pilot:
        while app.failure is None:
            await pilot.pause(0.02)
    assert isinstance(app.failure, OtherGame)


async def test_who_quits_gives_the_seats_up_and_leaves_nothing_behind(envoy: str, tmp_path: Path) -> None:
    game_id, accounts = await a_game(envoy), Accounts(tmp_path / "accounts.json")
    app = ArenaApp(settings(envoy, game_id, "ada", bots=2), accounts)
    tasks = asyncio.all_tasks()
    async with asyncio.timeout(LONGEST), app.run_test(size=(24, 8)) as pilot:  # too small a terminal to play in
        while app.game is None or app.game.round.start is None:
            await pilot.pause(0.02)
        assert "too small" in app.export_screenshot(simplify=True).replace("&#160;", " ")
        await pilot.resize_terminal(60, 20)
        await pilot.pause(0.3)
        await pilot.press("q")
    assert app.ending is None
    assert app.failure is None
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - tasks:  # what gRPC ends by itself
            await asyncio.sleep(0.02)
    async with oofgg.Client(envoy, game=game_id) as client:
        await accounts.enter(client, app._settings.name, place=envoy)
        assert (await client.sessions.get(app.game.session.session_id)).seats == {}
