"""The examples of the documentation, run as they stand."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import oofgg
from oofgg.v1 import auth_pb2, auth_pb2_grpc
from pkg.embedded import Platform
from services.up import describe
from tests.e2e.callers import PASSWORD, Cast, make_cast
from tests.e2e.recipes import ROOT, pasted, section


def python_of(page: str) -> dict[str, Any]:
    """The names that the Python code of a page defines. Account names are made this run's own."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks, f"{page} has no example"
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(own_names("\n".join(blocks)), page, "exec"), names)
    return names


def own_names(code: str) -> str:
    suffix = os.urandom(3).hex()
    for name in ("ada", "bob", "studio"):
        code = code.replace(f'"{name}"', f'"{name}-{suffix}"').replace(f'"{name}@', f'"{name}-{suffix}@')
    return code


async def test_readme_plays_a_match(envoy: str, channel: grpc.aio.Channel) -> None:
    cast = await make_cast(channel)
    main = python_of("README.md")["main"]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        await main(envoy, cast.game_id)
    assert shown.getvalue() == "bob sees {'move': 'e4'}\n"
    api_key = await new_api_key(channel, cast)
    async with oofgg.Client(envoy, api_key=api_key, game=cast.game_id) as server, asyncio.timeout(20):
        news = await anext(server.history.watch(from_start=True))
    assert news.match.result_state is oofgg.ResultState.AGREED


async def test_identity_how_tos(envoy: str, channel: grpc.aio.Channel, capsys: pytest.CaptureFixture[str]) -> None:
    cast = await make_cast(channel)
    name = f"docs-{os.urandom(3).hex()}"
    account = await python_of("docs/how-to/accounts.md")["main"](envoy, cast.game_id, name, PASSWORD)
    assert (account.username, account.display_name) == (name, "Ada")
    assert "(this one)" in capsys.readouterr().out

    mail = f"{name}-guest@example.org"
    guest, full = await python_of("docs/how-to/guests.md")["main"](envoy, cast.game_id, mail, "not so common")
    assert guest == full
    assert "guest-" in capsys.readouterr().out

    parts = await python_of("docs/how-to/what-is-stored.md")["main"](envoy, cast.game_id, name, PASSWORD)
    assert parts == ["account", "games", "logins", "matches", "scores"]


