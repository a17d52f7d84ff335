"""From Finish on: how long a result takes to be seen on the leaderboard and on its topic, and how many there can be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from aiokafka import AIOKafkaConsumer

from bench.cpu import snapshot, usage
from bench.figures import Figure, most
from bench.platform import SERVER
from bench.scenario import Context, Group, Run, Scenario
from bench.stage import Stage
from oofgg.v1 import leaderboard_pb2, leaderboard_pb2_grpc
from oofgg.v1 import session_pb2 as pb
from pkg.events import clients

_MATCHES, _MATCHES_QUICK = 100, 5
_MANY, _MANY_QUICK = 400, 20
_AT_ONCE = 16
# So that few matches have a player in common, and nobody is in more sessions than a player may.
_PAIRS = 40
_POLL_SECONDS = 0.002
_CALL_SECONDS = 10.0
_VISIBLE_SECONDS = 30.0
_ALL_SECONDS = 120.0


async def finish(context: Context) -> Run:
    """Matches of two, one after another; from the call of Finish until the winner's new score is read, and until the
    match is read from the topic of its game."""
    stage = context.platform
    matches = _MATCHES_QUICK if context.quick else _MATCHES
    await stage.players(2)
    before = snapshot(stage.pids)
    visible, told = [], []
    async with _topic(stage) as consumer:
        for number in range(matches):
            context.tell(f"match {number + 1} of {matches}")
            seats = await stage.seated(2)
            seen, on_topic = await _seen(stage, consumer, seats[0].session_id)
            visible.append(seen)
            told.append(on_topic)
    used = usage(before, snapshot(stage.pids))
    return Run({**_percentiles("finish_visible", visible), **_percentiles("finish_topic", told)}, used)


async def sustained(context: Context) -> Run:
    """Matches of two that are all there, finished as fast as the platform takes it; until all are on their topic."""
    stage = context.platform
    matches = _MANY_QUICK if context.quick else _MANY
    context.tell(f"{matches} matches are made")
    sessions = await stage.duels(matches, _PAIRS)
    async with _topic(stage) as consumer:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def end(session_id: str) -> None:
            async with slots:
                await _finish(stage, session_id)

        before = snapshot(stage.pids)
        loop = asyncio.get_running_loop()
        began = loop.time()
        finishing = asyncio.gather(*map(end, sessions))
        async with asyncio.timeout(_ALL_SECONDS):
            missing = set(sessions)
            while missing:
                missing.discard(bytes((await consumer.getone()).key or b"").decode())
            await finishing
        seconds = loop.time() - began
        used = usage(before, snapshot(stage.pids))
    return Run({"results": matches / seconds, "result_cpu": used.core_seconds(*SERVER) / matches * 1e3}, used)


async def _seen(stage: Stage, consumer: AIOKafkaConsumer, session_id: str) -> tuple[float, float]:
    boards: Any = leaderboard_pb2_grpc.LeaderboardServiceStub(stage.channel)
    winner = (await stage.players(2))[0]
    request = leaderboard_pb2.GetRankRequest(game_id=stage.game_id, user_id=winner.user_id)
    loop = asyncio.get_running_loop()

    async def wins() -> int:
        try:
            answer = await boards.GetRank(request, metadata=winner.metadata, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return 0
            raise
        return int(answer.entry.wins)

    async def visible(known: int) -> float:
        while await wins() == known:
            await asyncio.sleep(_POLL_SECONDS)
        return loop.time()

    async def on_topic() -> float:
        while (await consumer.getone()).key != session_id.encode():
            pass
        return loop.time()

    known = await wins()
    reading = pb.GetSessionRequest(session_id=session_id)
    session = (await stage.sessions.GetSession(reading, metadata=stage.server, timeout=_CALL_SECONDS)).session
    seat = next(seat.seat for seat in session.seats if seat.user_id == winner.user_id)
    began = loop.time()
    await _finish(stage, session_id, winner=seat)
    async with asyncio.timeout(_VISIBLE_SECONDS):
        seen, told = await asyncio.gather(visible(known), on_topic())
    return seen - began, told - began


async def _finish(stage: Stage, session_id: str, *, winner: int = 1) -> None:
    stated = pb.Result(seats=[pb.SeatResult(seat=seat, placement=1 if seat == winner else 2) for seat in (1, 2)])
    finishing = pb.FinishRequest(session_id=session_id, result=stated)
    await stage.sessions.Finish(finishing, metadata=stage.server, timeout=_CALL_SECONDS)


@asynccontextmanager
async def _topic(stage: Stage) -> AsyncIterator[AIOKafkaConsumer]:
    """A subscriber to the matches of the game, from now on."""
    consumer = AIOKafkaConsumer(
        f"oofgg.match-history.{stage.game_id}",
        bootstrap_servers=stage.endpoints.kafka,
        isolation_level="read_committed",
        auto_offset_reset="latest",
        enable_auto_commit=False,
    )
    await clients.start(consumer, within=_CALL_SECONDS)
    try:
        async with asyncio.timeout(_CALL_SECONDS):
            await consumer.seek_to_end()
            for partition in consumer.assignment():
                await consumer.position(partition)  # decided now, not with the first record
        yield consumer
    finally:
        await clients.stop(consumer.stop)


def _percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    seconds = sorted(seconds)
    return {
        f"{name}_p50": seconds[len(seconds) // 2] * 1e3,
        f"{name}_p99": seconds[int(len(seconds) * 0.99)] * 1e3,
    }


GROUP = Group(
    "results",
    "From Finish to the leaderboard and the topic",
    (
        Scenario(
            "finish_visible",
            (
                Figure("finish_visible_p50", "Finish → visible on the leaderboard, p50", "ms"),
                Figure("finish_visible_p99", "Finish → visible on the leaderboard, p99", "ms", most(250)),
                Figure("finish_topic_p50", "Finish → on the game's topic, p50", "ms"),
                Figure("finish_topic_p99", "Finish → on the game's topic, p99", "ms", most(250)),
            ),
            finish,
        ),
        Scenario(
            "results",
            (
                Figure("results", "Results a second, until all are on their topic", "/s"),
                Figure("result_cpu", "CPU of one result, databases and broker included", "ms"),
            ),
            sustained,
            runs=1,
        ),
    ),
)
