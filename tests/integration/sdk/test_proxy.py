"""With a proxy in the environment, everything of ours still reaches this machine directly."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from tests.integration.sdk.stage import PASSWORD, Stage

ROOT = Path(__file__).parents[3]
DEAD = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, DEAD)


@pytest.fixture
async def proxied(_behind_a_proxy: None, stage: Stage) -> Stage:
    """Services and clients that were all started with it."""
    return stage


async def test_services_and_both_clients_work_on_this_machine(
    proxied: Stage, random_name: Callable[[str], str]
) -> None:
    session = await proxied.ada.sessions.create()

    def blocking() -> int:
        with oofgg.sync.Client(proxied.target, game=proxied.game.game_id) as client:
            client.register(name := random_name("eve"), f"{name}@example.org", PASSWORD)
            with client.play(session) as playing:
                playing.started(10)
                return playing.seat

    async with asyncio.timeout(20), proxied.ada.play(session) as ada:
        seat = await asyncio.to_thread(blocking)
        await ada.started()
    assert seat == 2


@pytest.mark.parametrize("bypass", ["no_proxy", "NO_PROXY"])
async def test_elsewhere_the_error_names_the_variable_unless_either_spelling_of_no_proxy_takes_it_out(
    monkeypatch: pytest.MonkeyPatch, bypass: str
) -> None:
    for name in ("https_proxy", "grpc_proxy"):
        monkeypatch.delenv(name)

    async def told() -> str:
        # An address that is nobody's (RFC 5737).
        async with oofgg.Client("192.0.2.1:443", timeout=0.5) as client:
            with pytest.raises((errors.Unavailable, errors.DeadlineExceeded)) as caught:
                await client.login("ada", "secret")
        return str(caught.value)

    assert "environment variable http_proxy names" in await told()
    monkeypatch.setenv(bypass, "192.0.2.1")
    assert "proxy" not in await told()


SOURCES = [path for part in ("pkg", "services", "envoy", "bench", "sdk/src") for path in ROOT.glob(f"{part}/**/*.py")]


def test_every_channel_of_ours_says_what_it_does_about_proxies() -> None:
    found = []
    for path in SOURCES:
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in {"insecure_channel", "secure_channel"}:
                assert isinstance(node, ast.Call)
                assert any(keyword.arg == "options" for keyword in node.keywords), path
                assert "grpc.enable_http_proxy" in text, path
                found.append(path.name)
    assert set(found) == {"channel.py", "_channel.py", "stage.py"}
