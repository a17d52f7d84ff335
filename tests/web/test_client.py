"""The browser package where a page would need too long: much data, in both directions."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE

import oofgg
from tests.e2e.matches import PASSWORD, register
from tests.web.browser import ROOT
from tests.web.test_browser import MATCH_SECONDS

# 0.8 MB in each direction, where 64 KiB may be unacknowledged; together less than what makes a consumer slow.
COUNT = 100
BYTES = 8_192


async def test_more_than_the_window_travels_both_ways_in_order(built: None, envoy: str, game_id: str) -> None:
    async with (
        asyncio.timeout(MATCH_SECONDS),
        oofgg.Client(envoy, game=game_id) as ada,
        oofgg.Client(envoy, game=game_id) as bob,
    ):
        name = await register(ada, "ada")
        await register(bob, "bob")
        session = await bob.sessions.create(min_seats=2, max_seats=2)
        node = await asyncio.create_subprocess_exec(
            "node", ROOT / "tests/web/flood.js", ROOT / "sdk/web/dist/index.js", f"http://{envoy}", game_id,
            name, PASSWORD, session.session_id, str(COUNT), str(BYTES), stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        received: list[bytes] = []
        latest: list[int] = []

        async def send(playing: oofgg.PlaySession) -> None:
            for number in range(COUNT):
                await playing.send(bytes([number % 251]) * BYTES)
                await playing.send({"number": number}, delivery=oofgg.Delivery.LATEST, key="progress")

        try:
            async with bob.play(session) as playing, asyncio.TaskGroup() as tasks:
                await playing.started()
                tasks.create_task(send(playing))
                async for event in playing:
                    if isinstance(event, oofgg.Message) and event.seat != playing.seat:
                        if event.key:
                            latest.append(event.json()["number"])
                        else:
                            assert event.kind == "page"
                            received.append(event.data)
                    elif isinstance(event, oofgg.Presence) and event.change is oofgg.PresenceChange.LEFT:
                        break
            out, err = await node.communicate()
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
    assert (node.returncode, out.decode(), err.decode()) == (0, f"received {COUNT}\n", "")
    assert received == [bytes([number % 251]) * BYTES for number in range(COUNT)]
    assert latest == sorted(latest)
    assert latest[-1] == COUNT - 1
