"""Games that block, against a platform that a test writes. They run in threads: the platform has the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

import oofgg
import oofgg.sync
from tests.integration.sdk.script import Platform, Script, StreamScript

_T = TypeVar("_T")
PATIENCE = 30.0
MINUTE = 60_000


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "oofgg"]


async def in_a_game(platform: Platform, game: Callable[[oofgg.sync.Client], _T], *scripts: Script) -> _T:
    """Lets a game with a client of its own run, in a thread of its own."""
    platform.sessions.scripts = list(scripts)

    def run() -> _T:
        with oofgg.sync.Client(platform.target, timeout=5.0) as client:
            client.login("ada", "secret")
            return game(client)

    return await asyncio.to_thread(run)


def frames() -> Iterator[None]:
    """The frames of a game, until a test has waited long enough."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        yield
        time.sleep(0.005)
    pytest.fail("it did not happen in time")


def poll_to_the_end(session: oofgg.sync.PlaySession) -> list[oofgg.Event]:
    events: list[oofgg.Event] = []
    for _ in frames():
        events += session.poll()
        if session.ended:
            break
    return events


async def quiet(stream: StreamScript) -> None:
    await stream.accept(heartbeat_ms=MINUTE)
    await stream.stay()
