"""Services in the test's own process, over real backends, without Envoy."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from pkg.clock import Clock
from pkg.config import Environment, Settings
from pkg.runtime.host import Host
from pkg.runtime.serve import serve
from services.serve import definitions

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class RunningServices:
    """Services that answer at `settings.grpc_address`."""

    settings: Settings
    host: Host
    channel: grpc.aio.Channel
    stop: asyncio.Event
    task: asyncio.Task[None]

    async def end(self) -> None:
        """Drains and stops."""
        self.stop.set()
        await self.channel.close()
        await self.task


StartServices = Callable[..., Awaitable[RunningServices]]


@pytest.fixture
async def start_services(postgres_url: str, redis_url: str, kafka_bootstrap: str) -> AsyncIterator[StartServices]:
    """Starts services by name; settings can be changed by keyword. Stops them at the end of the test.

    `clock` is one that the test steps. The settings of what runs have the ports that were found.
    """
    running: list[RunningServices] = []

    async def start(names: Sequence[str], *, clock: Clock | None = None, **changed: Any) -> RunningServices:
        values = {
            "environment": Environment.DEVELOPMENT,
            "node": f"test-{len(running)}",
            "postgres_url": postgres_url,
            "redis_url": redis_url,
            "kafka_bootstrap": kafka_bootstrap,
            "grpc_address": "127.0.0.1:0",
            "ops_address": "127.0.0.1:0",
            "master_key": base64.b64encode(b"k" * 32).decode(),
            "service_secret": "s" * 32,
            "developer_self_service": True,
            "argon2_memory_kib": 64,
            "argon2_time": 1,
            "drain_notice_seconds": 0.0,
            "drain_seconds": 2.0,
            **changed,
        }
        settings = Settings(**values)
        started: asyncio.Future[Host] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        task = asyncio.create_task(serve(settings, definitions(list(names)), stop, started.set_result, clock=clock))
        async with asyncio.timeout(START_SECONDS):
            watched: set[asyncio.Future[Any]] = {task, started}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        host = started.result()
        settings = host.settings
        channel = grpc.aio.insecure_channel(settings.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)])
        services = RunningServices(settings, host, channel, stop, task)
        running.append(services)
        return services

    yield start
    for services in reversed(running):
        if not services.task.done():
            await services.end()


@pytest.fixture
def random_name() -> Callable[[str], str]:
    """Names that no other test uses."""
    return lambda prefix: f"{prefix}-{os.urandom(5).hex()}"
