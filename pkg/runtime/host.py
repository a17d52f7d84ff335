"""What a process offers the services it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio as redis

from pkg.auth.revocations import Revocations
from pkg.auth.sealing import Sealer
from pkg.auth.tokens import ServiceTokens, TokenVerifier
from pkg.clock import Clock
from pkg.config import Settings
from pkg.db.database import Database, open_database
from pkg.events.cluster import Cluster
from pkg.events.news import TopicNews
from pkg.ids import NewId
from pkg.registry.store import Registry
from pkg.rpc.binder import Binding
from pkg.rpc.channel import ServiceChannel
from pkg.runtime.user_data import ExportUser
from pkg.telemetry.logs import get_logger
from pkg.telemetry.metrics import Metrics
from pkg.telemetry.tracing import Tracing

_log = get_logger(__name__)

_CANCEL_SECONDS = 15.0
_CANCEL_AGAIN_SECONDS = 0.5

Check = Callable[[], Awaitable[None]]
OpsHandler = Callable[[], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class App:
    """A service as its composition root offers it to the process.

    `checks` name what the service cannot serve without; each raises when that is so. `documents` are JSON
    documents for the private HTTP port, by path. `sessions` counts the live sessions that the service runs.
    """

    name: str
    bindings: Sequence[Binding]
    checks: Mapping[str, Check]
    documents: Mapping[str, OpsHandler] = field(default_factory=dict)
    export_user: ExportUser | None = None
    """Tells what the service keeps about a person, where it keeps something."""
    export_more: Mapping[str, ExportUser] = field(default_factory=dict)
    """The same for parts that are shown apart, by a name that no service has."""
    sessions: Callable[[], int] = lambda: 0


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """A service that a process can run."""

    name: str
    app: Callable[[Host], AbstractAsyncContextManager[App]]
    migrations: Path | None


class Host:
    """The resources of a process. A service takes what it needs in its composition root."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        new_id: NewId,
        redis_client: redis.Redis,
        metrics: Metrics,
        verifier: TokenVerifier,
        revocations: Revocations,
        service_tokens: ServiceTokens,
        tracing: Tracing | None,
        stack: AsyncExitStack,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.new_id = new_id
        self.redis = redis_client
        self.metrics = metrics
        self.verifier = verifier
        self.revocations = revocations
        # Its id between its start and its end, under which the registry has it.
        self.incarnation = new_id()
        self.registry = Registry(redis_client)
        self.kafka = Cluster.from_settings(settings)
        self.topic_news = TopicNews()
        self.sealer = Sealer(settings.master_key_text())
        # Set when the process begins to drain: streams should end and tell their clients to come back elsewhere.
        self.draining = asyncio.Event()
        self.service_tokens = service_tokens
        self.tracing = tracing
        self._stack = stack
        self._tasks = tasks
        self._spawned: list[asyncio.Task[Any]] = []
        self._channels: dict[str, ServiceChannel] = {}

    @property
    def node(self) -> str:
        """Name of this process."""
        return self.settings.node

    async def postgres(self, schema: str) -> Database:
        """The pool of a service's schema, closed with the process."""
        return await self._stack.enter_async_context(
            open_database(self.settings.postgres_url, schema, size=self.settings.postgres_pool_size)
        )

    async def check_redis(self) -> None:
        """Raises when Redis does not answer within two seconds."""
        async with asyncio.timeout(2.0):
            await self.redis.ping()

    def channel(self, service: str) -> ServiceChannel:
        """The channel to another service, closed with the process."""
        if service not in self._channels:
            channel = ServiceChannel(self.settings.address_of(service), self.service_tokens)
            self._stack.push_async_callback(channel.close)
            self._channels[service] = channel
        return self._channels[service]

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Runs background work until the process ends. When it raises, the process stops, loudly."""
        task = self._tasks.create_task(work, name=name)
        self._spawned = [other for other in self._spawned if not other.done()]
        self._spawned.append(task)
        return task

    async def cancel_background(self) -> None:
        """Ends all background work; part of the shutdown.

        Libraries swallow a cancellation that meets a timeout of their own, so it is said again until it is heard.
        """
        pending = set(self._spawned)
        deadline = self.clock.monotonic() + _CANCEL_SECONDS
        while pending and self.clock.monotonic() < deadline:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
        if pending:
            _log.error("background work does not end", tasks=sorted(task.get_name() for task in pending))
