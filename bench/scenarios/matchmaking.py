"""Tickets: many at once, and as many as come each second."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence
from typing import Any

import grpc

from bench.cpu import snapshot, usage
from bench.figures import Figure, most
from bench.generator import BenchError, Call, Job, running
from bench.platform import SERVER
from bench.scenario import Context, Group, Run, Scenario
from bench.scenarios.unary import CONNECTIONS
from bench.stage import Stage
from oofgg.v1 import matchmaking_pb2 as pb
from oofgg.v1 import matchmaking_pb2_grpc

_METHOD = "/oofgg.v1.MatchmakingService/WatchTicket"
_CALL_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_LONGEST_SECONDS = 100.0
_PACED_SECONDS = 10
_MODES = ("ctf", "duel", "koth", "race")
_DUEL = pb.Queue(name="duel")
_RANKED = pb.Queue(
    name="ranked",
    rules=[
        pb.QueueRule(equal=pb.EqualRule(attribute="mode")),
        pb.QueueRule(
            name="skill",
            distance=pb.DistanceRule(attribute="rating", limit=100),
            expansions=[pb.QueueExpansion(after_seconds=5, limit=300), pb.QueueExpansion(after_seconds=15, drop=True)],
        ),
        pb.QueueRule(region=pb.RegionRule(limit_ms=80)),
    ],
)
_FIVES = pb.Queue(
    name="fives",
    roles=[
        pb.QueueRole(name="tank", count=1),
        pb.QueueRole(name="healer", count=1),
        pb.QueueRole(name="damage", count=3),
    ],
    rules=[
        pb.QueueRule(
            name="skill",
            distance=pb.DistanceRule(attribute="rating", limit=400),
            expansions=[pb.QueueExpansion(after_seconds=2, limit=2000)],
        )
    ],
)


def duels_at_once(number: int, seconds: float) -> Scenario:
    """So many tickets of two-player matches at the same moment."""

    async def measure(context: Context) -> Run:
        count = number // 10 if context.quick else number
        return await _at_once(context, _DUEL, [_ticket(context, "duel") for _ in range(count)], f"tickets_{number}")

    return Scenario(
        f"tickets_{number}",
        (
            Figure(f"tickets_{number}_seconds", f"{number:,} duel tickets at once: all matched", "s", most(seconds)),
            Figure(f"tickets_{number}_cpu", f"… CPU a ticket, Envoy left out, {number:,} at once", "µs", most(1_000)),
        ),
        measure,
        runs=2,
    )


async def fives_at_once(context: Context) -> Run:
    """Two thousand players for 5v5 with roles, alone and in parties."""
    wanted = 200 if context.quick else 2_000
    tickets, players = [], 0
    while players < wanted:
        size = random.choice((1, 1, 1, 2, 3, 5)) if players + 5 <= wanted else 1
        tickets.append(_ticket(context, "fives", size=size, roles=True))
        players += size
    # Those whose roles nobody completes go on waiting.
    return await _at_once(context, _FIVES, tickets, "tickets_fives", share=0.9)


def paced(rate: int) -> Scenario:
    """Tickets that come evenly, with rules for mode, skill and region."""

    async def measure(context: Context) -> Run:
        stage = context.platform
        await _define(stage, _RANKED)
        seconds = 2 if context.quick else _PACED_SECONDS
        calls = [_ranked(context) for _ in range(rate * seconds)]
        job = Job(
            "watch", stage.endpoints.service, CONNECTIONS, method=_METHOD, calls=calls, hertz=float(rate),
            limit_seconds=_LONGEST_SECONDS,
        )  # fmt: skip
        before = snapshot(stage.pids)
        async with running(job) as generator:
            await context.rest(seconds)
            mark = await generator.mark()
        used = usage(before, snapshot(stage.pids))
        if not mark.done:
            raise BenchError(f"no ticket was matched: {mark.failure or 'and none failed'}")
        values = {
            f"tickets_paced_{rate}_p50": mark.latency["p50"] / 1e3,
            f"tickets_paced_{rate}_p99": mark.latency["p99"] / 1e3,
            f"tickets_paced_{rate}_cpu": used.core_seconds(*SERVER) / mark.done * 1e6,
        }
        return Run(values, used, "", mark.failed, mark.failure)

    return Scenario(
        f"tickets_paced_{rate}",
        (
            # One cycle of 200 ms and 100 ms.
            Figure(
                f"tickets_paced_{rate}_p50",
                f"{rate} tickets/s, mode + skill + region: p50 to the match",
                "ms",
                most(300),
            ),
            Figure(f"tickets_paced_{rate}_p99", f"… p99, {rate}/s", "ms"),
            Figure(f"tickets_paced_{rate}_cpu", f"… CPU a ticket, {rate}/s", "µs"),
        ),
        measure,
        runs=2,
    )


async def waiting(context: Context) -> Run:
    """What tickets cost that wait, since nobody fits: memory, and CPU in ten seconds."""
    stage = context.platform
    await _define(stage, pb.Queue(name="lonely", rules=[pb.QueueRule(equal=pb.EqualRule(attribute="only"))]))
    number = 500 if context.quick else 5_000
    calls = []
    for index in range(number):
        request = _request(stage, "lonely", 1)
        request.players[0].attributes.texts["only"] = str(index)
        calls.append(_call(stage, request))
    job = Job(
        "watch", stage.endpoints.service, CONNECTIONS, method=_METHOD, calls=calls, hertz=1_000.0,
        limit_seconds=_LONGEST_SECONDS,
    )  # fmt: skip
    rss = _resident(stage)
    async with running(job) as generator:
        await context.rest(number / 1_000 + 5)
        grown = _resident(stage) - rss
        before = snapshot(stage.pids)
        await context.rest(10)
        used = usage(before, snapshot(stage.pids))
        mark = await generator.mark()
    values = {
        "tickets_waiting_memory": grown / number / 1e3,
        "tickets_waiting_cpu": used.core_seconds(*SERVER) / used.seconds / number * 1e6,
    }
    return Run(values, used, "", mark.failed, mark.failure)


async def _at_once(context: Context, queue: pb.Queue, calls: Sequence[Call], name: str, *, share: float = 1.0) -> Run:
    stage = context.platform
    await _define(stage, queue)
    job = Job(
        "watch", stage.endpoints.service, CONNECTIONS, method=_METHOD, calls=calls, limit_seconds=_LONGEST_SECONDS
    )
    before = snapshot(stage.pids)
    began = asyncio.get_running_loop().time()
    done = failed = 0
    failure = ""
    async with running(job) as generator:
        while done + failed < share * len(calls):
            await asyncio.sleep(_LOOK_SECONDS)
            mark = await generator.mark()
            done, failed, failure = done + mark.done, failed + mark.failed, failure or mark.failure
            took = asyncio.get_running_loop().time() - began
            context.tell(f"{done:,} of {len(calls):,} matched")
            if took > _LONGEST_SECONDS:
                raise BenchError(f"{done} of {len(calls)} tickets were matched within {took:.0f} s; {failure}")
        used = usage(before, snapshot(stage.pids))
    return Run(
        {f"{name}_seconds": took, f"{name}_cpu": used.core_seconds(*SERVER) / done * 1e6}, used, "", failed, failure
    )


async def _define(stage: Stage, queue: pb.Queue) -> None:
    calls: Any = matchmaking_pb2_grpc.MatchmakingServiceStub(stage.channel)
    request = pb.CreateQueueRequest(game_id=stage.game_id, queue=queue)
    try:
        await calls.CreateQueue(request, metadata=stage.server, timeout=_CALL_SECONDS)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise


def _request(stage: Stage, queue: str, size: int) -> pb.EnqueueRequest:
    """A ticket of a game's server for players that play nowhere else."""
    request = pb.EnqueueRequest(game_id=stage.game_id, queues=[queue], request_id=str(uuid.uuid4()))
    for _ in range(size):
        request.players.add(user_id=str(uuid.uuid4()), username="bench")
    return request


