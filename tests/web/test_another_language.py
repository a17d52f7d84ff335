"""A client in another language, on nothing but what is generated from the protos, against the Python SDK."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE

import oofgg
from sdk.examples.rock_paper_scissors import Hand, play
from tests.e2e.matches import PASSWORD, name_of, register
from tests.web.browser import ROOT
from tests.web.test_browser import MATCH_SECONDS, match_is_in_the_history

PLAYER = ROOT / "build" / "web" / "node-grpc" / "player.js"


async def test_a_node_client_plays_a_match_over_a_bidirectional_stream(built: None, envoy: str, game_id: str) -> None:
    async with oofgg.Client(envoy, game=game_id) as bob, asyncio.timeout(MATCH_SECONDS):
        await register(bob, "bob")
        session = await bob.sessions.create(min_seats=2, max_seats=2)
        async with bob.play(session) as playing:
            name = name_of("node")
            node = await asyncio.create_subprocess_exec(
                "node", PLAYER, envoy, game_id, session.session_id, name, f"{name}@example.org",
                env={**os.environ, "PASSWORD": PASSWORD}, stdout=PIPE, stderr=PIPE,
            )  # fmt: skip
            try:

                async def choose(number: int) -> Hand:
                    return Hand.ROCK if number == 1 else Hand.SCISSORS

                match = await play(playing, choose)
                assert {seat.username for seat in playing.seats.values()} >= {name}
                out, err = await node.communicate()
            finally:
                if node.returncode is None:
                    node.kill()
                    await node.wait()
    # It shows paper, scissors, rock; the other rock, scissors, scissors.
    assert (node.returncode, err) == (0, b"")
    assert [sorted(done.hands.items()) for done in match.rounds] == [
        [(1, Hand.ROCK), (2, Hand.PAPER)],
        [(1, Hand.SCISSORS), (2, Hand.SCISSORS)],
        [(1, Hand.SCISSORS), (2, Hand.ROCK)],
    ]
    lines = out.decode().splitlines()
    assert lines[:3] == ["seat 2", "waiting", "started"]
    assert lines[-3:] == ["won", "finished", "the stream has ended"]
    await match_is_in_the_history(envoy, game_id, session.session_id)
