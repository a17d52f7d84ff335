"""Unary calls: what one costs, in raw echoes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.cpu import Usage
from bench.echo import METHOD
from bench.figures import PER_U, Figure, most
from bench.generator import ROOT, BenchError, Call, Job, Mark
from bench.platform import SERVER
from bench.scenario import Context, Group, Run, Scenario
from oofgg.v1 import auth_pb2

# The same for the echo and for all that is compared with it. Envoy opens as many connections to a service.
IN_FLIGHT = 32
CONNECTIONS = 2
ECHO = "echo"

_CALLERS = 16
_START_SECONDS = 30.0
_END_SECONDS = 10.0


async def echo(context: Context) -> Run:
    """U: the CPU of a raw `grpc.aio` echo, in µs."""
    async with _echo_server() as (pid, port):
        job = Job(
            "unary",
            f"127.0.0.1:{port}",
            CONNECTIONS,
            method=METHOD,
            in_flight=IN_FLIGHT,
            calls=[Call(bytes(32))],
        )
        mark, used = await context.load(job, {"echo": pid})
    return Run({ECHO: used.core_seconds("echo") / mark.done * 1e6}, used, "echo", mark.failed, mark.failure)


async def get_account(context: Context) -> Run:
    """An authenticated read, at the service."""
    mark, used = await _calls(context, "GetAccount", through_envoy=False)
    return Run(
        {
            "get_account": used.core_seconds(*SERVER) / mark.done * 1e6,
            "get_account_service": used.core_seconds("service") / mark.done * 1e6,
        },
        used,
        "service",
        mark.failed,
        mark.failure,
    )


async def get_account_envoy(context: Context) -> Run:
    """The same through Envoy."""
    mark, used = await _calls(context, "GetAccount", through_envoy=True)
    values = {
        "get_account_envoy": used.core_seconds(*SERVER, "envoy") / mark.done * 1e6,
        "get_account_envoy_alone": used.core_seconds("envoy") / mark.done * 1e6,
    }
    return Run(values, used, "", mark.failed, mark.failure)


async def validate_token(context: Context) -> Run:
    """A game server asks whether a player's token is good."""
    mark, used = await _calls(context, "ValidateToken", through_envoy=False)
    value = used.core_seconds(*SERVER) / mark.done * 1e6
    return Run({"validate_token": value}, used, "service", mark.failed, mark.failure)


@asynccontextmanager
async def _echo_server() -> AsyncIterator[tuple[int, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.echo", cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("it was started with pipes")
        async with asyncio.timeout(_START_SECONDS):
            line = await process.stdout.readline()
        if not line:
            raise BenchError("the echo server does not start")
        yield process.pid, int(line)
        process.stdin.close()
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _calls(context: Context, rpc: str, *, through_envoy: bool) -> tuple[Mark, Usage]:
    stage = context.platform
    players = await stage.players(_CALLERS)
    if rpc == "GetAccount":
        calls = [Call(b"", player.token) for player in players]
    else:
        calls = [
            Call(auth_pb2.ValidateTokenRequest(access_token=player.token).SerializeToString()) for player in players
        ]
    target = stage.endpoints.envoy if through_envoy else stage.endpoints.service
    method = f"/oofgg.v1.AuthService/{rpc}"
    job = Job("unary", target, CONNECTIONS, method=method, in_flight=IN_FLIGHT, calls=calls)
    return await context.load(job, stage.pids)


_ECHO = Scenario(ECHO, (), echo)

GROUP = Group(
    "unary",
    "Calls",
    (
        _ECHO,
        Scenario(
            "get_account",
            (
                Figure("get_account", "Authenticated read (GetAccount), with its backends", PER_U, most(1.8)),
                Figure("get_account_service", "… the service alone", PER_U),
            ),
            get_account,
        ),
        Scenario(
            "get_account_envoy",
            (
                Figure("get_account_envoy", "… through Envoy, with Envoy's CPU", PER_U),
                Figure("get_account_envoy_alone", "… of that, Envoy", PER_U),
            ),
            get_account_envoy,
        ),
        Scenario(
            "validate_token",
            (Figure("validate_token", "ValidateToken, with its backends", PER_U, most(1.3)),),
            validate_token,
        ),
        # Once more, for a machine is not equally fast from one half minute to the next.
        _ECHO,
    ),
)
