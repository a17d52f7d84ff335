"""An outbox of its own per test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pkg.db.database import Database, open_database
from pkg.db.migrations import migrate
from tests.integration.events.outboxes import OUTBOX


@pytest.fixture
def postgres_schemas() -> tuple[str, ...]:
    return ()


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    await migrate(postgres_url, "owner", [OUTBOX])
    async with open_database(postgres_url, "owner", size=8) as opened:
        yield opened
