"""Finding a match with the browser package: from Node, and in a real Chromium, through Envoy."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import subprocess
import tempfile
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

import oofgg
from tests.chaos.proxy import Proxy
from tests.e2e.matches import PASSWORD, register
from tests.web.browser import ROOT, Browser
from tests.web.conftest import TOKEN_SECONDS, Site, _Quiet
from tests.web.test_browser import MATCH_SECONDS

WEB = ROOT / "sdk" / "web"


@pytest.fixture(scope="session")
def bundle(built: None) -> Iterator[Path]:
    """The script for Node and for a page, with the page."""
    directory = Path(tempfile.mkdtemp(prefix="oofgg-tickets-"))
    for platform, name in (("node", "tickets.mjs"), ("browser", "page.js")):
        command: list[str | Path] = [
            WEB / "node_modules/.bin/esbuild", ROOT / "tests/web/tickets.js", "--bundle", f"--platform={platform}",
            "--format=esm", f"--alias:@oofgg/web={WEB / 'dist/index.js'}", f"--outfile={directory / name}",
            "--log-level=warning",
        ]  # fmt: skip
        subprocess.run(command, cwd=ROOT, timeout=60, check=True)
    (directory / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><body><script type="module" src="page.js"></script>'
    )
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def page_site(bundle: Path) -> Iterator[Site]:
    handler = functools.partial(_Quiet, directory=str(bundle))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Site(server.server_port)
        server.shutdown()
        thread.join(10)


@pytest.fixture
async def queued_game(envoy: str) -> str:
    """A game with queues."""
    name = f"studio-{os.urandom(4).hex()}"
    async with oofgg.Client(envoy) as studio:
        await studio.register(name, f"{name}@example.org", PASSWORD)
        await studio.become_developer()
        game = await studio.games.create("Tickets")
        for queue in (
            oofgg.Queue("ranked", acceptance_seconds=20),
            oofgg.Queue("duel"),
            oofgg.Queue("pairs", min_team_size=2),
        ):
            await studio.queues.create(queue, game_id=game.game_id)
        return game.game_id


async def account(envoy: str, game_id: str) -> str:
    async with oofgg.Client(envoy, game=game_id) as client:
        return await register(client, "ada")


@asynccontextmanager
async def opponent(envoy: str, game_id: str) -> AsyncIterator[oofgg.Client]:
    async with asyncio.timeout(MATCH_SECONDS), oofgg.Client(envoy, game=game_id) as client:
        await register(client, "bob")
        yield client


async def accept_and_answer(client: oofgg.Client) -> None:
    ticket = await client.enqueue("ranked")
    async for status in ticket:
        if status.state is oofgg.TicketState.PROPOSED:
            await ticket.accept()
    async with client.play(await ticket.matched()) as session:
        async for event in session:
            if isinstance(event, oofgg.Message):
                assert event.json() == {"teams": [1, 2]}
                await session.send({"well": "played"})
                return


@asynccontextmanager
async def node(bundle: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec("node", bundle / "tickets.mjs", *arguments, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: asyncio.subprocess.Process) -> list[str]:
    out, err = await process.communicate()
    assert not err, err.decode()
    return out.decode().splitlines()


async def test_a_match_is_found_accepted_and_played(bundle: Path, envoy: str, queued_game: str) -> None:
    name = await account(envoy, queued_game)
    async with (
        opponent(envoy, queued_game) as bob,
        node(bundle, f"http://{envoy}", queued_game, name, PASSWORD, "play") as process,
    ):
        await accept_and_answer(bob)
        lines = await said(process)
    assert lines[0] == "QUEUED"
    assert "PROPOSED" in lines
    assert lines[-3:] == ["MATCHED", '{"well":"played"}', "done"]


async def test_what_is_refused_and_cancelled(bundle: Path, envoy: str, queued_game: str) -> None:
    name = await account(envoy, queued_game)
    async with node(bundle, f"http://{envoy}", queued_game, name, PASSWORD, "refuse") as process:
        async with asyncio.timeout(MATCH_SECONDS):
            assert await said(process) == [
                "QUEUE_NOT_FOUND",
                "TypeError",
                "undefined",
                "TICKET_ACTIVE",
                "true",
                "UNSPECIFIED",
                "CANCELLED CANCELLED_BY_PLAYER",
                "TICKET_STATE",
                "CANCELLED",
                "undefined",
                "done",
            ]


async def test_a_member_leaves_a_partys_ticket_alone(bundle: Path, envoy: str, queued_game: str) -> None:
    name = await account(envoy, queued_game)
    async with opponent(envoy, queued_game) as leader, oofgg.Client(envoy, game=queued_game) as mate:
        await mate.login(name, PASSWORD)
        lobby = await leader.sessions.create(label="party", max_seats=2)
        for client in (leader, mate):
            await client.sessions.join(lobby)
        ticket = await leader.enqueue("pairs", party=lobby)
        async with node(bundle, f"http://{envoy}", queued_game, name, PASSWORD, "leave") as process:
            assert await said(process) == ["CANCELLED LEFT", "QUEUED", "done"]
        while len(ticket.status.players) == 2:
            await anext(ticket)
        assert ticket.state is oofgg.TicketState.QUEUED


async def test_a_ticket_survives_connections_and_tokens(bundle: Path, envoy: str, queued_game: str) -> None:
    name = await account(envoy, queued_game)
    async with (
        opponent(envoy, queued_game) as bob,
        Proxy(envoy) as proxy,
        node(bundle, f"http://{proxy.address}", queued_game, name, PASSWORD, "wait") as process,
    ):
        assert process.stdout is not None
        assert await process.stdout.readline() == b"QUEUED\n"
        for _ in range(3):
            proxy.cut()
            await asyncio.sleep((TOKEN_SECONDS + 2) / 3)
        match = await (await bob.enqueue("duel")).matched(30)
        assert await said(process) == [match.session_id, "done"]


async def test_in_a_real_browser(page_site: Site, browser: Browser, envoy: str, queued_game: str) -> None:
    name = await account(envoy, queued_game)
    page = await browser.page()
    async with opponent(envoy, queued_game) as bob:
        url = page_site.url(envoy, queued_game, username=name, password=PASSWORD, act="play")
        await page.do("goto", url)
        await page.shows("body", "QUEUED")
        await accept_and_answer(bob)
        await page.shows("body", "done")
    lines = (await page.text("body")).splitlines()
    assert lines[-3:] == ["MATCHED", '{"well":"played"}', "done"]
    assert not await page.calls("Join"), "a match has seats for its players"
    assert [call.rpc for call in await page.calls("WatchTicket")] == ["WatchTicket"]
