"""Streams through a real Envoy while edge changes its mind about their backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from envoy.render import Address
from envoy.routes import CLUSTERS
from oofgg.v1 import auth_pb2
from pkg.cache.client import open_redis
from pkg.registry.process import Process, Served, State
from pkg.registry.store import Registry
from pkg.testing.addresses import reserve_address
from tests.integration.calls import eventually
from tests.integration.conftest import StartServices
from tests.integration.envoy.stage import VALIDATE, Backend, Door, Signer, backend, door, inputs

PLAY = "/oofgg.v1.SessionService/Play"
SEND = "/oofgg.v1.SessionService/Send"
WITHIN = 15.0


@dataclass
class Scene:
    """Two backends that serve everything, as the registry has them, and an Envoy."""

    registry: Registry
    door: Door
    signer: Signer
    backends: dict[str, Backend] = field(default_factory=dict)

    async def say(self, node: str, state: State) -> None:
        await self.registry.put(entry(node, self.backends[node], state), announce=True)

    def metadata(self, node: str = "") -> Any:
        return (*self.signer.bearer(), *((("x-oofgg-node", node),) if node else ()))

    async def takers(self, node: str = "", calls: int = 12) -> set[str]:
        """Who takes calls now."""
        before = {name: len(each.arrivals) for name, each in self.backends.items()}
        for _ in range(calls):
            await self.door.call(SEND, metadata=self.metadata(node))
        return {name for name, each in self.backends.items() if len(each.arrivals) > before[name]}


def entry(node: str, stand_in: Backend, state: State) -> Process:
    services = dict.fromkeys(sorted(set(CLUSTERS.values())), Served(state))
    # A long lease: nobody renews these entries.
    return Process(f"of-{node}", node, f"127.0.0.1:{stand_in.port}", 600.0, services)


@pytest.fixture
async def scene(start_services: StartServices, redis_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        registry = Registry(await stack.enter_async_context(open_redis(redis_url)))
        backends = {node: await stack.enter_async_context(backend()) for node in ("a", "b")}
        for node, stand_in in backends.items():
            stand_in.responses[VALIDATE] = auth_pb2.ValidateTokenResponse().SerializeToString()
            await registry.put(entry(node, stand_in, State.SERVING), announce=True)
        edge = await start_services(["edge"], xds_address=reserve_address())
        signer = Signer()
        jwks_port = await stack.enter_async_context(signer.serve())
        chosen = inputs(
            0, jwks_port, clusters={}, edge=Address.parse(edge.settings.xds_address), lift_limits_on_loopback=True
        )
        opened = await stack.enter_async_context(door(chosen, tmp_path))
        yield Scene(registry, opened, signer, backends)


class Echo:
    """A stream on one of the backends."""

    def __init__(self, scene: Scene, node: str) -> None:
        method: Any = scene.door.channel.stream_stream(PLAY)
        self._call = method(metadata=scene.metadata(node))

    async def works(self) -> bool:
        async with asyncio.timeout(WITHIN):
            await self._call.write(b"\x0a\x00")
            return bool(await self._call.read() == b"\x0a\x00")

    def end(self) -> None:
        self._call.cancel()


async def test_streams_live_on_while_their_backend_drains_and_after_it_has_left(scene: Scene) -> None:
    assert await scene.takers() == {"a", "b"}
    assert await scene.takers("a") == {"a"}
    stream = Echo(scene, "a")
    assert await stream.works()

    await scene.say("a", State.DRAINING)

    async def only_b() -> bool:
        return await scene.takers() == {"b"}

    await eventually(only_b, within=WITHIN)
    assert await scene.takers("a") == {"b"}, "a wish for one that drains falls back to any"
    assert await stream.works()

    await scene.say("a", State.GONE)

    async def removed() -> bool:
        async with scene.door.http.get(f"http://{scene.door.admin}/clusters") as response:
            return f"game::127.0.0.1:{scene.backends['a'].port}" not in await response.text()

    await eventually(removed, within=WITHIN)
    assert await scene.takers() == {"b"}
    assert await stream.works()
    stream.end()


async def test_an_entry_that_envoy_would_refuse_does_not_reach_it(scene: Scene) -> None:
    broken = Process("x", "x", "not-an-address:1", 600.0, {"game": Served(State.SERVING)})
    await scene.registry.put(broken, announce=True)
    await scene.say("b", State.DRAINING)

    async def only_a() -> bool:
        return await scene.takers() == {"a"}

    await eventually(only_a, within=WITHIN)
    async with scene.door.http.get(f"http://{scene.door.admin}/stats?filter=update_rejected") as response:
        counters = dict(line.split(": ") for line in (await response.text()).splitlines())
    assert counters["cluster.game.update_rejected"] == "0"


async def test_a_node_that_comes_back_takes_its_calls_again(scene: Scene) -> None:
    await scene.say("a", State.DRAINING)

    async def falls_back() -> bool:
        return await scene.takers("a") == {"b"}

    async def is_back() -> bool:
        return await scene.takers("a") == {"a"}

    await eventually(falls_back, within=WITHIN)
    await scene.say("a", State.SERVING)
    await eventually(is_back, within=WITHIN)
