"""A platform under attack: embedded, behind Envoy, with every limit in force.

Only Envoy's rate limits are lifted, and only for 127.0.0.1, from where gRPC comes in these tests: Envoy has its own
tests for them. Who guesses comes from other loopback addresses, for which nothing is lifted. Signing keys change every
few seconds all the while.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import grpc
import pytest

from pkg.embedded import Platform
from pkg.testing.directories import data_directory
from services.up import Choices, options
from tests.e2e.callers import Cast, make_admin, make_cast

KEY_SECONDS = 12
LEAD_SECONDS = 8
ENVOYS_CACHE = "cache_duration: 60s"
TIMEOUT = aiohttp.ClientTimeout(total=30)

At = Callable[[str], AbstractAsyncContextManager[aiohttp.ClientSession]]


class Collector:
    """Receives spans as an OpenTelemetry collector does, and keeps the bytes."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        handler: Any = grpc.unary_unary_rpc_method_handler(self._export)
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _export(self, request: bytes, _context: Any) -> bytes:
        self.received.append(request)
        return b""

    def stop(self) -> None:
        self._server.stop(None).wait(10)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def platform(collector: Collector) -> Iterator[Platform]:
    directory = data_directory()
    chosen = options(Choices(data_dir=directory, lift_limits=True, access_log=True))
    assert chosen.services is not None
    assert chosen.render_envoy is not None
    rendered = chosen.render_envoy

    def short_cache(inputs: Any) -> str:
        configuration = rendered(inputs)
        assert ENVOYS_CACHE in configuration
        return configuration.replace(ENVOYS_CACHE, "cache_duration: 2s")

    settings = {
        "OOFGG_LOGIN_LIMITS_SPARE_LOOPBACK": "false",
        "OOFGG_SIGNING_KEY_DAYS": str(KEY_SECONDS / 86_400),
        "OOFGG_SIGNING_KEY_LEAD_SECONDS": str(LEAD_SECONDS),
        "OOFGG_OTLP_ENDPOINT": f"http://{collector.address}",
        "OOFGG_LOG_LEVEL": "DEBUG",
    }
    started = Platform(
        replace(
            chosen,
            services=replace(chosen.services, environment=settings),
            render_envoy=short_cache,
            environment={**chosen.environment, "OOFGG_OTLP_ENDPOINT": f"http://{collector.address}"},
        )
    )
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def envoy(platform: Platform) -> str:
    return platform.endpoints.envoy


@pytest.fixture
async def channel(envoy: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(envoy, options=[("grpc.use_local_subchannel_pool", 1)]) as opened:
        yield opened


@pytest.fixture(scope="session")
def known_cast() -> dict[str, Cast]:
    return {}


@pytest.fixture
async def cast(channel: grpc.aio.Channel, platform: Platform, known_cast: dict[str, Cast]) -> Cast:
    """One of every kind of caller; tests leave their logins standing."""
    if "cast" not in known_cast:
        known_cast["cast"] = replace(await make_cast(channel), admin=await make_admin(channel, platform))
    return known_cast["cast"]


@pytest.fixture(scope="session")
def new_address() -> Callable[[], str]:
    """Loopback addresses, each of which no other test comes from."""
    numbers = itertools.count()

    def new() -> str:
        number = next(numbers)
        return f"127.7.{number // 200}.{number % 200 + 1}"

    return new


@pytest.fixture
def at(envoy: str) -> At:
    """HTTP to Envoy from a loopback address of one's own."""

    @asynccontextmanager
    async def open_at(address: str) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(local_addr=(address, 0))
        async with aiohttp.ClientSession(f"http://{envoy}", connector=connector, timeout=TIMEOUT) as session:
            yield session

    return open_at
