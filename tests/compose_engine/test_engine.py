"""docker-compose.yaml on a real engine, in the order in which an operator comes to it. `make test-compose-engine`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest

import oofgg
from tests.compose.compose_file import ROOT
from tests.compose.test_platform import documented
from tests.compose_engine.conftest import Engine
from tests.e2e.matches import PASSWORD, name_of, play_match, register

pytestmark = pytest.mark.timeout(1800)

BOTS_SECONDS = 40


@pytest.fixture
async def game(engine: Engine) -> oofgg.Game:
    """A game of a developer whom the operator has made one."""
    async with oofgg.Client(engine.envoy) as studio:
        name = await register(studio, "studio")
        await asyncio.to_thread(
            engine.compose, "exec", "-T", "auth", "python", "-m", "services", "admin", "make-developer", name
        )
        await studio.login(name, PASSWORD)
        return await studio.games.create(name_of("Duel"))


async def test_a_match_is_played(engine: Engine, game: oofgg.Game) -> None:
    await play_match(engine.envoy, game.game_id)


def test_the_same_up_once_more_replaces_no_container(engine: Engine) -> None:
    before = engine.ids()
    engine.up("--build")
    assert engine.ids() == before


async def test_a_number_of_containers_in_dotenv_outlasts_a_later_up(engine: Engine, game: oofgg.Game) -> None:
    dotenv = engine.directory / ".env"
    dotenv.write_text(dotenv.read_text() + "OOFGG_GAME_CONTAINERS=3\n")
    for _ in range(2):
        await asyncio.to_thread(engine.up)
        assert len(engine.of("game")) == 3
    await play_match(engine.envoy, game.game_id)


def test_bots_see_every_promise_kept_while_a_container_is_killed(engine: Engine) -> None:
    words = ["--target", engine.envoy, "--players", "8", "--session-size", "4", "--seconds", str(BOTS_SECONDS)]
    # Nobody makes themselves a developer here: the bots are told whom the operator makes one.
    bots = subprocess.Popen(
        [sys.executable, "-m", "services", "bots", *words, "--game", asyncio.run(_game_of_bots(engine))],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ),
    )  # fmt: skip
    try:
        bots_said = ""
        time.sleep(BOTS_SECONDS / 2)  # in the middle of what they play
        subprocess.run(["docker", "kill", engine.of("game")[0]], check=True, capture_output=True, timeout=60)
        bots_said, _ = bots.communicate(timeout=BOTS_SECONDS * 5)
    finally:
        bots.kill()
    assert bots.returncode == 0, bots_said
    engine.up()


async def _game_of_bots(engine: Engine) -> str:
    async with oofgg.Client(engine.envoy) as studio:
        name = await register(studio, "bots")
        await asyncio.to_thread(
            engine.compose, "exec", "-T", "auth", "python", "-m", "services", "admin", "make-developer", name
        )
        await studio.login(name, PASSWORD)
        return (await studio.games.create(name_of("Bots"))).game_id


async def test_the_documented_way_back_to_a_backup(engine: Engine) -> None:
    late = ""
    async with oofgg.Client(engine.envoy) as client:
        early = await register(client, "early")
    for line in documented("Backup and restore"):
        await asyncio.to_thread(engine.shell, line)
        if "pg_dump" in line:
            async with oofgg.Client(engine.envoy) as client:
                late = await register(client, "late")
    async with oofgg.Client(engine.envoy) as client:
        await client.login(early, PASSWORD)
        with pytest.raises(oofgg.errors.Unauthenticated):
            await client.login(late, PASSWORD)


async def test_down_and_up_keep_the_data(engine: Engine) -> None:
    async with oofgg.Client(engine.envoy) as client:
        name = await register(client, "kept")
    await asyncio.to_thread(engine.compose, "down", "--timeout", "60")
    assert engine.ids() == {}
    await asyncio.to_thread(engine.up)
    async with oofgg.Client(engine.envoy) as client:
        await client.login(name, PASSWORD)
