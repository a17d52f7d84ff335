"""A game's own server, with an API key, through Envoy: it watches any session of its game, and judges it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

import oofgg
from oofgg import errors
from tests.e2e.matches import PASSWORD, name_of, register

PATIENCE = 20.0


@dataclass
class House:
    """A game with its server, and two players."""

    studio: oofgg.Client
    server: oofgg.Client
    ada: oofgg.Client
    bob: oofgg.Client


@pytest.fixture
async def house(envoy: str) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        studio = await stack.enter_async_context(oofgg.Client(envoy))
        await register(studio, "studio")
        await studio.become_developer()
        game = await studio.games.create(name_of("judged"))
        studio.game = game.game_id
        key = await studio.games.create_api_key("judge")
        server = await stack.enter_async_context(oofgg.Client(envoy, api_key=key.api_key))
        players = []
        for name in ("ada", "bob"):
            client = await stack.enter_async_context(oofgg.Client(envoy, game=game.game_id))
            await register(client, name)
            players.append(client)
        yield House(studio, server, players[0], players[1])


async def messages(session: oofgg.PlaySession, count: int) -> list[tuple[str, tuple[int, ...]]]:
    found = []
    async for event in session:
        if isinstance(event, oofgg.Message):
            found.append((event.text(), tuple(event.to)))
            if len(found) == count:
                break
    return found


async def test_a_server_with_an_api_key_sees_all_events_of_a_session_that_has_no_spectators(house: House) -> None:
    session = await house.ada.sessions.create()
    assert session.max_spectators == 0
    async with (
        asyncio.timeout(PATIENCE),
        house.ada.play(session) as ada,
        house.bob.play(session) as bob,
        house.server.spectate(session) as watched,
        house.server.spectate(session) as watched_again,
        house.studio.spectate(session) as by_the_developer,
    ):
        assert watched.seat == 0
        await ada.started()
        await ada.send("to all")
        await ada.send("to myself alone", to=ada.seat)
        await ada.flush()
        await bob.send("a position for ada", delivery=oofgg.Delivery.LATEST, key="pose", to=ada.seat)
        expected = [("to all", ()), ("to myself alone", (ada.seat,)), ("a position for ada", (ada.seat,))]
        for view in (watched, watched_again, by_the_developer):
            assert await messages(view, 3) == expected
        assert watched.info.seats.keys() == {1, 2}
        with pytest.raises(RuntimeError, match="a spectator cannot send"):
            await watched.send("x")


async def test_a_server_judges_from_what_it_has_watched(house: House) -> None:
    session = await house.ada.sessions.create()
    async with (
        asyncio.timeout(PATIENCE),
        house.ada.play(session) as ada,
        house.bob.play(session) as bob,
        house.server.spectate(session) as watched,
    ):
        await ada.send(3)
        await bob.send(5)
        points: dict[int, int] = {}
        async for event in watched:
            if isinstance(event, oofgg.Message):
                points[event.seat] = event.json()
                if len(points) == 2:
                    best = max(points.values())
                    places = {seat: 1 if point == best else 2 for seat, point in points.items()}
                    await house.server.sessions.finish(session, places, scores=points)
        assert watched.info.result_state is oofgg.ResultState.STATED
    assert {place.seat: place.placement for place in watched.info.result} == {ada.seat: 2, bob.seat: 1}


async def test_nobody_else_watches_a_session_that_has_no_spectators(envoy: str, house: House) -> None:
    session = await house.ada.sessions.create()
    with pytest.raises(errors.FailedPrecondition, match="no spectators"):
        async with house.bob.spectate(session):
            pass
    async with oofgg.Client(envoy) as stranger:
        await register(stranger, "stranger")
        await stranger.become_developer()
        other = await stranger.games.create(name_of("other"))
        key = await stranger.games.create_api_key("judge", game_id=other.game_id)
        async with oofgg.Client(envoy, api_key=key.api_key) as server:
            with pytest.raises(errors.PermissionDenied) as caught:
                async with server.spectate(session):
                    pass
        assert caught.value.reason is oofgg.Reason.WRONG_GAME
        with pytest.raises(errors.PermissionDenied):
            async with stranger.spectate(session):
                pass


async def test_the_developer_may_play_while_its_server_watches(envoy: str, house: House) -> None:
    account = await house.studio.account()
    async with oofgg.Client(envoy, game=house.studio.game) as player:
        await player.login(account.username, PASSWORD)
        session = await player.sessions.create()
        async with asyncio.timeout(PATIENCE), player.play(session) as mine, house.server.spectate(session) as watched:
            await mine.send("hello")
            assert await messages(watched, 1) == [("hello", ())]
            assert await messages(mine, 1) == [("hello", ())]
