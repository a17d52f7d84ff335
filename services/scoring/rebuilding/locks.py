"""What a rebuild holds while it works, and how it gets it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from pkg.db.database import Connection, Database
from pkg.errors import Reason, Unavailable

STATEMENT_SECONDS: Final = 900.0

_LOCK_SECONDS: Final = 3.0
_LOCK_PAUSE_SECONDS: Final = 0.5
_LOCK_TRIES: Final = 40


@asynccontextmanager
async def working(database: Database) -> AsyncIterator[Connection]:
    """A connection of one's own for statements that take minutes. Raises Unavailable."""
    async with database.hold() as connection:
        limit = str(int(STATEMENT_SECONDS * 1000))
        await connection.execute("select set_config('statement_timeout', $1, false)", limit)
        await connection.execute("select set_config('idle_in_transaction_session_timeout', $1, false)", limit)
        yield connection


async def alone(connection: Connection, work: str) -> None:
    """Raises Unavailable when another connection does such work."""
    key = int.from_bytes(hashlib.sha256(f"oofgg {work}".encode()).digest()[:8], "big", signed=True)
    if not await connection.fetchval("select pg_try_advisory_lock($1)", key):
        raise Unavailable(Reason.BACKEND_UNAVAILABLE, "Somebody else is rebuilding at this moment.")


@asynccontextmanager
async def held(connection: Connection, lock: str) -> AsyncIterator[None]:
    """A transaction that holds tables. Whoever waits for them waits a few seconds behind this wait at most.

    Raises Unavailable when they are never to be had.
    """
    for left in reversed(range(_LOCK_TRIES)):
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("select set_config('lock_timeout', $1, true)", str(int(_LOCK_SECONDS * 1000)))
            await connection.execute(lock, timeout=2 * _LOCK_SECONDS)
            break
        except asyncpg.LockNotAvailableError as error:
            await transaction.rollback()
            if not left:
                raise Unavailable(Reason.BACKEND_UNAVAILABLE, "The projections never came to rest.") from error
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)
    try:
        yield
    except BaseException:
        await transaction.rollback()
        raise
    await transaction.commit()
