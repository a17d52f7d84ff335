"""What has ended stays ended: on every node, and after a restart of any part, with or without its data.

The services are processes of their own, as an operator starts them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio

from oofgg.v1 import auth_pb2, auth_pb2_grpc, game_pb2, game_pb2_grpc
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error
from tests.integration.calls import bearer, register
from tests.processes import Running, Stage, wait_ready

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_GAME = "00000000-0000-7000-8000-000000000000"
# The promise is a second; for a machine on which everything runs at once, more.
WITHIN = 10.0


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """`auth` and `catalog` in one process, two more of `catalog`."""
    running = Stage()
    try:
        running.base = running.serve("auth", "catalog", node="base", argon2_memory_kib="64", argon2_time="1",
                                     migrate="true")  # fmt: skip
        wait_ready(running.base)
        for node in ("one", "two"):
            running.serve("catalog", node=node)
        wait_ready(*running.running)
        yield running
    finally:
        running.close()


@dataclass
class Nodes:
    """Every process, asked whether it lets a token in."""

    auth: Any
    catalogs: dict[str, Any]

    async def refusals(self, token: str) -> dict[str, Reason]:
        """What each says to the token; none that lets it in."""
        found: dict[str, Reason] = {}
        for node, catalog in self.catalogs.items():
            call = catalog.GetGame(game_pb2.GetGameRequest(game_id=NO_GAME), metadata=bearer(token), timeout=10)
            try:
                await call
            except grpc.aio.AioRpcError as error:
                reason = from_rpc_error(error).reason
                if reason is not Reason.GAME_NOT_FOUND:
                    found[node] = reason
        return found

    async def until_all_refuse(self, token: str) -> None:
        expected = dict.fromkeys(self.catalogs, Reason.TOKEN_REVOKED)
        async with asyncio.timeout(WITHIN):
            while await self.refusals(token) != expected:
                await asyncio.sleep(0.02)

    async def new_login(self, name: str) -> str:
        token = (await register(self.auth, name)).access_token
        assert await self.refusals(token) == {}
        return token

    async def log_out(self, token: str) -> None:
        await self.auth.Logout(auth_pb2.LogoutRequest(), metadata=bearer(token), timeout=10)


@pytest_asyncio.fixture(loop_scope="module")
async def nodes(stage: Stage) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        channels = {}
        for process in stage.running:
            options = [("grpc.use_local_subchannel_pool", 1)]
            channels[process.name] = await stack.enter_async_context(
                grpc.aio.insecure_channel(process.grpc_address, options=options)
            )
        yield Nodes(
            auth_pb2_grpc.AuthServiceStub(channels["base"]),
            {name: game_pb2_grpc.GameServiceStub(channel) for name, channel in channels.items()},
        )


async def assert_standing(nodes: Nodes, revoked: str, valid: str) -> None:
    assert await nodes.refusals(revoked) == dict.fromkeys(nodes.catalogs, Reason.TOKEN_REVOKED)
    assert await nodes.refusals(valid) == {}


async def until_ready(*processes: Running) -> None:
    await asyncio.to_thread(wait_ready, *processes)


async def test_every_node_hears_of_it(nodes: Nodes) -> None:
    gone, kept = await nodes.new_login("everywhere"), await nodes.new_login("kept")
    await nodes.log_out(gone)
    await nodes.until_all_refuse(gone)
    assert await nodes.refusals(kept) == {}


async def test_a_node_that_was_killed_knows_it_before_it_serves(stage: Stage, nodes: Nodes) -> None:
    gone, kept = await nodes.new_login("before"), await nodes.new_login("after")
    await nodes.log_out(gone)
    await nodes.until_all_refuse(gone)
    (old,) = [process for process in stage.running if process.name == "two"]
    await asyncio.to_thread(old.kill)
    stage.running.remove(old)
    new = await asyncio.to_thread(stage.serve, "catalog", node="two")
    await until_ready(new)
    async with grpc.aio.insecure_channel(new.grpc_address) as channel:
        fresh = Nodes(nodes.auth, {"two": game_pb2_grpc.GameServiceStub(channel)})
        await assert_standing(fresh, gone, kept)


@pytest.mark.parametrize("without_data", [False, True], ids=["with its data", "without its data"])
async def test_redis_goes_and_comes_back(stage: Stage, nodes: Nodes, without_data: bool) -> None:
    gone, kept = await nodes.new_login(f"lost-{without_data}"), await nodes.new_login(f"kept-{without_data}")
    await nodes.log_out(gone)
    await nodes.until_all_refuse(gone)
    await asyncio.to_thread(stage.restart_valkey, without_data=without_data)
    await until_ready(*stage.running)
    await assert_standing(nodes, gone, kept)
    # A node that begins after that has nothing but what Redis holds.
    late = await asyncio.to_thread(stage.serve, "catalog", node=f"late-{without_data}")
    try:
        await until_ready(late)
        async with grpc.aio.insecure_channel(late.grpc_address) as channel:
            fresh = Nodes(nodes.auth, {"late": game_pb2_grpc.GameServiceStub(channel)})
            await assert_standing(fresh, gone, kept)
    finally:
        await asyncio.to_thread(late.stop)
        stage.running.remove(late)
    # And what is ended from now on is heard of as before.
    await nodes.log_out(kept)
    await nodes.until_all_refuse(kept)


async def test_what_is_ended_while_redis_is_away_is_heard_of_after(stage: Stage, nodes: Nodes) -> None:
    gone = await nodes.new_login("meanwhile")
    await asyncio.to_thread(stage.valkey.stop)
    await nodes.log_out(gone)
    await asyncio.to_thread(stage.restart_valkey, without_data=True)
    await nodes.until_all_refuse(gone)
    await until_ready(*stage.running)


async def test_all_that_serves_is_restarted(stage: Stage, nodes: Nodes) -> None:
    gone, kept = await nodes.new_login("long-ago"), await nodes.new_login("still-here")
    await nodes.log_out(gone)
    await nodes.until_all_refuse(gone)
    for process in list(stage.running):
        await asyncio.to_thread(process.kill)
        stage.running.remove(process)
    await asyncio.to_thread(stage.restart_valkey, without_data=True)
    stage.base = None
    base = await asyncio.to_thread(stage.serve, "auth", "catalog", node="base")
    stage.base = base
    one = await asyncio.to_thread(stage.serve, "catalog", node="one")
    await until_ready(base, one)
    async with (
        grpc.aio.insecure_channel(base.grpc_address) as first,
        grpc.aio.insecure_channel(one.grpc_address) as second,
    ):
        catalogs = {"base": game_pb2_grpc.GameServiceStub(first), "one": game_pb2_grpc.GameServiceStub(second)}
        await assert_standing(Nodes(auth_pb2_grpc.AuthServiceStub(first), catalogs), gone, kept)
