"""A platform of several processes, made once for the tests that come through its Envoy."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.processes import READY_SECONDS, Stage, wait_ready

GAMES = ("game-a", "game-b", "game-c")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """`auth` and `catalog` in one process, `edge` and three times `game` in theirs, and Envoy, which knows them all."""
    started = Stage()
    try:
        started.base = started.serve("auth", "catalog", node="base", migrate="true")
        wait_ready(started.base)
        first = started.serve("game", node=GAMES[0], migrate="true")
        edge = started.serve("edge", node="edge")
        wait_ready(first)
        games = [first, *(started.serve("game", node=node) for node in GAMES[1:])]
        wait_ready(*games, edge)
        envoy = started.open_envoy()
        expected = {game.grpc_address for game in games}
        deadline = time.monotonic() + READY_SECONDS
        while started.healthy("game") != expected or not started.healthy("auth") or not started.healthy("catalog"):
            assert envoy.process.poll() is None, envoy.tail()
            assert time.monotonic() < deadline, f"{started.healthy('game')}\n{edge.tail()}\n{envoy.tail()}"
            time.sleep(0.05)
        yield started
    finally:
        started.close()
