"""Processes come, drain, die and come back, and calls through Envoy find those that serve."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import grpc
import pytest

import oofgg
from oofgg.v1 import session_pb2 as pb
from oofgg.v1 import session_pb2_grpc
from tests.e2e.callers import Metadata, make_cast
from tests.e2e.matches import register
from tests.integration.edge.conftest import GAMES
from tests.processes import Running, Stage, wait_ready

pytestmark = pytest.mark.timeout(180)

PATIENCE = 30.0


@dataclass
class Player:
    """Somebody who makes calls: each tells the node that took it."""

    sessions: Any
    game_id: str
    metadata: Metadata

    async def lands(self, node: str = "") -> str:
        """The node that takes a call, with a wish for one in the header."""
        wish = (("x-oofgg-node", node),) if node else ()
        call = self.sessions.ListSessions(
            pb.ListSessionsRequest(game_id=self.game_id, page_size=1), metadata=(*self.metadata, *wish), timeout=10
        )
        await call
        return str(dict(await call.initial_metadata())["x-oofgg-node"])

    async def reaches(self, node: str) -> str:
        """The same; empty when the named node is there and cannot serve, now or any more."""
        try:
            return await self.lands(node)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return ""

    async def create(self) -> pb.CreateSessionResponse:
        """A session for two."""
        request = pb.CreateSessionRequest(game_id=self.game_id, min_seats=2, max_seats=2)
        answer: pb.CreateSessionResponse = await self.sessions.CreateSession(
            request, metadata=self.metadata, timeout=10
        )
        return answer

    async def create_on(self, node: str) -> pb.CreateSessionResponse:
        """The same, on one node: which has the fewest sessions before long."""
        while (answer := await self.create()).placement.node != node:
            pass
        return answer


@pytest.fixture
async def player(stage: Stage) -> AsyncIterator[Player]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(stage.envoy_address, options=options) as channel:
        cast = await make_cast(channel)
        yield Player(session_pb2_grpc.SessionServiceStub(channel), cast.game_id, cast.player)


async def until(condition: Callable[[], Awaitable[bool]], what: str, within: float = PATIENCE) -> float:
    """Seconds until the condition held."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() < began + within, f"not within {within:.0f} s: {what}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def healthy(stage: Stage, expected: set[str]) -> None:
    async def seen() -> bool:
        return await asyncio.to_thread(stage.healthy, "game") == expected

    await until(seen, f"Envoy sends calls to {expected}")


def addresses(stage: Stage, *nodes: str) -> set[str]:
    return {each.grpc_address for each in stage.running if each.name in nodes and each.process.poll() is None}


@contextmanager
def another(stage: Stage, node: str, **settings: str) -> Iterator[Running]:
    """One more game, ended with the test."""
    started = stage.serve("game", node=node, **settings)
    try:
        yield started
    finally:
        started.stop()
        stage.running.remove(started)


async def landings(player: Player, calls: int, node: str = "") -> list[str]:
    return [await player.lands(node) for _ in range(calls)]


async def test_a_call_goes_to_the_node_it_names_and_without_one_that_is_there_to_any(player: Player) -> None:
    for node in GAMES:
        assert set(await landings(player, 10, node)) == {node}
    assert set(await landings(player, 60)) == set(GAMES)
    assert set(await landings(player, 60, "nobody")) == set(GAMES)


async def test_a_new_process_takes_calls_and_one_that_stops_takes_none(stage: Stage, player: Player) -> None:
    with another(stage, "game-new", drain_notice_seconds="1") as new:
        await asyncio.to_thread(wait_ready, new)

        async def landed() -> bool:
            return "game-new" in await landings(player, 3)

        seconds = await until(landed, "a call on the new process", 10.0)
        print(f"a new process takes calls {seconds:.2f} s after it is ready")
        assert set(await landings(player, 5, "game-new")) == {"game-new"}

        new.send(signal.SIGTERM)
        began = time.monotonic()

        async def forgotten() -> bool:
            return new.grpc_address not in await asyncio.to_thread(stage.healthy, "game")

        await until(forgotten, "Envoy leaves the draining process alone")
        print(f"a draining process takes no calls {time.monotonic() - began:.2f} s after its signal")
        assert "game-new" not in {*await landings(player, 30), *await landings(player, 30, "game-new")}
    await healthy(stage, addresses(stage, *GAMES))


async def test_a_killed_process_is_left_out(stage: Stage, player: Player) -> None:
    with another(stage, "game-doomed") as doomed:
        await asyncio.to_thread(wait_ready, doomed)
        await healthy(stage, addresses(stage, *GAMES, "game-doomed"))
        assert await player.lands("game-doomed") == "game-doomed"
        doomed.kill()
        began = time.monotonic()
        calls = 0
        while time.monotonic() < began + 3:  # Envoy still believes in it for a part of this time
            assert await player.lands() in GAMES
            calls += 1

        async def falls_back() -> bool:
            return await player.reaches("game-doomed") in GAMES

        await until(falls_back, "a call that names the dead process finds another")
        print(f"{calls} calls around a death, none failed; its name is free {time.monotonic() - began:.2f} s after it")


