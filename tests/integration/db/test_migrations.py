"""Migrations: applied in order and once; a process does not start over a schema that lacks some."""

from __future__ import annotations

import asyncpg
import pytest

from pkg.db.migrations import Migration, MigrationError, migrate, require_migrated
from services.serve import definitions
from tests.integration.conftest import StartServices

FIRST, SECOND = (
    Migration("001_first", "create table one (id int)"),
    Migration("002_second", "create table two (id int)"),
)


async def test_what_is_applied_is_enough_and_nothing_else_is_needed(postgres_url: str) -> None:
    assert await migrate(postgres_url, "spare", [FIRST]) == ["001_first"]
    await require_migrated(postgres_url, "spare", [FIRST])
    await migrate(postgres_url, "spare", [FIRST, SECOND])
    await require_migrated(postgres_url, "spare", [FIRST])


@pytest.mark.parametrize("applied", [[], [FIRST]], ids=["none", "some"])
async def test_a_missing_migration_is_named_with_the_command_that_applies_it(
    postgres_url: str, applied: list[Migration]
) -> None:
    if applied:
        await migrate(postgres_url, "spare", applied)
    with pytest.raises(MigrationError, match=r"002_second.*services migrate spare"):
        await require_migrated(postgres_url, "spare", [FIRST, SECOND])


async def test_a_process_does_not_start_over_a_schema_that_lacks_migrations(
    start_services: StartServices, postgres_url: str
) -> None:
    connection = await asyncpg.connect(postgres_url, timeout=20)
    try:
        await connection.execute("delete from catalog.migration")
    finally:
        await connection.close()
    with pytest.raises(MigrationError, match="the schema catalog lacks the migrations 001_games"):
        await start_services(["catalog"])


def test_every_service_with_a_schema_has_migrations() -> None:
    having = {service.name for service in definitions(["all"]) if service.migrations is not None}
    assert having == {"auth", "catalog", "game", "matchmaking", "scoring"}
