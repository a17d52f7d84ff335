"""Identity: what a storm of logins costs others, and how long a login that was ended still works."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from bench.cpu import snapshot, usage
from bench.figures import Figure, most
from bench.generator import Call, Job, running
from bench.scenario import Context, Group, Run, Scenario
from bench.stage import PASSWORD, Player, Stage
from oofgg.v1 import auth_pb2, auth_pb2_grpc

_ACCOUNTS = 16
# As many as may wait for a hash; more would be refused.
_STORM = 48
_ENDED, _ENDED_QUICK = 100, 5
_POLL_SECONDS = 0.001
_CALL_SECONDS = 10.0
_WITHIN_SECONDS = 10.0


async def login_storm(context: Context) -> Run:
    """One caller reads its account again and again: first alone, then while as many log in as may."""
    stage = context.platform
    players = await stage.players(_ACCOUNTS)
    reading = Job(
        "unary",
        stage.endpoints.service,
        1,
        method="/oofgg.v1.AuthService/GetAccount",
        in_flight=1,
        calls=[Call(token=players[0].token)],
    )
    storm = Job(
        "unary",
        stage.endpoints.service,
        2,
        method="/oofgg.v1.AuthService/Login",
        in_flight=_STORM,
        calls=[
            Call(
                auth_pb2.LoginRequest(
                    username=player.name, password=PASSWORD, game_id=stage.game_id
                ).SerializeToString()
            )
            for player in players
        ],
    )
    alone, _ = await context.load(reading, stage.pids)
    async with running(storm) as logins:
        during, used = await context.load(reading, stage.pids)
        stormed = await logins.mark()
    values = {
        "storm_get_account_p99": during.latency["p99"] / 1e3,
        "idle_get_account_p99": alone.latency["p99"] / 1e3,
        "storm_slowdown_p99": during.latency["p99"] / alone.latency["p99"],
    }
    marks = (alone, during, stormed)
    failure = next((mark.failure for mark in marks if mark.failure), "")
    return Run(values, used, failed=sum(mark.failed for mark in marks), failure=failure)


async def revocation(context: Context) -> Run:
    """Players log out, one after another; until a call with the old access token is refused."""
    stage = context.platform
    count = _ENDED_QUICK if context.quick else _ENDED
    player = (await stage.players(1))[0]
    before = snapshot(stage.pids)
    seconds = []
    for number in range(count):
        context.tell(f"logout {number + 1} of {count}")
        seconds.append(await _refused_after_logout(stage, player))
    used = usage(before, snapshot(stage.pids))
    seconds.sort()
    values = {
        "revocation_p50": seconds[len(seconds) // 2] * 1e3,
        "revocation_p99": seconds[int(len(seconds) * 0.99)] * 1e3,
    }
    return Run(values, used)


async def _refused_after_logout(stage: Stage, player: Player) -> float:
    auth: Any = auth_pb2_grpc.AuthServiceStub(stage.channel)
    request = auth_pb2.LoginRequest(username=player.name, password=PASSWORD, game_id=stage.game_id)
    login = await auth.Login(request, timeout=_CALL_SECONDS)
    metadata = (("authorization", f"Bearer {login.access_token}"),)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await auth.Logout(auth_pb2.LogoutRequest(), metadata=metadata, timeout=_CALL_SECONDS)
    async with asyncio.timeout(_WITHIN_SECONDS):
        while True:
            try:
                await auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=metadata, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                    raise
                return loop.time() - began
            await asyncio.sleep(_POLL_SECONDS)


GROUP = Group(
    "identity",
    "Logins beside calls, and their end",
    (
        Scenario(
            "login_storm",
            (
                Figure("idle_get_account_p99", "GetAccount, one caller alone, p99", "ms"),
                Figure("storm_get_account_p99", "… during a storm of logins, p99", "ms"),
                Figure("storm_slowdown_p99", "… of that, times as long as alone", "times", most(3)),
            ),
            login_storm,
        ),
        Scenario(
            "revocation",
            (
                Figure("revocation_p50", "Logout → refused, p50", "ms"),
                Figure("revocation_p99", "Logout → refused, p99", "ms", most(1000)),
            ),
            revocation,
        ),
    ),
)
