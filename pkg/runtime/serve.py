"""Runs services in a process, from the first connection to the last.

Start: backends, background work, services, gRPC server, health. Shutdown: not ready, a moment for
Envoy to notice, calls finish, background work ends, everything closes in reverse order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import asyncpg
import stamina
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from redis.exceptions import RedisError

from pkg.auth.jwks import JwksClient
from pkg.auth.revocations import Revocations
from pkg.auth.tokens import ServiceTokens, TokenVerifier
from pkg.cache import client as cache
from pkg.clock import SystemClock
from pkg.config import Environment, Settings
from pkg.db import database
from pkg.db.migrations import migrate, read_migrations
from pkg.errors import OofggError
from pkg.events import clients
from pkg.ids import new_id
from pkg.rpc.pipeline import Pipeline
from pkg.rpc.reflection import Reflection
from pkg.rpc.server import build_server
from pkg.rpc.validation import MessageValidator
from pkg.runtime.health import HealthMonitor
from pkg.runtime.host import Host, ServiceDefinition
from pkg.runtime.ops import ops_server
from pkg.telemetry.logs import get_logger
from pkg.telemetry.metrics import Metrics

_log = get_logger(__name__)

# A process waits this long for its backends at the start, then gives up and says so.
_PATIENCE_SECONDS = 30.0
_AWAY = (OSError, TimeoutError, RedisError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


async def serve(
    settings: Settings,
    services: Sequence[ServiceDefinition],
    stop: asyncio.Event,
    started: Callable[[Host], None] | None = None,
) -> None:
    """Serves until `stop` is set; `started` is told when calls are answered. Raises what made it end otherwise."""
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        if settings.migrate:
            await _migrate(settings, services)
        host = await _open_host(settings, stack, tasks)
        apps = [await stack.enter_async_context(service.app(host)) for service in services]
        monitor = HealthMonitor(apps, {"kafka": lambda: check_kafka(settings.kafka_bootstrap)}, host.metrics)
        documents = {path: handler for app in apps for path, handler in app.documents.items()}
        await stack.enter_async_context(ops_server(settings.ops_address, host.metrics, monitor, documents))

        server, port = build_server(
            settings.grpc_address,
            [binding for app in apps for binding in app.bindings],
            _pipeline(host),
            monitor.servicer,
            Reflection() if settings.environment is Environment.DEVELOPMENT else None,
        )
        await server.start()
        host.spawn(monitor.run(), name="health")
        _log.info("serving", services=[app.name for app in apps], port=port, node=settings.node)
        try:
            if started is not None:
                started(host)
            await stop.wait()
            _log.info("draining")
            host.draining.set()
            await monitor.drain()
            await asyncio.sleep(settings.drain_notice_seconds)
        finally:
            await server.stop(settings.drain_seconds if stop.is_set() else 0.0)
        await host.cancel_background()
    _log.info("stopped")


async def _open_host(settings: Settings, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> Host:
    clock = SystemClock()
    redis_client = await stack.enter_async_context(cache.open_redis(settings.redis_url))
    revocations = Revocations(redis_client)
    async for attempt in stamina.retry_context(on=_AWAY, timeout=_PATIENCE_SECONDS, wait_max=1.0):
        with attempt:
            await revocations.load()
    host = Host(
        settings=settings,
        clock=clock,
        new_id=new_id,
        redis_client=redis_client,
        metrics=Metrics(),
        verifier=TokenVerifier(JwksClient(settings.jwks_location(), clock), clock),
        revocations=revocations,
        service_tokens=ServiceTokens(settings.service_secret_text(), settings.node, clock),
        stack=stack,
        tasks=tasks,
    )
    host.spawn(revocations.follow(), name="revocations")
    return host


def _pipeline(host: Host) -> Pipeline:
    return Pipeline(
        verifier=host.verifier,
        service_tokens=host.service_tokens,
        revocations=host.revocations,
        validator=MessageValidator(),
        metrics=host.metrics,
        new_id=host.new_id,
        translate_fault=translate_fault,
    )


async def _migrate(settings: Settings, services: Sequence[ServiceDefinition]) -> None:
    for service in services:
        if service.migrations is not None:
            migrations = read_migrations(service.migrations)
            async for attempt in stamina.retry_context(on=_AWAY, timeout=_PATIENCE_SECONDS, wait_max=1.0):
                with attempt:
                    await migrate(settings.postgres_url, service.name, migrations)


def translate_fault(error: BaseException) -> OofggError | None:
    """Unavailable when the error means that a backend is away."""
    return database.translate_fault(error) or cache.translate_fault(error)


async def check_kafka(bootstrap: str) -> None:
    """Raises when no broker answers."""
    failure: Exception = KafkaConnectionError(f"no broker is named in {bootstrap!r}")
    for host, port, _ in collect_hosts(bootstrap):
        try:
            await clients.whole(_ask_broker(host, port), within=2.5)
        except (OSError, TimeoutError, KafkaError) as error:
            failure = error
            continue
        return
    raise failure


async def _ask_broker(host: str, port: int) -> None:
    # A new connection asks for the versions of the API: an answer, and a small one however many topics exist.
    connection = await create_conn(host, port, client_id="oofgg-health", request_timeout_ms=2000)
    closing = connection.close()
    if closing is not None:
        await closing
