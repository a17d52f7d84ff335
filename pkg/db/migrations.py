"""Ordered SQL files, applied once each, in one transaction, by one process at a time.

`services/<name>/migrations/001_what_it_does.sql` runs with the service's schema as search path. An applied file must
not change: its checksum is kept, and a difference stops the process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from pkg.telemetry.logs import get_logger

_log = get_logger(__name__)

# Any constant shared by all our processes: the key of the advisory lock held while migrating.
_LOCK = 0x6F6F_6667_67
_CONNECT_SECONDS = 10.0
_MIGRATION_SECONDS = 600.0


class MigrationError(Exception):
    """A migration that was applied has changed, or is missing."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path) -> list[Migration]:
    """The migrations of a service, in order."""
    return [Migration(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[0-9]*.sql"))]


async def require_migrated(url: str, schema: str, migrations: list[Migration]) -> None:
    """Raises MigrationError when the schema lacks one of these migrations, and says how to apply them.

    Others may be there: services of the version before go on while a newer one has migrated already.
    """
    connection: asyncpg.Connection[Any] = await asyncpg.connect(
        url, timeout=_CONNECT_SECONDS, command_timeout=_CONNECT_SECONDS
    )
    try:
        there = await connection.fetchval("select to_regclass($1)", f'"{schema}".migration')
        rows = await connection.fetch(f'select name from "{schema}".migration') if there else []  # noqa: S608
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)
    applied = {row["name"] for row in rows}
    if missing := [migration.name for migration in migrations if migration.name not in applied]:
        raise MigrationError(
            f"the schema {schema} lacks the migrations {', '.join(missing)}: "
            f"run `python -m services migrate {schema}` first, or serve with --migrate"
        )


async def migrate(url: str, schema: str, migrations: list[Migration]) -> list[str]:
    """Brings a schema up to date and returns the names of what was applied.

    Raises MigrationError when an applied migration differs from its file.
    """
    connection: asyncpg.Connection[Any] = await asyncpg.connect(
        url, timeout=_CONNECT_SECONDS, command_timeout=_MIGRATION_SECONDS
    )
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute(f'create schema if not exists "{schema}"')
            await connection.execute(f'set local search_path = "{schema}"')
            await connection.execute(
                "create table if not exists migration ("
                "name text primary key, checksum text not null, apply_time timestamptz not null default now())"
            )
            applied = {
                row["name"]: row["checksum"] for row in await connection.fetch("select name, checksum from migration")
            }
            if changed := [m.name for m in migrations if applied.get(m.name, m.checksum) != m.checksum]:
                raise MigrationError(f"{schema}: applied migrations have changed: {', '.join(changed)}")
            done = []
            for migration in migrations:
                if migration.name not in applied:
                    await connection.execute(migration.sql)
                    await connection.execute(
                        "insert into migration (name, checksum) values ($1, $2)", migration.name, migration.checksum
                    )
                    done.append(migration.name)
            if done:
                _log.info("migrated", schema=schema, applied=done)
            return done
    finally:
        await connection.close(timeout=_CONNECT_SECONDS)
