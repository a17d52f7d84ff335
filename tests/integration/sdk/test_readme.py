"""The examples of sdk/README.md and of the how-to for game loops, run as they stand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import oofgg
import oofgg.sync
from tests.integration.sdk.stage import PASSWORD, Stage, register

ROOT = Path(__file__).parents[3]
README = ROOT / "sdk" / "README.md"
HOW_TO = ROOT / "docs" / "how-to" / "game-loops.md"


def run(page: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    return names


@pytest.fixture
def examples() -> dict[str, Any]:
    return run(README)


async def test_two_copies_of_the_first_example_agree_on_the_result(
    stage: Stage, examples: dict[str, Any], capsys: pytest.CaptureFixture[str], random_name: Callable[[str], str]
) -> None:
    names = [random_name("left"), random_name("right")]
    for name in names:
        async with oofgg.Client(stage.target, game=stage.game.game_id) as client:
            await register(client, name)
    session = await stage.bob.sessions.create(min_seats=2, max_seats=2)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(examples["main"](stage.target, stage.game.game_id, name, PASSWORD, session.session_id))
    ended = await stage.bob.sessions.get(session.session_id)
    assert ended.result_state is oofgg.ResultState.AGREED
    best = max(place.score for place in ended.result)
    assert [place.placement for place in ended.result] == [1 if place.score == best else 2 for place in ended.result]
    said = capsys.readouterr().out.splitlines()
    assert said.count("the result is agreed") == 2, said
    assert said.count("the session is finished") == 2, said
    assert f"{names[0]} joined" in said


async def test_a_developers_side(stage: Stage, examples: dict[str, Any], random_name: Callable[[str], str]) -> None:
    name = random_name("studio")
    async with oofgg.Client(stage.target) as client:
        await register(client, name)
    game, key = await examples["make_a_game"](stage.target, name, PASSWORD)
    assert (game.name, game.settings.max_seats) == ("Duel", 2)
    assert key.api_key.startswith("oofgg_")


async def test_a_judge(stage: Stage, examples: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    key = await stage.studio.games.create_api_key("server", game_id=stage.game.game_id)
    session = await stage.ada.sessions.create(min_seats=2)
    await stage.ada.sessions.join(session)
    await stage.bob.sessions.join(session)
    await examples["judge"](stage.target, key.api_key, session.session_id)
    assert "STATED" in capsys.readouterr().out.splitlines()


async def test_failing(stage: Stage, examples: dict[str, Any]) -> None:
    session = await stage.ada.sessions.create(min_seats=1, max_seats=1)
    assert (await examples["join"](stage.ada, session.session_id)).session_id == session.session_id
    assert await examples["join"](stage.bob, session.session_id) is None


async def test_a_game_loop(stage: Stage, examples: dict[str, Any], random_name: Callable[[str], str]) -> None:
    names = [random_name("left"), random_name("right")]
    for name in names:
        async with oofgg.Client(stage.target, game=stage.game.game_id) as client:
            await register(client, name)
    session = await stage.bob.sessions.create(min_seats=2, max_seats=2)

    def race(name: str) -> int:
        winner: int = examples["race"](stage.target, stage.game.game_id, name, PASSWORD, session.session_id)
        return winner

    async with asyncio.timeout(60):
        winners = await asyncio.gather(*(asyncio.to_thread(race, name) for name in names))
    assert winners in ([1, 1], [2, 2])
    assert (await stage.bob.sessions.get(session.session_id)).result_state is oofgg.ResultState.AGREED


async def test_a_game_by_turns(stage: Stage, random_name: Callable[[str], str]) -> None:
    count_to = run(HOW_TO)["count_to"]
    session = await stage.bob.sessions.create(min_seats=2, max_seats=2)

    def player(name: str) -> list[int]:
        with oofgg.sync.Client(stage.target, game=stage.game.game_id) as client:
            client.register(name, f"{name}@example.org", PASSWORD)
            with client.play(session.session_id) as playing:
                said: list[int] = count_to(7, playing)
                return said

    async with asyncio.timeout(60):
        said = await asyncio.gather(*(asyncio.to_thread(player, random_name(name)) for name in ("left", "right")))
    assert said == [[1, 2, 3, 4, 5, 6, 7]] * 2
