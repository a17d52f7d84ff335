"""Making, starting, using and stopping Kafka clients so that a cancellation neither leaks a connection nor gets lost.

aiokafka leaves a connection open when it is cancelled while making it, and its waits can swallow a cancellation that
meets one of their timeouts. So its calls run in tasks of their own: whoever is cancelled waits a moment for their end
and then hears of it in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from pkg.events.cluster import Cluster

T = TypeVar("T")
# How long a cancelled caller waits for a call to end by itself. Requests give up after a few seconds on their own.
_GRACE_SECONDS = 3.0
_STOP_SECONDS = 5.0
REQUEST_MS: Final = 5_000


class Client(Protocol):
    """What aiokafka's clients have in common."""

    async def start(self) -> None: ...


def consumer(
    cluster: Cluster | str, client_id: str, *, isolation_level: str = "read_committed", **options: Any
) -> AIOKafkaConsumer:
    """One that has not started: without a group, at positions that it is told."""
    return AIOKafkaConsumer(
        bootstrap_servers=Cluster.of(cluster).bootstrap,
        client_id=client_id,
        isolation_level=isolation_level,
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_MS,
        **Cluster.of(cluster).connection(),
        **options,
    )


def producer(cluster: Cluster | str, transactional_id: str) -> AIOKafkaProducer:
    """One that has not started, of transactions: what it writes is acknowledged by all copies in sync."""
    return AIOKafkaProducer(
        bootstrap_servers=Cluster.of(cluster).bootstrap,
        client_id=transactional_id,
        transactional_id=transactional_id,
        request_timeout_ms=REQUEST_MS,
        retry_backoff_ms=50,
        **Cluster.of(cluster).connection(),
    )


def admin(cluster: Cluster | str, client_id: str) -> AIOKafkaAdminClient:
    """One that has not started."""
    return AIOKafkaAdminClient(
        bootstrap_servers=Cluster.of(cluster).bootstrap,
        client_id=client_id,
        request_timeout_ms=REQUEST_MS,
        **Cluster.of(cluster).connection(),
    )


async def check(cluster: Cluster | str, *, within: float) -> None:
    """Raises OSError, TimeoutError or KafkaError when no broker answers, and knows us, within so many seconds."""
    cluster = Cluster.of(cluster)
    failure: Exception = KafkaConnectionError(f"no broker is named in {cluster.bootstrap!r}")
    for host, port, _ in collect_hosts(cluster.bootstrap):
        try:
            await whole(_ask_broker(cluster, host, port), within=within)
        except (OSError, TimeoutError, KafkaError) as error:
            failure = error
            continue
        return
    raise failure


async def _ask_broker(cluster: Cluster, host: str, port: int) -> None:
    # A new connection asks for the versions of the API: an answer, and a small one however many topics exist.
    connection: AIOKafkaConnection = await create_conn(
        host, port, client_id="oofgg-health", request_timeout_ms=2000, **cluster.connection()
    )
    closing = connection.close()
    if closing is not None:
        await closing


async def start(client: Client, *, within: float) -> None:
    """Starts a client; stop it afterwards also when this fails. Raises KafkaError, or TimeoutError after `within`."""
    await whole(client.start(), within=within)


async def whole(call: Coroutine[Any, Any, T], *, within: float) -> T:
    """The result of a call. Raises what it raises, or TimeoutError after `within` seconds."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait([task], timeout=within)
    except asyncio.CancelledError:
        await _settle(task)
        raise
    if not done:
        await _settle(task, patience=0.0)
        raise TimeoutError
    return task.result()


async def stop(client_stop: Callable[[], Awaitable[Any]]) -> None:
    """Stops a client; one whose broker is away gets a few seconds to see it. Raises nothing."""

    async def call() -> None:
        await client_stop()

    task = asyncio.ensure_future(call())
    try:
        await _settle(task, patience=_STOP_SECONDS)
    except asyncio.CancelledError:
        await _settle(task)
        raise


async def _settle(task: asyncio.Task[Any], *, patience: float = _GRACE_SECONDS) -> None:
    """Waits for the end of a task, after `patience` by cancelling it."""
    if patience:
        await asyncio.wait([task], timeout=patience)
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
    if not task.cancelled():
        task.exception()
