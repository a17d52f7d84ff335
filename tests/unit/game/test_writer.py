"""The writer of a stream, on the event loop that services run on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from oofgg.v1 import session_pb2 as pb
from pkg.auth.caller import Caller, CallerRole
from pkg.clock import SystemClock
from services.game.budget import BudgetLimits
from services.game.engine.delivery import Receiver
from services.game.engine.order import LATEST
from services.game.live import LiveSession
from services.game.streams import StreamLimits, Streams
from tests.unit.game.model import Said, keep, room

WINDOW_MS = 20
ROUNDS = 150


class SilentCall:
    """A call whose client only listens."""

    def __init__(self) -> None:
        self.caller = Caller("user1", "ada", CallerRole.PLAYER, "g1", "login")
        self.written: list[bytes] = []

    async def write(self, message: bytes) -> None:
        self.written.append(message)


def test_a_busy_writer_flushes_once_per_window_and_sleeps_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    due = Receiver.due

    def counted(receiver: Receiver, now: float) -> float | None:
        nonlocal asked
        asked += 1
        return due(receiver, now)

    monkeypatch.setattr(Receiver, "due", counted)

    async def play() -> tuple[int, float]:
        made = room(window_ms=WINDOW_MS)
        live = LiveSession(made, 1, touch=lambda live: cast("None", keep(live.room)))
        budget = BudgetLimits(1e6, 1e6, 1e9, 1e9)
        journal = cast("Any", SimpleNamespace(require_available=lambda: None))
        streams = Streams(
            journal,
            cast("Any", None),
            SystemClock(),
            budget=budget,
            session_budget=budget,
            heartbeat_seconds=10.0,
            unconfirmed_bytes=1,
            limits=StreamLimits(1, 1, 1),
        )
        call = SilentCall()
        async with streams.opening(cast("Any", call), live, unary_sender=True) as stream:
            writer = asyncio.create_task(stream.run(1, pb.StreamOpen(), (), reads=False))
            began = asyncio.get_running_loop().time()
            for number in range(1, ROUNDS + 1):
                made.command(2, [Said(number, LATEST, key="x")], 0.0)
                await asyncio.sleep(0.002)
            passed = asyncio.get_running_loop().time() - began
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return len(call.written), passed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        written, passed = runner.run(play())
    assert 3 <= written <= passed * 1000 / (WINDOW_MS - 2) + 3
    assert asked <= 4 * written, "the writer must not spin until its window is over"


@pytest.mark.parametrize(("silent", "found"), [(1.5, False), (1.99, True)], ids=["late", "within two heartbeats"])
def test_a_dead_peer_is_found_within_two_heartbeats(silent: float, found: bool) -> None:
    closed: list[object] = []
    beats: list[object] = []
    stream = SimpleNamespace(login_id="login", heard=0.0, said=0.0, close=closed.append, beat=beats.append)
    limits = BudgetLimits(1, 1, 1, 1)
    streams = Streams(
        cast("Any", None),
        cast("Any", SimpleNamespace(refusal=lambda _: None)),
        SystemClock(),
        budget=limits,
        session_budget=limits,
        heartbeat_seconds=10.0,
        unconfirmed_bytes=1,
        limits=StreamLimits(1, 1, 1),
    )
    # It is looked at every quarter of a second, so it is found at the first look after that much silence.
    streams._sweep(silent * 10.0 - 0.25, cast("Any", [stream]))
    assert bool(closed) == found
    assert bool(beats) != found, "who may still be there is asked"
