"""`python -m services restore FILE`: goes back to a backup. The platform must be stopped.

What was there before is kept, as database `before_restore`, until the next restore.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import asyncpg

from pkg.embedded import EmbeddedError
from services.backup import BackupError, Server, arguments_of, own_server

KEPT = "before_restore"
UNFINISHED = "unfinished_restore"
MAINTENANCE = "postgres"
CONNECT_SECONDS = 10.0
STATEMENT_SECONDS = 300.0


def run(arguments: list[str]) -> int:
    """Restores. 0 when all of the backup is in place; 1 otherwise, and then the data is what it was."""
    told = arguments_of("restore", __doc__, arguments)
    try:
        with own_server(told.data_dir) as server:
            asyncio.run(restore(server, told.file))
    except (BackupError, EmbeddedError, OSError, asyncpg.PostgresError) as error:
        print(f"nothing was restored: {error}", file=sys.stderr)
        return 1
    print(f"{told.file} is restored; what was there before is database {KEPT}")
    return 0


async def restore(server: Server, file: Path) -> None:
    """Reads the backup into a new database and then puts that into the place of the old one.

    Raises BackupError when the file is not a complete backup, asyncpg.ObjectInUseError when somebody is connected.
    """
    connection: asyncpg.Connection[Any] = await asyncpg.connect(
        server.url, database=MAINTENANCE, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS
    )
    try:
        await connection.execute(f"drop database if exists {UNFINISHED}")
        await connection.execute(f"create database {UNFINISHED}")
        # Ours is the only connection to the server here, and nobody else's call waits for this loop.
        server.run("pg_restore", ["--exit-on-error", "--no-owner", file], UNFINISHED)
        await connection.execute(f"drop database if exists {KEPT}")
        async with connection.transaction():
            await connection.execute(f'alter database "{server.database}" rename to {KEPT}')
            await connection.execute(f'alter database {UNFINISHED} rename to "{server.database}"')
    except BackupError:
        await connection.execute(f"drop database if exists {UNFINISHED}")
        raise
    finally:
        await connection.close(timeout=CONNECT_SECONDS)
