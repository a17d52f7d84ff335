"""Runs services in a process, from the first connection to the last.

Start: backends, background work, services, gRPC server, health, registration. Shutdown: not ready, a moment for
Envoy to notice, calls finish, the registry is told, background work ends, everything closes in reverse order.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import asyncpg
import stamina
from redis.exceptions import RedisError

from pkg.auth.jwks import JwksClient
from pkg.auth.revocations import Revocations
from pkg.auth.tokens import ServiceTokens, TokenVerifier
from pkg.cache import client as cache
from pkg.clock import Clock, SystemClock
from pkg.config import Environment, Settings
from pkg.db import database
from pkg.db.migrations import migrate, read_migrations, require_migrated
from pkg.errors import OofggError
from pkg.events import clients
from pkg.games import GameDirectory
from pkg.ids import new_id
from pkg.registry.address import advertised_address
from pkg.registry.process import Load, Served
from pkg.registry.registration import Registration
from pkg.rpc.pipeline import Pipeline
from pkg.rpc.quotas import GameQuotas
from pkg.rpc.reflection import Reflection
from pkg.rpc.server import build_server
from pkg.rpc.validation import MessageValidator
from pkg.runtime.addresses import AddressClaims
from pkg.runtime.health import HealthMonitor
from pkg.runtime.host import App, Host, ServiceDefinition
from pkg.runtime.ops import ops_server
from pkg.runtime.tasks import Tasks
from pkg.runtime.user_data import user_data_binding
from pkg.telemetry.logs import get_logger
from pkg.telemetry.metrics import Metrics
from pkg.telemetry.tracing import Tracing

_log = get_logger(__name__)

# A process waits this long for its backends at the start, then gives up and says so.
_PATIENCE_SECONDS = 30.0
_RESOLVE_SECONDS = 10.0
_SETTLE_SECONDS = 2.0
_BROKER_SECONDS = 2.5
_AWAY = (OSError, TimeoutError, RedisError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError)


async def serve(
    settings: Settings,
    services: Sequence[ServiceDefinition],
    stop: asyncio.Event,
    started: Callable[[Host], None] | None = None,
    *,
    clock: Clock | None = None,
) -> None:
    """Serves until `stop` is set; `started` is told when calls are answered.

    A port 0 in the settings is any free port; `Host.settings` has its number. `clock` is the machine's, unless a test
    steps one. Raises CannotStart when an address is taken, otherwise the first of the failures that made it end.
    """
    async with AsyncExitStack() as stack:
        claims = stack.enter_context(AddressClaims(settings))
        settings = claims.settings
        tasks = await stack.enter_async_context(Tasks())
        with tasks.noted():
            await _migrate(settings, services)
            tracing = await _open_tracing(settings, services, stack)
            host = await _open_host(settings, stack, tasks, tracing, clock or SystemClock())
            apps = [await stack.enter_async_context(service.app(host)) for service in services]
            # `auth` may have to tell what it knows first, and may be one of these apps.
            await host.revocations.settle(within=_SETTLE_SECONDS)
            monitor = HealthMonitor(
                _with_revocations(apps, host),
                {"kafka": lambda: clients.check(host.kafka, within=_BROKER_SECONDS)},
                host.metrics,
            )
            documents = {path: handler for app in apps for path, handler in app.documents.items()}
            await stack.enter_async_context(ops_server(settings.ops_address, host.metrics, monitor, documents))

            exporters = {app.name: app.export_user for app in apps if app.export_user is not None}
            exporters |= {name: exporter for app in apps for name, exporter in app.export_more.items()}
            server, port = build_server(
                settings.grpc_address,
                [*(binding for app in apps for binding in app.bindings), user_data_binding(exporters)],
                _pipeline(host),
                monitor.servicer,
                Reflection() if settings.environment is Environment.DEVELOPMENT else None,
            )
            registration = await _registration(host, apps, monitor, port)
            await server.start()
            claims.release()
            host.spawn(monitor.run(), name="health")
            host.spawn(registration.run(), name="registration")
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
                await registration.leave()
                await host.cancel_background()
    _log.info("stopped")


async def _open_tracing(
    settings: Settings, services: Sequence[ServiceDefinition], stack: AsyncExitStack
) -> Tracing | None:
    if not settings.otlp_endpoint:
        return None
    # Loaded only here: tracing is free where nobody asked for it.
    from pkg.telemetry.otel import open_tracing

    name = services[0].name if len(services) == 1 else "services"
    return await stack.enter_async_context(
        open_tracing(settings.otlp_endpoint, ratio=settings.trace_ratio, service=name, node=settings.node)
    )


async def _registration(host: Host, apps: Sequence[App], monitor: HealthMonitor, port: int) -> Registration:
    """This process in the registry. Raises OSError when its address is not known."""
    settings = host.settings
    async with asyncio.timeout(_RESOLVE_SECONDS):
        address = await asyncio.to_thread(advertised_address, settings.grpc_address, port, settings.advertise_address)
    owners = {binding.service.full_name: app.name for app in apps for binding in app.bindings}

    def services() -> dict[str, Served]:
        calls = Counter[str]()
        for method, count in host.metrics.in_flight().items():
            calls[owners.get(method.partition("/")[0], "")] += count
        return {app.name: Served(monitor.state_of(app.name), Load(calls[app.name], app.sessions())) for app in apps}

    return Registration(
        host.registry,
        incarnation=host.incarnation,
        node=host.node,
        address=address,
        lease_seconds=settings.registry_lease_seconds,
        services=services,
        changed=monitor.changed,
    )


async def _open_host(
    settings: Settings, stack: AsyncExitStack, tasks: asyncio.TaskGroup, tracing: Tracing | None, clock: Clock
) -> Host:
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
        tracing=tracing,
        stack=stack,
        tasks=tasks,
    )
    # Also when the start fails: the task group itself asks only once.
    stack.push_async_callback(host.cancel_background)
    host.spawn(revocations.follow(), name="revocations")
    host.metrics.revocations_seconds.set_function(lambda: revocations.unread_seconds)
    return host


def _with_revocations(apps: Sequence[App], host: Host) -> list[App]:
    """No service lets anybody in before it is known who must stay out."""
    return [replace(app, checks={**app.checks, "revocations": host.revocations.check}) for app in apps]


def _pipeline(host: Host) -> Pipeline:
    games = GameDirectory(host.channel("catalog"), host.clock)

    async def calls_per_second(game_id: str) -> int:
        return (await games.lookup(game_id)).quotas.calls_per_second

    return Pipeline(
        verifier=host.verifier,
        service_tokens=host.service_tokens,
        revocations=host.revocations,
        validator=MessageValidator(),
        metrics=host.metrics,
        new_id=host.new_id,
        translate_fault=translate_fault,
        tracing=host.tracing,
        quotas=GameQuotas(calls_per_second, host.clock),
    )


async def _migrate(settings: Settings, services: Sequence[ServiceDefinition]) -> None:
    """Applies what is missing where the settings say so, and is sure that nothing is missing where they do not."""
    bring_up = migrate if settings.migrate else require_migrated
    for service in services:
        if service.migrations is not None:
            migrations = read_migrations(service.migrations)
            async for attempt in stamina.retry_context(on=_AWAY, timeout=_PATIENCE_SECONDS, wait_max=1.0):
                with attempt:
                    await bring_up(settings.postgres_url, service.name, migrations)


def translate_fault(error: BaseException) -> OofggError | None:
    """Unavailable when the error means that a backend is away."""
    return database.translate_fault(error) or cache.translate_fault(error)
