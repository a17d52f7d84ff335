"""From Finish to the leaderboard: how long a result takes to be seen."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from bench.cpu import snapshot, usage
from bench.figures import Figure, most
from bench.scenario import Context, Group, Run, Scenario
from bench.stage import Stage
from oofgg.v1 import leaderboard_pb2, leaderboard_pb2_grpc
from oofgg.v1 import session_pb2 as pb

_MATCHES, _MATCHES_QUICK = 100, 5
_POLL_SECONDS = 0.002
_CALL_SECONDS = 10.0
_VISIBLE_SECONDS = 30.0


async def finish(context: Context) -> Run:
    """Matches of two, one after another; from the call of Finish until the winner's new score is read."""
    stage = context.platform
    matches = _MATCHES_QUICK if context.quick else _MATCHES
    await stage.players(2)
    before = snapshot(stage.pids)
    seconds = []
    for number in range(matches):
        context.tell(f"match {number + 1} of {matches}")
        seats = await stage.seated(2)
        seconds.append(await _visible(stage, seats[0].session_id))
    used = usage(before, snapshot(stage.pids))
    seconds.sort()
    values = {
        "finish_visible_p50": seconds[len(seconds) // 2] * 1e3,
        "finish_visible_p99": seconds[int(len(seconds) * 0.99)] * 1e3,
    }
    return Run(values, used)


async def _visible(stage: Stage, session_id: str) -> float:
    boards: Any = leaderboard_pb2_grpc.LeaderboardServiceStub(stage.channel)
    winner = (await stage.players(2))[0]
    request = leaderboard_pb2.GetRankRequest(game_id=stage.game_id, user_id=winner.user_id)

    async def wins() -> int:
        try:
            answer = await boards.GetRank(request, metadata=winner.metadata, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return 0
            raise
        return int(answer.entry.wins)

    known = await wins()
    loop = asyncio.get_running_loop()
    began = loop.time()
    stated = pb.Result(seats=[pb.SeatResult(seat=seat, placement=seat) for seat in (1, 2)])
    finishing = pb.FinishRequest(session_id=session_id, result=stated)
    await stage.sessions.Finish(finishing, metadata=stage.server, timeout=_CALL_SECONDS)
    async with asyncio.timeout(_VISIBLE_SECONDS):
        while await wins() == known:
            await asyncio.sleep(_POLL_SECONDS)
    return loop.time() - began


GROUP = Group(
    "results",
    "From Finish to the leaderboard",
    (
        Scenario(
            "finish_visible",
            (
                Figure("finish_visible_p50", "Finish → visible on the leaderboard, p50", "ms"),
                Figure("finish_visible_p99", "Finish → visible on the leaderboard, p99", "ms", most(250)),
            ),
            finish,
        ),
    ),
)