async def test_api_keys_how_to(envoy: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"docs-{os.urandom(3).hex()}"
    async with oofgg.Client(envoy) as console:
        await console.register(name, f"{name}@example.org", PASSWORD)
        await console.become_developer()
        game = await console.games.create("Keys")
    assert await python_of("docs/how-to/api-keys.md")["main"](envoy, game.game_id, name, PASSWORD) == []
    assert capsys.readouterr().out.startswith("match server oofgg_")


async def test_session_how_to(envoy: str, channel: grpc.aio.Channel) -> None:
    cast = await make_cast(channel)
    names = python_of("docs/how-to/sessions.md")
    async with players(envoy, cast.game_id) as (ada, bob):
        assert await names["lobby"](ada, bob) == ["ranked", "good luck", "psst"]
        session = await ada.sessions.create()
        async with ada.play(session) as mine, bob.play(session) as theirs:
            await mine.send("well played")
            for stream in (mine, theirs):
                await stream.finish({1: 1, 2: 1})
        assert await names["replay"](bob, session.session_id) == ["1: well played"]


async def test_match_history_how_to(envoy: str, channel: grpc.aio.Channel, tmp_path: Path) -> None:
    cast = await make_cast(channel)
    names = python_of("docs/how-to/match-history.md")
    api_key = await new_api_key(channel, cast)
    async with (
        players(envoy, cast.game_id) as (ada, bob),
        oofgg.Client(envoy, api_key=api_key, game=cast.game_id) as server,
    ):
        match_id = await names["judge"](server, ada, bob)
        async with asyncio.timeout(20):
            news = await names["next_match"](server)
        assert news.match.match_id == match_id
        users = [(await client.account()).user_id for client in (ada, bob)]
        assert await names["duels_won"](ada, *users) == 1
        await names["save"](server, tmp_path / "matches.ndjson")
        assert (tmp_path / "matches.ndjson").read_text().count("\n") == 1
        assert await names["how_good"](ada, users[0]) == "3.4 after 1 matches (provisional)"


@contextlib.asynccontextmanager
async def players(envoy: str, game_id: str) -> AsyncIterator[tuple[oofgg.Client, oofgg.Client]]:
    async with oofgg.Client(envoy, game=game_id) as one, oofgg.Client(envoy, game=game_id) as two:
        for client in (one, two):
            name = f"docs-{os.urandom(4).hex()}"
            await client.register(name, f"{name}@example.org", PASSWORD)
        yield one, two


async def new_api_key(channel: grpc.aio.Channel, cast: Cast) -> str:
    request = auth_pb2.CreateApiKeyRequest(game_id=cast.game_id, name="server")
    made = await auth_pb2_grpc.AuthServiceStub(channel).CreateApiKey(request, metadata=cast.developer, timeout=10)
    return str(made.api_key)


def test_readme_example_has_twenty_lines_or_so() -> None:
    example = re.search(
        r"## Your game in twenty lines\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert example is not None
    assert len([line for line in example[1].splitlines() if line.strip()]) <= 20


def typed(directory: Path, line: str) -> list[str]:
    """What somebody sees who types this in the folder where the files of the quickstart are."""
    program, *arguments = shlex.split(line)
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_quickstart_can_be_run_twice_and_what_it_says_to_type_next_plays_a_match(envoy: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/quickstart.md").read_text(), re.DOTALL)
    for name, block in zip(("quickstart.py", "match.py"), blocks, strict=True):
        (tmp_path / name).write_text(own_names(block))
    first = typed(tmp_path, f"python quickstart.py {envoy}")
    again = typed(tmp_path, f"python quickstart.py {envoy}")
    assert first == again, "the second time it logs in, and finds the game"
    assert first[-1].startswith(f"  python match.py {envoy} ")
    for _ in range(2):
        seen = typed(tmp_path, again[-1])
        assert seen[-1] == "the result is agreed"
        assert len(seen) == 3


async def test_tls_how_to(platform: Platform, channel: grpc.aio.Channel) -> None:
    cast = await make_cast(channel)
    main = python_of("docs/how-to/tls.md")["main"]
    port = platform.endpoints.envoy_tls.rpartition(":")[2]
    account = await main(f"localhost:{port}", platform.data_dir / "tls/ca.crt", cast.game_id)
    assert account.username.startswith("ada-")


def test_json_recipes_are_as_they_say(envoy: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    seen = pasted(section("docs/how-to/explore-by-hand.md", "JSON with curl"), envoy)
    for told in ('"username":"grace-', '"is_valid":true', '"BAD_CREDENTIALS"', "\n401\n", '"INVALID_FIELD"', "\n400\n"):
        assert told in seen, told


def test_the_lines_that_up_prints_can_be_pasted(platform: Platform) -> None:
    lines = [line for line in describe(platform.endpoints).splitlines() if line.startswith(("  curl ", "  grpcurl "))]
    assert len(lines) == 3
    able = [line for line in lines if shutil.which(line.split()[0])]
    seen = pasted("\n".join(able), platform.endpoints.envoy)
    assert not able or "access" in seen


async def test_a_subscriber_reads_the_match(envoy: str, channel: grpc.aio.Channel, platform: Platform) -> None:
    cast = await make_cast(channel)
    with contextlib.redirect_stdout(io.StringIO()):
        await python_of("README.md")["main"](envoy, cast.game_id)
    page = python_of("docs/how-to/subscribe-to-matches.md")
    bootstrap = platform.endpoints.kafka_bootstrap
    match = await page["first_match"](bootstrap, cast.game_id)
    assert match.game_id == cast.game_id
    assert [participant.placement for participant in match.participants] == [1, 2]
    (winner,) = await page["recent_winners"](bootstrap, cast.game_id)
    assert winner == match.participants[0].username
    assert await page["count_matches"](bootstrap, cast.game_id, 1) == 1
    if shutil.which("kcat"):
        variables = {"BOOTSTRAP": bootstrap, "GAME": cast.game_id}
        told = pasted(section("docs/how-to/subscribe-to-matches.md", "With kcat"), envoy, variables)
        assert told.startswith(f"0 {match.match_id} ce_specversion=1.0")
