"""What edge says to an Envoy: the discovery protocol, spoken by a client that is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc
import pytest
import redis.asyncio as redis

from pkg.cache.client import open_redis
from pkg.internal.v1 import xds_pb2 as pb
from pkg.registry.process import Process, Served, State
from pkg.registry.store import Registry
from pkg.testing.addresses import reserve_address
from services.edge.codec import METHOD, TYPE_URL
from services.edge.subscription import MOST_NAMES
from tests.integration.calls import eventually
from tests.integration.conftest import RunningServices, StartServices

WITHIN = 15.0


def process(incarnation: str, port: int, state: State = State.SERVING, service: str = "game") -> Process:
    # A long lease: nobody renews these entries while a test looks at them.
    return Process(incarnation, f"node-{incarnation}", f"10.0.0.1:{port}", 600.0, {service: Served(state)})


class Client:
    """A stream of discovery."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def ask(self, *names: str, after: pb.DiscoveryResponse | None = None, refused: str = "") -> None:
        request = pb.DiscoveryRequest(type_url=TYPE_URL, resource_names=names, node=pb.XdsNode(id="test"))
        if after is not None:
            request.response_nonce = after.nonce
            if refused:
                request.error_detail.CopyFrom(pb.XdsStatus(code=3, message=refused))
            else:
                request.version_info = after.version_info
        await self.call.write(request)

    async def hear(self) -> tuple[pb.DiscoveryResponse, dict[str, dict[int, str]]]:
        """The next response, and the ports and nodes in it by cluster."""
        async with asyncio.timeout(WITHIN):
            response = await self.call.read()
        assert response is not grpc.aio.EOF, await self.call.code()
        told: dict[str, dict[int, str]] = {}
        for resource in response.resources:
            assignment = pb.ClusterLoadAssignment.FromString(resource.value)
            told[assignment.cluster_name] = {
                each.endpoint.address.socket_address.port_value: (
                    "draining" if each.health_status else str(each.metadata.filter_metadata["envoy.lb"]["node"])
                )
                for place in assignment.endpoints
                for each in place.lb_endpoints
            }
        return response, told

    async def silence(self) -> None:
        """Nothing is said for longer than edge waits between two looks at the registry."""
        listening = asyncio.ensure_future(self.call.read())
        done, _ = await asyncio.wait([listening], timeout=2.0)
        assert not done, listening.result()
        self.call.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@pytest.fixture
async def registry(redis_url: str) -> AsyncIterator[Registry]:
    client: redis.Redis
    async with open_redis(redis_url) as client:
        yield Registry(client)


@pytest.fixture
async def edge(start_services: StartServices) -> RunningServices:
    return await start_services(["edge"], xds_address=reserve_address())


@asynccontextmanager
async def client(edge: RunningServices) -> AsyncIterator[Client]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(edge.settings.xds_address, options=options) as channel:
        method: Any = channel.stream_stream(
            METHOD,
            request_serializer=pb.DiscoveryRequest.SerializeToString,
            response_deserializer=pb.DiscoveryResponse.FromString,
        )
        yield Client(method())


async def metric(edge: RunningServices, line: str) -> float:
    url = f"http://{edge.settings.ops_address}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    return next((float(each.rsplit(" ", 1)[1]) for each in text.splitlines() if each.startswith(line + " ")), -1.0)


async def test_an_envoy_is_told_what_it_asks_for_and_every_change(edge: RunningServices, registry: Registry) -> None:
    await registry.put(process("a", 1), announce=False)
    async with client(edge) as envoy:
        await envoy.ask("game", "auth")
        first, told = await envoy.hear()
        assert told == {"game": {1: "node-a"}}, "of auth nothing is known, so nothing is said"
        await envoy.ask("game", "auth", after=first)
        await registry.put(process("b", 2), announce=False)
        second, told = await envoy.hear()
        assert told == {"game": {1: "node-a", 2: "node-b"}}
        assert (second.nonce, second.version_info) != (first.nonce, first.version_info)
        await envoy.ask("game", "auth", after=second)
        await registry.put(process("b", 2, State.DRAINING), announce=True)
        third, told = await envoy.hear()
        assert told == {"game": {1: "node-a", 2: "draining"}}
        await envoy.ask("game", "auth", after=third)
        await registry.put(process("b", 2, State.GONE), announce=True)
        fourth, told = await envoy.hear()
        assert told == {"game": {1: "node-a"}}
        assert fourth.version_info == first.version_info, "the same state has the same version"
        assert await metric(edge, 'oofgg_edge_endpoints{service="game",state="serving"}') == 1
        assert await metric(edge, "oofgg_edge_envoys") == 1
        assert await metric(edge, "oofgg_edge_pushes_total") == 4

    async def left() -> bool:
        return await metric(edge, "oofgg_edge_envoys") == 0

    await eventually(left)


async def test_several_envoys_hear_the_same_and_one_that_comes_back_hears_all(
    edge: RunningServices, registry: Registry
) -> None:
    await registry.put(process("a", 1), announce=False)
    async with client(edge) as one, client(edge) as two:
        for envoy in (one, two):
            await envoy.ask("game")
            assert (await envoy.hear())[1] == {"game": {1: "node-a"}}
    async with client(edge) as again:
        await again.ask("game", after=pb.DiscoveryResponse(version_info="of long ago"))
        assert (await again.hear())[1] == {"game": {1: "node-a"}}


async def test_a_refusal_is_counted_and_not_answered_with_the_same(edge: RunningServices, registry: Registry) -> None:
    await registry.put(process("a", 1), announce=False)
    async with client(edge) as envoy:
        await envoy.ask("game")
        first, _ = await envoy.hear()
        await envoy.ask("game", after=first, refused="not like this")
        await registry.put(process("a", 2), announce=True)
        assert (await envoy.hear())[1] == {"game": {2: "node-a"}}
        assert await metric(edge, "oofgg_edge_refusals_total") == 1


async def test_a_registry_without_entries_says_nothing(edge: RunningServices) -> None:
    async with client(edge) as envoy:
        await envoy.ask("game")
        await envoy.silence()


async def test_other_kinds_of_resources_are_not_answered(edge: RunningServices, registry: Registry) -> None:
    await registry.put(process("a", 1), announce=False)
    async with client(edge) as envoy:
        kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
        await envoy.call.write(pb.DiscoveryRequest(type_url=kind))
        await envoy.ask("game")
        assert (await envoy.hear())[0].type_url == TYPE_URL


async def test_too_many_names_are_refused(edge: RunningServices) -> None:
    async with client(edge) as envoy:
        await envoy.ask(*map(str, range(MOST_NAMES + 1)))
        async with asyncio.timeout(WITHIN):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await envoy.call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_nothing_else_is_served_at_the_private_port(edge: RunningServices) -> None:
    async with grpc.aio.insecure_channel(edge.settings.xds_address) as channel:
        stub: Any = channel.unary_unary("/grpc.health.v1.Health/Check")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(b"", timeout=WITHIN)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
