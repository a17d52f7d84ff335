"""The examples of sdk/README.md, run as they stand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import oofgg
from tests.integration.sdk.stage import PASSWORD, Stage, register

README = Path(__file__).parents[3] / "sdk" / "README.md"


@pytest.fixture
def examples() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        exec(compile(block, str(README), "exec"), names)
    return names


async def test_a_match(
    stage: Stage, examples: dict[str, Any], capsys: pytest.CaptureFixture[str], random_name: Callable[[str], str]
) -> None:
    name = random_name("eve")
    async with oofgg.Client(stage.target, game=stage.game.game_id) as client:
        await register(client, name)
    session = await stage.bob.sessions.create()

    async def bob() -> None:
        async with stage.bob.play(session) as playing:
            async for event in playing:
                if isinstance(event, oofgg.Message) and event.seat != playing.seat:
                    assert event.json() == {"move": "e4"}
                    await playing.send({"move": "e5"})
                if isinstance(event, oofgg.ResultChange) and event.state is oofgg.ResultState.PENDING:
                    await playing.finish(event.result)

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(bob())
        group.create_task(examples["main"](stage.target, stage.game.game_id, name, PASSWORD, session.session_id))
    said = capsys.readouterr().out
    assert "they play {'move': 'e5'}" in said
    assert f"{name} joined" in said
    assert said.rstrip().endswith("the session is finished"), said


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