def _call(stage: Stage, request: pb.EnqueueRequest) -> Call:
    token = dict(stage.server)["authorization"].removeprefix("Bearer ")
    return Call(pb.WatchTicketRequest(enqueue=request).SerializeToString(), token)


def _ticket(context: Context, queue: str, *, size: int = 1, roles: bool = False) -> Call:
    request = _request(context.platform, queue, size)
    if roles:
        rating = random.gauss(1_500, 300)
        wanted = random.sample(["tank", "healer", "damage", "damage", "damage"], size)
        for player, role in zip(request.players, wanted, strict=True):
            player.attributes.numbers["rating"] = rating
            player.attributes.roles.extend([role, "damage"] if role != "damage" else [])
    return _call(context.platform, request)


def _ranked(context: Context) -> Call:
    request = _request(context.platform, "ranked", 1)
    known = request.players[0].attributes
    known.texts["mode"] = random.choice(_MODES)
    known.numbers["rating"] = random.gauss(1_500, 300)
    home = random.choice(("eu", "us"))
    known.latencies_ms.update({"eu": 30.0, "us": 110.0} if home == "eu" else {"eu": 110.0, "us": 30.0})
    return _call(context.platform, request)


def _resident(stage: Stage) -> float:
    """Bytes of the service and of Valkey."""
    import psutil

    return float(sum(psutil.Process(stage.pids[name]).memory_info().rss for name in ("service", "valkey")))


GROUP = Group(
    "matchmaking",
    "Matchmaking",
    (
        duels_at_once(1_000, 1.5),
        duels_at_once(5_000, 5.0),
        duels_at_once(20_000, 20.0),
        Scenario(
            "tickets_fives",
            (
                Figure(
                    "tickets_fives_seconds",
                    "5v5 with roles and parties, 2,000 players at once: nine of ten matched",
                    "s",
                ),
                Figure("tickets_fives_cpu", "… CPU a ticket", "µs"),
            ),
            fives_at_once,
            runs=2,
        ),
        paced(100),
        paced(500),
        Scenario(
            "tickets_waiting",
            (
                Figure("tickets_waiting_memory", "A watched ticket that waits: memory of service and Valkey", "KB"),
                Figure("tickets_waiting_cpu", "… CPU a second", "µs"),
            ),
            waiting,
            runs=1,
        ),
    ),
)
