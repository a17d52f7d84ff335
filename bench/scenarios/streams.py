"""What the process that runs sessions holds for them: streams that say nothing, and receivers that do not read.

On nodes of their own, which have held nothing before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.cpu import Usage, megabytes, snapshot, usage
from bench.figures import Figure, most
from bench.generator import Job, Seat, running
from bench.nodes import Node
from bench.scenario import Context, Group, Run, Scenario
from bench.scenarios.relay import CONNECTIONS
from oofgg.v1 import session_pb2 as pb

_SEATS = 32
_SESSIONS, _SESSIONS_QUICK = 32, 4
_DUELS, _DUELS_QUICK = 500, 50
# What waits stays below what a receiver may be behind (2 MiB), so that nobody is closed meanwhile.
_PAYLOAD = 16 * 1024
_HERTZ = 20.0
_WAIT_SECONDS = 5.0
_CLOSED_SECONDS = 1.0


async def idle(context: Context) -> Run:
    """Memory per stream of large sessions; what its session holds counts as the streams'."""
    sessions = _SESSIONS_QUICK if context.quick else _SESSIONS
    async with _warm_node(context) as (node, held), context.platform.several(sessions, _SEATS, node=node) as seats:
        streams, used = await _open(context, node, seats)
    return Run({"idle_stream": (streams - held) * 1e3 / len(seats)}, used)


async def duels(context: Context) -> Run:
    """Memory per session of two, without streams and with both."""
    number = _DUELS_QUICK if context.quick else _DUELS
    async with _warm_node(context) as (node, held), context.platform.several(number, 2, node=node) as seats:
        sessions = megabytes(node.pid)
        streams, used = await _open(context, node, seats)
    return Run({"idle_session": (sessions - held) * 1e3 / number, "idle_duel": (streams - held) * 1e3 / number}, used)


async def waiting(context: Context) -> Run:
    """Memory per receiver of a session in which nobody reads, all of it: streams, session, and what waits."""
    async with _warm_node(context) as (node, held), context.platform.session(_SEATS, node=node) as seats:
        before = snapshot({"node 1": node.pid})
        worst = Job(
            "hostile", node.address, CONNECTIONS, streams=seats[1:], delivery=pb.DELIVERY_CLASS_RELIABLE,
            behaviour="deaf", number=_SEATS - 1,
        )  # fmt: skip
        sending = Job(
            "play", node.address, CONNECTIONS, streams=seats[:1], delivery=pb.DELIVERY_CLASS_RELIABLE,
            payload=_PAYLOAD, hertz=_HERTZ,
        )  # fmt: skip
        async with running(worst) as hostile, running(sending) as sender:
            await sender.mark()
            await context.rest(min(context.seconds, _WAIT_SECONDS))
            sent, seen = await sender.mark(), await hostile.mark()
            used = usage(before, snapshot({"node 1": node.pid}))
            grown = (megabytes(node.pid) - held) * 1e6 / (_SEATS - 1)
    failed, failure = sent.failed, sent.failure
    if seen.open < _SEATS - 1:
        failed, failure = 1, f"receivers were thrown out: {seen.ended}"
    return Run({"waiting": grown / 1e3, "waiting_byte": grown / (sent.sent * _PAYLOAD)}, used, "", failed, failure)


@asynccontextmanager
async def _warm_node(context: Context) -> AsyncIterator[tuple[Node, float]]:
    """A node that has run a session, and its memory in MB: what the first one leaves behind counts for nobody."""
    stage = context.platform
    async with stage.nodes(1) as (node,):
        async with stage.session(_SEATS, node=node) as seats, running(_opening(node, seats)):
            pass
        await context.rest(_CLOSED_SECONDS)
        yield node, megabytes(node.pid)


def _opening(node: Node, seats: list[Seat]) -> Job:
    return Job("play", node.address, CONNECTIONS, streams=seats, delivery=pb.DELIVERY_CLASS_RELIABLE)


async def _open(context: Context, node: Node, seats: list[Seat]) -> tuple[float, Usage]:
    """Opens all streams; the node's memory in MB a while later."""
    pids = {"node 1": node.pid}
    before = snapshot(pids)
    async with running(_opening(node, seats)):
        await context.rest(context.seconds)
        return megabytes(node.pid), usage(before, snapshot(pids))


GROUP = Group(
    "streams",
    "Memory of live sessions",
    (
        Scenario("idle_stream", (Figure("idle_stream", "Memory per idle stream", "KB", most(50)),), idle, runs=1),
        Scenario(
            "idle_session",
            (
                Figure("idle_session", "Memory per idle session of two, without streams", "KB"),
                Figure("idle_duel", "… with both streams", "KB"),
            ),
            duels,
            runs=1,
        ),
        Scenario(
            "waiting",
            (
                Figure("waiting", "Memory per receiver where nobody reads 320 KB/s for 5 s", "KB"),
                Figure("waiting_byte", "… per byte that waits", "bytes"),
            ),
            waiting,
            runs=1,
        ),
    ),
)
