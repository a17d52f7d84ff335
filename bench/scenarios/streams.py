"""Open streams that say nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack

from bench.cpu import megabytes, snapshot, usage
from bench.figures import Figure, most
from bench.generator import Job, running
from bench.scenario import Context, Group, Run, Scenario
from oofgg.v1 import session_pb2 as pb

_SEATS = 32
_SESSIONS, _SESSIONS_QUICK = 32, 4


async def idle(context: Context) -> Run:
    """Memory of the service per stream; what its session holds counts as the streams'."""
    stage = context.platform
    async with AsyncExitStack() as stack:
        sessions = _SESSIONS_QUICK if context.quick else _SESSIONS
        seats = [seat for _ in range(sessions) for seat in await stack.enter_async_context(stage.session(_SEATS))]
        before, began = megabytes(stage.pids["service"]), snapshot(stage.pids)
        job = Job("play", stage.endpoints.service, 2, streams=seats, delivery=pb.DELIVERY_CLASS_RELIABLE)
        async with running(job):
            await context.rest(context.seconds)
            used = usage(began, snapshot(stage.pids))
            grown = megabytes(stage.pids["service"]) - before
    return Run({"idle_stream": grown * 1e3 / len(seats)}, used)


GROUP = Group(
    "streams",
    (Scenario("idle_stream", (Figure("idle_stream", "Memory per idle stream", "KB", most(50)),), idle, runs=1),),
)