async def test_a_dead_edge_changes_nothing_and_comes_back(stage: Stage, player: Player) -> None:
    (edge,) = [each for each in stage.running if each.name == "edge"]
    edge.kill()
    stage.running.remove(edge)
    assert set(await landings(player, 60)) == set(GAMES)
    for node in GAMES:
        assert await player.lands(node) == node
    with another(stage, "game-unseen") as unseen:
        await asyncio.to_thread(wait_ready, unseen)
        assert "game-unseen" not in set(await landings(player, 30))
        edge = await asyncio.to_thread(stage.serve, "edge", node="edge")
        await asyncio.to_thread(wait_ready, edge)

        async def landed() -> bool:
            assert await player.lands() in {*GAMES, "game-unseen"}
            return await player.reaches("game-unseen") == "game-unseen"

        seconds = await until(landed, "edge tells what happened while it was dead")
        print(f"a restarted edge is heard {seconds:.2f} s after it is ready")


@pytest.mark.parametrize("without_data", [False, True], ids=["with its data", "without its data"])
async def test_redis_away_and_back_changes_nothing(stage: Stage, player: Player, without_data: bool) -> None:
    expected = addresses(stage, *GAMES)

    async def only_these() -> bool:
        return (await asyncio.to_thread(stage.hosts, "game")).keys() == expected

    await until(only_these, "Envoy has forgotten what earlier tests have ended")
    seen: set[frozenset[str]] = set()
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            seen.add(frozenset(await asyncio.to_thread(stage.hosts, "game")))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    await asyncio.to_thread(stage.restart_valkey, without_data=without_data)

    async def lands() -> bool:
        try:
            return {await player.lands(node) for node in GAMES} == set(GAMES)
        except grpc.aio.AioRpcError:  # sessions are kept in Redis: without it there are none
            return False

    await until(lands, "sessions can be made on every node again")
    await asyncio.sleep(7)  # longer than a lease: what Redis had forgotten would be missing by now
    done.set()
    await watching
    assert seen == {frozenset(expected)}


async def test_an_envoy_that_starts_without_edge_serves_as_soon_as_there_is_one(stage: Stage) -> None:
    (edge,) = [each for each in stage.running if each.name == "edge"]
    (envoy,) = [each for each in stage.running if each.name == "envoy"]
    login = f"http://{stage.envoy_address}/v1/auth/login"
    for each in (edge, envoy):
        await asyncio.to_thread(each.stop)
        stage.running.remove(each)
    await asyncio.to_thread(stage.open_envoy)

    async def refuses() -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.post(login, json={}) as response:
                document = await response.json()
        except aiohttp.ClientConnectionError:  # its port is not open yet
            return False
        assert (response.status, document["details"][0]["reason"]) == (503, "BACKEND_UNAVAILABLE")
        return True

    await until(refuses, "Envoy opens its port and says that nobody is there")
    edge = await asyncio.to_thread(stage.serve, "edge", node="edge")
    await asyncio.to_thread(wait_ready, edge)
    began = time.monotonic()
    await healthy(stage, addresses(stage, *GAMES))
    print(f"an Envoy without endpoints has them {time.monotonic() - began:.2f} s after edge is ready")


async def test_players_go_on_when_the_node_of_their_session_is_killed(stage: Stage, player: Player) -> None:
    with another(stage, "game-owner") as owner:
        await asyncio.to_thread(wait_ready, owner)
        await healthy(stage, addresses(stage, *GAMES, "game-owner"))
        made = await player.create_on("game-owner")
        assert made.placement.node == "game-owner"
        async with (
            oofgg.Client(stage.envoy_address, game=player.game_id) as ada,
            oofgg.Client(stage.envoy_address, game=player.game_id) as bob,
        ):
            for client, name in ((ada, "ada"), (bob, "bob")):
                await register(client, name)
            session_id = made.session.session_id
            async with ada.play(session_id) as left, bob.play(session_id) as right, asyncio.timeout(60):
                await left.send({"move": 1})
                assert await said(right) == {"move": 1}
                owner.kill()
                began = time.monotonic()
                await left.send({"move": 2})
                assert await said(right) == {"move": 2}
                print(f"players go on {time.monotonic() - began:.2f} s after the death of their node")
                assert (await ada.sessions.get(session_id)).session_id == session_id


async def said(stream: oofgg.PlaySession) -> object:
    """What the next message says."""
    async for event in stream:
        if isinstance(event, oofgg.Message):
            return event.json()
    raise AssertionError("the stream has ended")
