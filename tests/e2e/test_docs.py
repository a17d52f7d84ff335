"""The examples of the documentation, run as they stand."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

from pkg.embedded import Platform
from services.up import describe
from tests.e2e.callers import make_cast

ROOT = Path(__file__).parents[2]


def python_of(page: str) -> dict[str, Any]:
    """The names that the Python code of a page defines. Account names are made this run's own."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks, f"{page} has no example"
    suffix = os.urandom(3).hex()
    code = "\n".join(blocks)
    for name in ("ada", "bob", "studio"):
        code = code.replace(f'"{name}"', f'"{name}-{suffix}"').replace(f'"{name}@', f'"{name}-{suffix}@')
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, page, "exec"), names)
    return names


async def test_readme_plays_a_match(envoy: str, channel: grpc.aio.Channel) -> None:
    cast = await make_cast(channel)
    main = python_of("README.md")["main"]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        await main(envoy, cast.game_id)
    assert shown.getvalue() == "bob sees {'move': 'e4'}\n"


def test_readme_example_has_twenty_lines_or_so() -> None:
    example = re.search(
        r"## Your game in twenty lines\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert example is not None
    assert len([line for line in example[1].splitlines() if line.strip()]) <= 20


async def test_quickstart_makes_a_game(envoy: str) -> None:
    assert await python_of("docs/quickstart.md")["main"](envoy)


async def test_tls_how_to(platform: Platform, channel: grpc.aio.Channel) -> None:
    cast = await make_cast(channel)
    main = python_of("docs/how-to/tls.md")["main"]
    port = platform.endpoints.envoy_tls.rpartition(":")[2]
    account = await main(f"localhost:{port}", platform.data_dir / "tls/ca.crt", cast.game_id)
    assert account.username.startswith("ada-")


def pasted(script: str, envoy: str) -> str:
    """What somebody sees who pastes these lines. Account names are made this run's own."""
    suffix = os.urandom(3).hex()
    own = re.sub(r'"(grace|ada)(?=["@])', rf'"\1-{suffix}', script).replace("localhost:8080", envoy)
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", own], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_exploring_by_hand_is_as_it_says(envoy: str) -> None:
    tools = [tool for tool in ("curl", "grpcurl") if shutil.which(tool)]
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/how-to/explore-by-hand.md").read_text(), re.DOTALL)
    if "curl" not in tools:
        pytest.skip("there is no curl")
    if "grpcurl" in tools:
        seen = pasted("\n".join(blocks), envoy)
        for told in ("oofgg.v1.SessionService\n", "aGVsbG8=", "RESULT_STATE_AGREED", '"score": "7"'):
            assert told in seen
    else:
        seen = pasted("\n".join(block for block in blocks if "grpcurl" not in block and "rpc " not in block), envoy)
    assert '"username":"grace-' in seen


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
    subscribe = python_of("docs/how-to/subscribe-to-matches.md")["first_match"]
    match = await subscribe(platform.endpoints.kafka_bootstrap, cast.game_id)
    assert match.game_id == cast.game_id
    assert [participant.placement for participant in match.participants] == [1, 2]
