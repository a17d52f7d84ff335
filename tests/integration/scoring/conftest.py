"""The real services, without Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

import oofgg
from tests.integration.conftest import StartServices
from tests.integration.sdk.stage import Stage, register


@pytest.fixture
async def stage(start_services: StartServices, random_name: Callable[[str], str]) -> AsyncIterator[Stage]:
    services = await start_services(["auth", "catalog", "game", "scoring"])
    target = services.settings.grpc_address
    async with AsyncExitStack() as stack:
        studio = await stack.enter_async_context(oofgg.Client(target))
        await register(studio, random_name("studio"))
        await studio.become_developer()
        game = await studio.games.create("Duel")
        ada = await stack.enter_async_context(oofgg.Client(target, game=game.game_id))
        bob = await stack.enter_async_context(oofgg.Client(target, game=game.game_id))
        await register(ada, random_name("ada"))
        await register(bob, random_name("bob"))
        yield Stage(services, studio, game, ada, bob)
