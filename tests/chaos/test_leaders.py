"""Matches are made exactly once, whatever becomes of who leads their queue, of Redis, and of who makes sessions."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from oofgg.events.v1 import matchmaking_pb2 as events_pb
from oofgg.v1 import matchmaking_pb2 as pb
from oofgg.v1 import matchmaking_pb2_grpc
from pkg.testing.addresses import reserve_address
from tests.chaos.dying_leader import STEPS
from tests.integration.calls import eventually
from tests.integration.conftest import StartServices, start_services
from tests.integration.game.players import Arena
from tests.integration.matchmaking.lobby import Lobby, Waiter
from tests.kafka.programs import environment

__all__ = ["start_services"]
pytestmark = pytest.mark.timeout(120)

PAIRS = 3
WITHIN = 30.0
READY_SECONDS = 20.0
AWAKE_SECONDS = 3.0


class Node:
    """A process that serves matchmaking."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
        self.process = process
        self.address = address
        self.log = log

    async def ready(self) -> None:
        async with grpc.aio.insecure_channel(self.address) as channel:
            async with asyncio.timeout(READY_SECONDS):
                await channel.channel_ready()

    async def stopped(self) -> None:
        """Waits until it has ended or is paused."""
        deadline = time.monotonic() + WITHIN
        while self.process.poll() is None and self._state() != "T":
            assert time.monotonic() < deadline, f"it goes on:\n{self.log.read_text()[-3000:]}"
            await asyncio.sleep(0.05)

    def _state(self) -> str:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]


StartNode = Callable[..., Node]


@pytest.fixture
def start_node(tmp_path: Path, postgres_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[StartNode]:
    nodes: list[Node] = []

    def start(name: str, base: Any, step: str = "", how: signal.Signals = signal.SIGKILL) -> Node:
        address, log = reserve_address(), tmp_path / f"{name}.log"
        settings = base.settings
        variables = environment(name, postgres_url, redis_url, kafka_bootstrap) | {
            "OOFGG_GRPC_ADDRESS": address,
            **{f"OOFGG_{service}_ADDRESS": settings.grpc_address for service in ("AUTH", "CATALOG", "GAME", "SCORING")},
            "OOFGG_JWKS_URL": f"http://{settings.ops_address}/.well-known/jwks.json",
            "OOFGG_MATCHMAKING_LEASE_SECONDS": "1",
        }
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.dying_leader", how.name, step],
                env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        nodes.append(Node(process, address, log))
        return nodes[-1]

    yield start
    for node in nodes:
        if node.process.poll() is None:
            node.process.send_signal(signal.SIGCONT)
            node.process.kill()
        node.process.wait(10)


async def enter(lobby: Lobby, who: Waiter, address: str) -> str:
    """Enters through a node, which may end meanwhile."""
    async with grpc.aio.insecure_channel(address) as channel:
        calls: Any = matchmaking_pb2_grpc.MatchmakingServiceStub(channel)
        request = lobby.request(request_id=who.user_id)
        response = await calls.Enqueue(request, metadata=who.metadata, timeout=3)
        ticket_id: str = response.ticket.ticket_id
        return ticket_id


async def tickets_of(lobby: Lobby, players: list[Waiter]) -> list[pb.Ticket]:
    return [await lobby.read(who) for who in players]


async def formed(postgres_url: str) -> list[events_pb.MatchFormed]:
    """The events of matches that were made."""
    connection = await asyncpg.connect(postgres_url, timeout=10)
    try:
        rows = await connection.fetch(
            "select payload from matchmaking.outbox where type = $1", events_pb.MatchFormed.DESCRIPTOR.full_name
        )
        return [events_pb.MatchFormed.FromString(row["payload"]) for row in rows]
    finally:
        await connection.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "paused"])
@pytest.mark.parametrize("step", [*STEPS], ids=[step.replace(" ", "_").replace(",", "") for step in STEPS])
async def test_a_leader_that_ends_at_any_step(
    start_services: StartServices, start_node: StartNode, postgres_url: str, step: str, how: signal.Signals
) -> None:
    base = await start_services(["auth", "catalog", "game", "scoring"], migrate=True)
    arena = await Arena.build(base)
    first = start_node("first", base, step, how)
    await first.ready()
    async with grpc.aio.insecure_channel(first.address) as channel:
        lobby = Lobby(arena, base)
        lobby.calls = matchmaking_pb2_grpc.MatchmakingServiceStub(channel)
        await lobby.define()
    players = await lobby.players(*(f"player-{number}" for number in range(2 * PAIRS)))
    entering = [asyncio.create_task(enter(lobby, who, first.address)) for who in players]
    await first.stopped()
    await asyncio.gather(*entering, return_exceptions=True)

    second = start_node("second", base)
    await second.ready()
    async with grpc.aio.insecure_channel(second.address) as channel:
        lobby.calls = matchmaking_pb2_grpc.MatchmakingServiceStub(channel)
        for who in players:  # those whose call was lost come again; the others get the ticket that they have
            await enter(lobby, who, second.address)

        async def all_matched() -> bool:
            return all(ticket.state == pb.TICKET_STATE_MATCHED for ticket in await tickets_of(lobby, players))

        await eventually(all_matched, within=WITHIN)
        before = [ticket.match for ticket in await tickets_of_all(lobby, players)]
        if how is signal.SIGSTOP:
            first.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(AWAKE_SECONDS)
        after = [ticket.match for ticket in await tickets_of_all(lobby, players)]
    assert before == after, "who wakes up changes nothing"
    sessions = Counter(match.session_id for match in after)
    assert sorted(sessions.values()) == [2] * PAIRS

    async def each_told_once() -> bool:
        told = Counter(event.session_id for event in await formed(postgres_url))
        return told == Counter(sessions.keys())

    await eventually(each_told_once, within=10)
    for who, match in zip(players, after, strict=True):
        session = await arena.read(who.metadata, match.session_id)
        assert {seat.user_id for seat in session.seats} == {player.user_id for player in match.players}


async def tickets_of_all(lobby: Lobby, players: list[Waiter]) -> list[pb.Ticket]:
    return await tickets_of(lobby, players)
