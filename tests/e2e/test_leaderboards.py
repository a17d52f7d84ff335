"""A developer's leaderboards through Envoy: with the SDK, as the how-to says, and with JSON."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from pkg.embedded import Platform
from tests.e2e.callers import PASSWORD, operate
from tests.e2e.recipes import pasted, section
from tests.e2e.test_docs import python_of

SOMEBODY = "01900000-0000-7000-8000-000000000001"
PAGE = "docs/how-to/leaderboards.md"


@pytest.fixture
async def game(envoy: str) -> tuple[str, str]:
    """A game and its API key."""
    name = f"boards-{os.urandom(3).hex()}"
    async with oofgg.Client(envoy) as console:
        await console.register(name, f"{name}@example.org", PASSWORD)
        await console.become_developer()
        made = await console.games.create("Boards")
        key = await console.games.create_api_key("server", game_id=made.game_id)
    return made.game_id, key.api_key


def seen_by_the_twin(envoy: str, game_id: str, name: str) -> str:
    """What a blocking client sees, which has a thread of its own; returns its token."""
    with oofgg.sync.Client(envoy, game=game_id) as twin:
        twin.login(name, PASSWORD)
        assert [board.name for board in twin.leaderboards.all()] == ["laps", "season"]
        assert twin.leaderboards.rank(leaderboard="laps").total == 1
        with pytest.raises(errors.InvalidArgument) as beyond:
            twin.leaderboards.submit("laps", 1)
        assert [violation.field for violation in beyond.value.violations] == ["score.score"]
        with pytest.raises(errors.PermissionDenied):
            twin.leaderboards.submit("season", 1)
        return str(dict(twin.metadata())["authorization"].removeprefix("Bearer "))


async def test_the_how_to(
    envoy: str, game: tuple[str, str], platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    game_id, key = game
    name = f"racer-{os.urandom(3).hex()}"
    async with oofgg.Client(envoy, game=game_id) as client:
        await client.register(name, f"{name}@example.org", PASSWORD)
    assert await python_of(PAGE)["main"](envoy, game_id, key, name, PASSWORD) == ["red", name]
    shown = capsys.readouterr().out
    assert "place 1 an improvement" in shown
    assert f"1 {name} 30" in shown

    # The blocking twin sees the same, and what is refused has a reason.
    token = await asyncio.to_thread(seen_by_the_twin, envoy, game_id, name)
    done = operate(platform, "verify", "--game", game_id, command="boards")
    assert done.returncode == 0, done.stdout + done.stderr
    if shutil.which("curl") is None:
        return
    seen = pasted(section(PAGE, "With JSON"), envoy, {"TOKEN": token, "GAME": game_id})
    for told in ('"changed":true', '"score":"61250"', '"rank":"1"', '"total":"1"', f'"username":"{name}"'):
        assert told in seen, told


async def test_a_developer_changes_and_deletes(envoy: str, game: tuple[str, str]) -> None:
    game_id, key = game
    async with oofgg.Client(envoy, api_key=key, game=game_id) as server:
        boards = server.leaderboards
        made = await boards.create("points", max_score=5, max_attempts=1)
        changed = await boards.update("points", lift_caps=True, description="all of them")
        assert (made.max_score, changed.max_score, changed.description, changed.version) == (5, None, "all of them", 2)
        told = await boards.submit_many([oofgg.Score("points", n, user_id=SOMEBODY) for n in (7, 8)])
        assert [(one.changed, one.refusal) for one in told] == [(True, None), (False, oofgg.Reason.ATTEMPTS_EXHAUSTED)]
        info = await boards.info("points")
        assert info.season is not None
        assert not info.season.ended
        await boards.delete("points")
        with pytest.raises(errors.NotFound) as gone:
            await boards.info("points")
        assert gone.value.reason is oofgg.Reason.LEADERBOARD_NOT_FOUND
