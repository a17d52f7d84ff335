"""Fixtures with a running game."""

from __future__ import annotations

import pytest

from tests.integration.conftest import StartServices
from tests.integration.game.players import Arena

SERVICES = ["auth", "catalog", "game"]


@pytest.fixture
async def arena(start_services: StartServices) -> Arena:
    return await Arena.build(await start_services(SERVICES))
