"""Backends that stop answering under a running platform: typed refusals within the deadline, recovery by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import aiohttp
import grpc
import psutil
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

import oofgg
from oofgg.events.v1.match_pb2 import MatchFinished
from oofgg.v1 import auth_pb2, auth_pb2_grpc, game_pb2, game_pb2_grpc, session_pb2, session_pb2_grpc
from pkg.embedded import Platform
from pkg.errors import Reason
from tests.e2e.callers import PASSWORD, Cast, make_cast, outcome
from tests.e2e.conftest import running_platform
from tests.integration.calls import eventually

DEADLINE = 5.0


@pytest.fixture(scope="module")
def own_platform() -> Iterator[Platform]:
    """A platform whose backends these tests may hold."""
    with running_platform() as started:
        yield started


@pytest.fixture
async def own_channel(own_platform: Platform) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(own_platform.endpoints.envoy, options=options) as opened:
        yield opened


@pytest.fixture
async def cast(own_channel: grpc.aio.Channel) -> Cast:
    return await make_cast(own_channel)


@contextmanager
def held(platform: Platform, name: str) -> Iterator[None]:
    """The backend keeps its connections and answers nothing."""
    process = psutil.Process(platform.pids[name])
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.suspend()
    try:
        yield
    finally:
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.resume()


async def is_ready(platform: Platform) -> bool:
    url = f"http://{platform.endpoints.services_ops}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status == 200


async def answers(channel: grpc.aio.Channel, cast: Cast) -> bool:
    """Whether Envoy has noticed that the services are back."""
    auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
    sessions: Any = session_pb2_grpc.SessionServiceStub(channel)
    listing = session_pb2.ListSessionsRequest(game_id=cast.game_id)
    codes = [
        (await outcome(auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=cast.player, timeout=DEADLINE)))[0],
        (await outcome(sessions.ListSessions(listing, metadata=cast.player, timeout=DEADLINE)))[0],
    ]
    return set(codes) == {grpc.StatusCode.OK}


async def assert_unavailable(attempt: Callable[[], Any]) -> None:
    """Every try is refused in time, as UNAVAILABLE, with a time to come back."""
    for _ in range(3):
        began = time.monotonic()
        code, error = await outcome(attempt())
        assert code is grpc.StatusCode.UNAVAILABLE
        assert error is not None
        assert error.reason is Reason.BACKEND_UNAVAILABLE
        assert error.retry_after is not None
        assert time.monotonic() - began < DEADLINE


@asynccontextmanager
async def players(platform: Platform, cast: Cast) -> AsyncIterator[tuple[oofgg.Client, oofgg.Client]]:
    target = platform.endpoints.envoy
    async with oofgg.Client(target, game=cast.game_id) as ada, oofgg.Client(target, game=cast.game_id) as bob:
        for client, name in ((ada, "ada"), (bob, "bob")):
            unique = f"{name}-{time.time_ns()}"
            await client.register(unique, f"{unique}@example.org", PASSWORD)
        yield ada, bob


async def play_a_match(ada: oofgg.Client, bob: oofgg.Client) -> str:
    """The first joiner wins. Returns the match id."""
    session = await ada.sessions.create(min_seats=2, max_seats=2)
    async with ada.play(session) as left, bob.play(session) as right:
        await asyncio.gather(left.started(), right.started())
        places = {left.seat: 1, right.seat: 2}
        await asyncio.gather(left.finish(places), right.finish(places))
    match_id: str = session.session_id
    return match_id


async def test_postgres_holds_and_goes_on(own_platform: Platform, own_channel: grpc.aio.Channel, cast: Cast) -> None:
    auth: Any = auth_pb2_grpc.AuthServiceStub(own_channel)
    games: Any = game_pb2_grpc.GameServiceStub(own_channel)
    attempts = (
        lambda: auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=cast.player, timeout=DEADLINE),
        lambda: auth.Login(auth_pb2.LoginRequest(username="x", password="y"), timeout=DEADLINE),
        lambda: games.CreateGame(game_pb2.CreateGameRequest(name="x"), metadata=cast.developer, timeout=DEADLINE),
    )
    with held(own_platform, "postgres"):
        for attempt in attempts:
            await assert_unavailable(attempt)
        assert not await is_ready(own_platform)
    await eventually(lambda: is_ready(own_platform), within=15)
    await eventually(lambda: answers(own_channel, cast), within=5)


async def test_redis_holds_and_goes_on(own_platform: Platform, own_channel: grpc.aio.Channel, cast: Cast) -> None:
    sessions: Any = session_pb2_grpc.SessionServiceStub(own_channel)
    create = session_pb2.CreateSessionRequest(game_id=cast.game_id)
    with held(own_platform, "valkey"):
        await assert_unavailable(lambda: sessions.CreateSession(create, metadata=cast.player, timeout=DEADLINE))
        assert not await is_ready(own_platform)
    await eventually(lambda: answers(own_channel, cast), within=15)
    async with players(own_platform, cast) as (ada, bob):
        await play_a_match(ada, bob)


async def test_matches_finish_while_kafka_holds_and_history_catches_up(own_platform: Platform, cast: Cast) -> None:
    async with players(own_platform, cast) as (ada, bob):
        with held(own_platform, "kafka"):
            matches = [await play_a_match(ada, bob) for _ in range(3)]
            assert await is_ready(own_platform), "Kafka must take nobody out of service"

        async def caught_up() -> bool:
            return {match.match_id async for match in ada.history.list()} == set(matches)

        await eventually(caught_up, within=30)
        rank = await ada.leaderboards.rank()
        assert (rank.entry.wins, rank.entry.losses) == (3, 0)


async def test_matches_on_the_topic_survive_a_broker_that_forgets(own_platform: Platform, cast: Cast) -> None:
    """kill -9 loses the broker's last second; what it lost is published again, and nothing twice."""
    async with players(own_platform, cast) as (ada, bob):
        matches = []
        for _ in range(3):
            matches.append(await play_a_match(ada, bob))
            psutil.Process(own_platform.pids["kafka"]).kill()
            await asyncio.sleep(0.3)

        async def published() -> list[str]:
            consumer = AIOKafkaConsumer(
                f"oofgg.match-history.{cast.game_id}",
                bootstrap_servers=own_platform.endpoints.kafka_bootstrap,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
            )
            try:
                await consumer.start()
                found = await consumer.getmany(timeout_ms=1000)
            except KafkaError:
                return []  # it is on its way back
            finally:
                await consumer.stop()
            return [MatchFinished.FromString(r.value or b"").match_id for records in found.values() for r in records]

        async def complete() -> bool:
            return sorted(await published()) == sorted(matches)

        await eventually(complete, within=45)
