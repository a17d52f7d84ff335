"""The browser package where a page would need too long: much data in both directions, and a player who thinks."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import oofgg
from tests.e2e.matches import PASSWORD, register
from tests.web.browser import ROOT
from tests.web.test_browser import MATCH_SECONDS

# 0.8 MB in each direction, where 64 KiB may be unacknowledged; together less than what makes a consumer slow.
COUNT = 100
BYTES = 8_192


@dataclass
class Duel:
    """A player on the Python SDK, in a session with a player in Node."""

    playing: oofgg.PlaySession
    node: asyncio.subprocess.Process

    async def until_it_leaves(self) -> AsyncIterator[oofgg.Message]:
        """What the other sends, until it leaves."""
        async for event in self.playing:
            if isinstance(event, oofgg.Message) and event.seat != self.playing.seat:
                yield event
            elif isinstance(event, oofgg.Presence) and event.change is oofgg.PresenceChange.LEFT:
                return


@asynccontextmanager
async def duel(envoy: str, game_id: str, script: str, *arguments: str) -> AsyncIterator[Duel]:
    """Both, in a session that has started."""
    async with (
        asyncio.timeout(MATCH_SECONDS),
        oofgg.Client(envoy, game=game_id) as ada,
        oofgg.Client(envoy, game=game_id) as bob,
    ):
        name = await register(ada, "ada")
        await register(bob, "bob")
        session = await bob.sessions.create(min_seats=2, max_seats=2)
        node = await asyncio.create_subprocess_exec(
            "node", ROOT / "tests/web" / script, ROOT / "sdk/web/dist/index.js", f"http://{envoy}", game_id,
            name, PASSWORD, session.session_id, *arguments, stdout=PIPE, stderr=PIPE, env=os.environ,
        )  # fmt: skip
        try:
            async with bob.play(session) as playing:
                await playing.started()
                yield Duel(playing, node)
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()


async def ended(node: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    out, err = await node.communicate()
    return node.returncode, out.decode(), err.decode()


async def test_more_than_the_window_travels_both_ways_in_order(built: None, envoy: str, game_id: str) -> None:
    async with duel(envoy, game_id, "flood.js", str(COUNT), str(BYTES)) as match:
        received: list[bytes] = []
        latest: list[int] = []

        async def send() -> None:
            for number in range(COUNT):
                await match.playing.send(bytes([number % 251]) * BYTES)
                await match.playing.send({"number": number}, delivery=oofgg.Delivery.LATEST, key="progress")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            async for message in match.until_it_leaves():
                if message.key:
                    latest.append(message.json()["number"])
                else:
                    assert message.kind == "page"
                    received.append(message.data)
        assert await ended(match.node) == (0, f"received {COUNT}\n", "")
    assert received == [bytes([number % 251]) * BYTES for number in range(COUNT)]
    assert latest == sorted(latest)
    assert latest[-1] == COUNT - 1


async def test_a_player_who_takes_no_events_for_a_while_stays_connected(built: None, envoy: str, game_id: str) -> None:
    async with duel(envoy, game_id, "think.js") as match:
        await match.playing.send("your move")
        assert [message async for message in match.until_it_leaves()] == []
        assert await ended(match.node) == (0, "your move, 1 stream\n", "")
