"""A pool of connections to one service's schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg

from pkg.deadline import within
from pkg.errors import InvalidArgument, OofggError, Reason, Unavailable, backend_unavailable
from pkg.time_limit import time_limit

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]
else:  # asyncpg's classes are generic for type checkers only
    Connection = asyncpg.Connection

# Longest wait for a free connection, for one statement, and for all that is done with one `acquire`.
_ACQUIRE_SECONDS: Final = 3.0
_STATEMENT_SECONDS: Final = 5.0
_CALL_SECONDS: Final = 5.0
_RELEASE_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 5.0
_CHECK_SECONDS: Final = 2.0

# What asyncpg raises when the server is away, restarting, or cut the connection.
_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
)

# What it raises when the server is slow or full, or others are in the way: the moment's, not the statement's.
_HINDERED: Final = (
    asyncpg.QueryCanceledError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
)

# Everything that asyncpg raises.
_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def translate_fault(error: BaseException) -> OofggError | None:
    """Unavailable when PostgreSQL is away, or too slow, full or busy for now; InvalidArgument for text that it cannot
    hold. So whoever waits for PostgreSQL waits for a slow one, too."""
    if isinstance(error, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        return InvalidArgument(
            Reason.INVALID_FIELD, "A text field holds the character U+0000, which cannot be stored. Leave it out."
        )
    lost = isinstance(error, asyncpg.InterfaceError) and "connection" in str(error)
    # A connection that was told of a shutdown and not closed yet answers a statement with an internal error.
    lost = lost or isinstance(error, asyncpg.InternalClientError)
    return backend_unavailable("PostgreSQL") if lost or isinstance(error, (*_AWAY, *_HINDERED)) else None


class Database:
    """The pool of one service. All its statements see that service's schema alone."""

    def __init__(self, pool: asyncpg.Pool[Any], schema: str) -> None:
        self._pool = pool
        self.schema = schema

    def acquire(self, *, seconds: float = _CALL_SECONDS) -> AbstractAsyncContextManager[Connection]:
        """A connection for a few statements, all of them within `seconds` and within the caller's deadline.

        Raises Unavailable(BACKEND_UNAVAILABLE) when PostgreSQL is away or does not answer, also when it goes away
        meanwhile.
        """
        return self._lend(within(seconds))

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Connection]:
        """A connection for what belongs to a connection: session locks, listeners. It is closed at the end.

        Only its statements have a deadline. Raises as `acquire` does.
        """
        async with self._lend(None) as connection:
            try:
                yield connection
            finally:
                _drop(connection)

    @asynccontextmanager
    async def _lend(self, seconds: float | None) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy[Any]]:
        connection: asyncpg.pool.PoolConnectionProxy[Any] | None = None
        try:
            # asyncpg's own timeout costs a task.
            with time_limit(seconds) if seconds is not None else nullcontext():
                with time_limit(within(_ACQUIRE_SECONDS)):
                    connection = await self._pool.acquire()
                yield connection
        except (OSError, TimeoutError, *_ERRORS) as error:
            away = isinstance(error, OSError | TimeoutError)
            translated = backend_unavailable("PostgreSQL") if away else translate_fault(error)
            if translated is None:
                raise
            if connection is not None and isinstance(translated, Unavailable):
                # Nothing resets a connection that is given back, so a broken one must not be.
                _drop(connection)
            raise translated from error
        except asyncio.CancelledError:
            # A statement may be under way. To await its end here could outlast whoever gave up.
            if connection is not None:
                _drop(connection)
            raise
        finally:
            if connection is not None:
                await self._release(connection)

    @asynccontextmanager
    async def transaction(self, *, seconds: float = _CALL_SECONDS) -> AsyncIterator[Connection]:
        """As `acquire`, inside a transaction: committed at the end, rolled back when something is raised."""
        async with self.acquire(seconds=seconds) as connection, connection.transaction():
            yield connection

    async def check(self) -> None:
        """Raises when PostgreSQL does not answer a query within two seconds."""
        async with asyncio.timeout(_CHECK_SECONDS), self.acquire() as connection:
            await connection.fetchval("select 1")

    async def _release(self, connection: asyncpg.pool.PoolConnectionProxy[Any]) -> None:
        try:
            await self._pool.release(connection, timeout=_RELEASE_SECONDS)
        except (TimeoutError, OSError, *_ERRORS):
            # The connection died; the pool opens another.
            return


def _drop(connection: Connection) -> None:
    """Closes a connection at once; the pool opens another."""
    with suppress(asyncpg.InterfaceError):  # it was dropped before
        connection.terminate()


async def _keep_as_it_is(_: Connection) -> None:
    """Nothing to reset, which saves a round trip: what changes a connection for longer uses `hold`."""


@asynccontextmanager
async def open_database(url: str, schema: str, *, size: int) -> AsyncIterator[Database]:
    """Opens the pool of a service. The schema must exist (`pkg.db.migrations`)."""
    pool = asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        max_inactive_connection_lifetime=60.0,
        timeout=_CONNECT_SECONDS,
        command_timeout=_STATEMENT_SECONDS,
        reset=_keep_as_it_is,
        server_settings={
            "application_name": f"oofgg-{schema}",
            "search_path": schema,
            "statement_timeout": str(int(_STATEMENT_SECONDS * 1000)),
            "idle_in_transaction_session_timeout": "15000",
            "timezone": "UTC",
        },
    )
    async with pool:
        yield Database(pool, schema)
