"""An outbox of its own per test, and a broker of its own where a test harms it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pkg.db.database import Database, open_database
from pkg.db.migrations import migrate
from pkg.embedded import Options, Platform
from tests.integration.events.outboxes import OUTBOX


@pytest.fixture
def postgres_schemas() -> tuple[str, ...]:
    return ()


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    await migrate(postgres_url, "owner", [OUTBOX])
    async with open_database(postgres_url, "owner", size=8) as opened:
        yield opened


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Platform]:
    """A broker that this test may kill; its supervisor brings it back."""
    platform = Platform(Options(tmp_path / "broker", backends=("kafka",), environment={"PATH": os.environ["PATH"]}))
    platform.start()
    yield platform
    platform.stop()
