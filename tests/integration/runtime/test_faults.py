"""Backends that go away and come back while the services keep running."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import asyncpg
import grpc
import pytest
from aiokafka.errors import KafkaError
from grpc_health.v1 import health_pb2, health_pb2_grpc

from oofgg.v1 import auth_pb2 as pb
from oofgg.v1 import auth_pb2_grpc, game_pb2, game_pb2_grpc
from pkg.embedded import Options, Platform
from pkg.errors import Reason
from pkg.events import clients
from pkg.rpc.status import from_rpc_error
from pkg.testing.directories import data_directory
from tests.integration.calls import bearer, eventually, register
from tests.integration.conftest import RunningServices, StartServices


class Backend:
    """One backend of this test's own, which can be taken away and brought back with its data."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.directory = data_directory()
        self._platform = self._new()
        self._platform.start()
        self.endpoints = self._platform.endpoints

    def _new(self) -> Platform:
        environment = {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_BOOTSTRAP"))}
        return Platform(Options(self.directory, backends=(self._name,), environment=environment))

    async def take_away(self) -> None:
        await asyncio.to_thread(self._platform.stop)

    async def bring_back(self) -> None:
        self._platform = self._new()
        await asyncio.to_thread(self._platform.start)
        assert self._platform.endpoints == self.endpoints

    def end(self) -> None:
        self._platform.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture
def backend() -> Iterator[Callable[[str], Backend]]:
    started: list[Backend] = []

    def start(name: str) -> Backend:
        started.append(Backend(name))
        return started[-1]

    yield start
    for one in started:
        one.end()


async def ready(running: RunningServices) -> dict[str, Any]:
    url = f"http://{running.settings.ops_address}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        document: dict[str, Any] = await response.json()
    assert response.status == (200 if document["ready"] else 503)
    return document


def is_ready(running: RunningServices, expected: bool) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return (await ready(running))["ready"] is expected

    return check


async def health(running: RunningServices, name: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(running.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    status: int = answer.status
    return status


async def refused(call: Any, *, within: float) -> None:
    """The call fails as UNAVAILABLE, says when to come back, and does not outlast its deadline."""
    began = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert time.monotonic() - began < within + 0.5
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    error = from_rpc_error(caught.value)
    assert error.reason is Reason.BACKEND_UNAVAILABLE
    assert error.retry_after is not None
    assert error.metadata["request_id"]


async def test_postgres_away_and_back(start_services: StartServices, backend: Callable[[str], Backend]) -> None:
    postgres = await asyncio.to_thread(backend, "postgres")
    url = postgres.endpoints.postgres_url
    running = await start_services(["auth", "catalog"], postgres_url=url, migrate=True)
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    metadata = bearer((await register(auth, "ada")).access_token)
    await eventually(is_ready(running, True))

    await postgres.take_away()
    await refused(auth.GetAccount(pb.GetAccountRequest(), metadata=metadata, timeout=5), within=5)
    await refused(auth.Login(pb.LoginRequest(username="ada", password="x"), timeout=5), within=5)
    await eventually(is_ready(running, False))
    assert await health(running, "auth") == health_pb2.HealthCheckResponse.NOT_SERVING
    assert await health(running, "postgres") == health_pb2.HealthCheckResponse.NOT_SERVING

    await postgres.bring_back()
    await eventually(is_ready(running, True), within=15)
    answer = await auth.GetAccount(pb.GetAccountRequest(), metadata=metadata, timeout=5)
    assert answer.account.username == "ada"
    assert await health(running, "auth") == health_pb2.HealthCheckResponse.SERVING


async def test_redis_away_and_back(start_services: StartServices, backend: Callable[[str], Backend]) -> None:
    valkey = await asyncio.to_thread(backend, "valkey")
    running = await start_services(["auth", "catalog"], redis_url=valkey.endpoints.redis_url)
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    registered = await register(auth, "ada")
    metadata = bearer(registered.access_token)
    await eventually(is_ready(running, True))

    await valkey.take_away()
    await eventually(is_ready(running, False))
    # PostgreSQL has the last word on logins: ending one works, and reaches everybody once Redis is back.
    await auth.Logout(pb.LogoutRequest(), metadata=metadata, timeout=5)

    await valkey.bring_back()
    await eventually(is_ready(running, True), within=15)

    async def ended() -> bool:
        request = pb.ValidateTokenRequest(access_token=registered.access_token)
        return not (await auth.ValidateToken(request, timeout=5)).is_valid

    await eventually(ended)


async def test_kafka_away_takes_nobody_out_of_service(
    start_services: StartServices, backend: Callable[[str], Backend]
) -> None:
    kafka = await asyncio.to_thread(backend, "kafka")
    running = await start_services(["auth", "catalog"], kafka_bootstrap=kafka.endpoints.kafka_bootstrap)
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    games = game_pb2_grpc.GameServiceStub(running.channel)
    registered = await register(auth, "studio")
    developer = await auth.BecomeDeveloper(
        pb.BecomeDeveloperRequest(), metadata=bearer(registered.access_token), timeout=5
    )
    await kafka.take_away()

    async def noticed() -> bool:
        kafka_state: str = (await ready(running))["observed"]["kafka"]
        return kafka_state != "ok"

    await eventually(noticed, within=10)
    assert (await ready(running))["ready"]
    assert await health(running, "kafka") == health_pb2.HealthCheckResponse.NOT_SERVING
    request = game_pb2.CreateGameRequest(name="Duel")
    game = (await games.CreateGame(request, metadata=bearer(developer.access_token), timeout=5)).game

    await kafka.bring_back()
    connection = await asyncpg.connect(running.settings.postgres_url)

    async def created() -> bool:
        sql = "select create_time from catalog.topic where game_id = $1"
        time_created = await connection.fetchval(sql, game.game_id)
        return time_created is not None

    await eventually(created, within=15)
    await connection.close()


async def test_draining_finishes_calls_and_turns_not_ready(start_services: StartServices) -> None:
    running = await start_services(["auth", "catalog"], drain_notice_seconds=0.5, drain_seconds=5.0, argon2_time=8000)
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    await eventually(is_ready(running, True))
    slow = asyncio.create_task(register(auth, "slow"))
    await asyncio.sleep(0.05)
    running.stop.set()
    await eventually(is_ready(running, False), within=0.5)
    assert (await slow).user_id
    await asyncio.wait_for(running.task, 10)


async def test_a_crash_of_background_work_stops_the_process_loudly(start_services: StartServices) -> None:
    running = await start_services(["catalog"])

    async def crash() -> None:
        raise RuntimeError("on purpose")

    running.host.spawn(crash(), name="crash")
    with pytest.raises(RuntimeError, match="on purpose"):
        await asyncio.wait_for(running.task, 10)
    await running.channel.close()


async def test_metrics_count_calls_by_method_and_code(start_services: StartServices) -> None:
    running = await start_services(["auth", "catalog"])
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    await auth.ValidateToken(pb.ValidateTokenRequest(access_token="x"), timeout=5)
    with pytest.raises(grpc.aio.AioRpcError):
        await auth.ValidateToken(pb.ValidateTokenRequest(), timeout=5)
    url = f"http://{running.settings.ops_address}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    method = 'method="oofgg.v1.AuthService/ValidateToken"'
    assert f'oofgg_rpc_calls_total{{code="OK",{method}}} 1.0' in text
    assert f'oofgg_rpc_calls_total{{code="INVALID_ARGUMENT",{method}}} 1.0' in text
    assert f"oofgg_rpc_seconds_count{{{method}}} 2.0" in text
    assert f"oofgg_rpc_in_flight{{{method}}} 0.0" in text


async def test_a_deadline_is_kept(start_services: StartServices) -> None:
    running = await start_services(["auth", "catalog"], argon2_time=8000)
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    began = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await auth.Login(pb.LoginRequest(username="nobody", password="x"), timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("my-request-42", True, id="sane"),
        pytest.param("x", True, id="short"),
        pytest.param("a" * 65, False, id="too long"),
        pytest.param("bad id with blanks", False, id="blanks"),
    ],
)
async def test_request_ids_are_kept_or_replaced(start_services: StartServices, sent: str, kept: bool) -> None:
    running = await start_services(["auth", "catalog"])
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await auth.GetAccount(pb.GetAccountRequest(), metadata=(("x-request-id", sent),), timeout=5)
    answered = from_rpc_error(caught.value).metadata["request_id"]
    assert (answered == sent) is kept
    assert answered


async def test_kafka_counts_as_up_only_while_a_broker_answers(backend: Callable[[str], Backend]) -> None:
    kafka = backend("kafka")
    bootstrap = kafka.endpoints.kafka_bootstrap
    await clients.check(f"127.0.0.1:1,{bootstrap}", within=2.5)
    await kafka.take_away()
    with pytest.raises((KafkaError, OSError)):
        await clients.check(bootstrap, within=2.5)


async def test_a_broker_that_accepts_and_says_nothing_is_not_up() -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises((KafkaError, TimeoutError)):
            await clients.check(f"{host}:{port}", within=2.5)
