"""The Redis client of a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import redis.asyncio as redis
from redis import exceptions as faults
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from pkg.errors import OofggError, backend_unavailable

_CONNECT_SECONDS: Final = 2.0
_POOL_SECONDS: Final = 2.0
_COMMAND_SECONDS: Final = 5.0
_MOST_CONNECTIONS: Final = 64


def translate_fault(error: BaseException) -> OofggError | None:
    """Unavailable when the error means that Redis is away."""
    away = isinstance(
        error, faults.ConnectionError | faults.TimeoutError | faults.BusyLoadingError | faults.ReadOnlyError
    )
    return backend_unavailable("Redis") if away else None


class _Pool(redis.BlockingConnectionPool):
    """Leaves no connection open once it is closed.

    The library's pool closes what it has at that moment. A command that is under way then finds its connection dead,
    opens it again, and gives it back open; a command that comes later opens a new one.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._is_closed = False

    async def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> AbstractConnection:
        if self._is_closed:
            raise faults.ConnectionError("The connections to Redis are closed: this process ends.")
        connection: AbstractConnection = await super().get_connection()  # type: ignore[no-untyped-call]
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        await super().release(connection)
        if self._is_closed:
            await connection.disconnect()

    async def aclose(self) -> None:
        self._is_closed = True
        await super().aclose()


@asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[redis.Redis]:
    """A client that answers bytes. A command is sent again once when its connection turns out to be dead.

    Commands must therefore be safe to repeat: scripts compare before they write.
    """
    # A burst waits for a connection; it does not look like a Redis that is away.
    pool = _Pool.from_url(
        url,
        timeout=_POOL_SECONDS,
        decode_responses=False,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_COMMAND_SECONDS,
        max_connections=_MOST_CONNECTIONS,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), retries=1),
        health_check_interval=15,
        protocol=2,
    )
    client = redis.Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()
