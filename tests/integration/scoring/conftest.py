"""The real services, without Envoy, and everybody logged in, as for the SDK; leaderboards alone, without a wire."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.scoring.boards import Boards, open_boards
from tests.integration.sdk.conftest import stage

__all__ = ["boards", "stage"]


@pytest.fixture
async def boards(postgres_url: str, redis_url: str) -> AsyncIterator[Boards]:
    """Wants `scoring` among a module's `postgres_schemas`."""
    async with open_boards(postgres_url, redis_url) as opened:
        yield opened
