"""The real services, without Envoy; and a platform that does what a test tells it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

import oofgg
from tests.integration.conftest import StartServices
from tests.integration.sdk.games import loop_threads
from tests.integration.sdk.script import Platform
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


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    """It fails on command."""
    async with Platform().serve() as serving:
        yield serving


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[oofgg.Client]:
    """Ada, logged in there."""
    async with oofgg.Client(platform.target, timeout=5.0) as opened:
        await opened.login("ada", "secret")
        yield opened


@pytest.fixture
def nothing_remains() -> Iterator[None]:
    """No thread of the blocking SDK is left behind."""
    yield
    assert loop_threads() == []
