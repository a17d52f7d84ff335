"""A node goes while its sessions are played: until every player plays again.

The players are on the SDK and do what games do: nothing. A player plays again when it gets an event that was sent, by
anybody of its session, after the node was killed; or, where the node ends in good order and goes on meanwhile, after
the session was seen at another node.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.clients import Clients, Job, Seat, playing
from bench.cpu import Snapshot, snapshot, usage
from bench.figures import Figure, most
from bench.nodes import Node
from bench.scenario import Context, Group, Run, Scenario
from bench.stage import WITH_PASSWORD
from oofgg.v1 import session_pb2 as pb

_SESSIONS, _SESSIONS_QUICK = 8, 2
_PLAYERS = 8
_HERTZ = 5.0
_POLL_SECONDS = 0.02
_MOVED_SECONDS = 60.0
_CALL_SECONDS = 10.0


async def kill(context: Context) -> Run:
    """kill -9 of one of three nodes, which runs all of the sessions."""
    async with _played(context) as (clients, sessions, node, pids):
        before = snapshot(pids)
        began = time.monotonic()
        await node.kill()
        moments = await clients.seen(dict.fromkeys(sessions, time.monotonic()))
        return _run("takeover", [moment - began for moment in moments], before, snapshot(pids))


async def drain(context: Context) -> Run:
    """SIGTERM to one of three nodes, which runs all of the sessions."""
    async with _played(context) as (clients, sessions, node, pids):
        before = snapshot(pids)
        began = time.monotonic()
        stopping = asyncio.create_task(node.stop())
        moved = await _moved(context, sessions, node)
        moments = await clients.seen(moved)
        found = _run("drain", [moment - began for moment in moments], before, snapshot(pids))
        await stopping
        return found


@asynccontextmanager
async def _played(context: Context) -> AsyncIterator[tuple[Clients, list[str], Node, Mapping[str, int]]]:
    """Sessions on the first of two further nodes, being played through Envoy."""
    stage = context.platform
    number = _SESSIONS_QUICK if context.quick else _SESSIONS
    async with (
        stage.nodes(2) as nodes,
        stage.several(number, _PLAYERS, node=nodes[0], first=WITH_PASSWORD) as taken,
    ):
        devices = {player.token: player.device_id for player in await stage.players(len(taken), first=WITH_PASSWORD)}
        seats = [Seat(seat.session_id, devices[seat.token]) for seat in taken]
        async with playing(Job(stage.endpoints.envoy, stage.game_id, _HERTZ, seats)) as clients:
            await context.rest(context.warm_up)
            sessions = list(dict.fromkeys(seat.session_id for seat in taken))
            yield clients, sessions, nodes[0], {**stage.pids, "node 2": nodes[1].pid, "clients": clients.pid}


async def _moved(context: Context, sessions: list[str], node: Node) -> dict[str, float]:
    """When each session was first seen at another node."""
    stage = context.platform
    moved: dict[str, float] = {}
    async with asyncio.timeout(_MOVED_SECONDS):
        while len(moved) < len(sessions):
            for session_id in sessions:
                if session_id not in moved:
                    request = pb.GetSessionRequest(session_id=session_id)
                    found = await stage.sessions.GetSession(request, metadata=stage.server, timeout=_CALL_SECONDS)
                    if found.placement.node not in ("", node.name):
                        moved[session_id] = time.monotonic()
            await asyncio.sleep(_POLL_SECONDS)
    return moved


def _run(name: str, seconds: list[float], before: Snapshot, after: Snapshot) -> Run:
    return Run({f"{name}_p50": statistics.median(seconds), f"{name}_max": max(seconds)}, usage(before, after))


GROUP = Group(
    "takeover",
    f"A node goes: {_SESSIONS} sessions of {_PLAYERS} players × {_HERTZ:g} Hz, SDK, 3 nodes, through Envoy",
    (
        Scenario(
            "takeover",
            (
                Figure("takeover_p50", "kill -9 of the owner → half of the players play again", "s"),
                Figure("takeover_max", "… everybody plays again", "s", most(5)),
            ),
            kill,
        ),
        Scenario(
            "drain",
            (
                Figure("drain_p50", "SIGTERM to the owner → half of the players play elsewhere", "s"),
                Figure("drain_max", "… everybody plays elsewhere", "s"),
            ),
            drain,
        ),
    ),
)
