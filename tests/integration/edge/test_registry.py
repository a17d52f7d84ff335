"""The registry in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from pkg.cache.client import open_redis
from pkg.errors import Unavailable
from pkg.registry import store
from pkg.registry.process import Load, Process, Served, State
from pkg.registry.registration import Registration
from pkg.registry.store import Registry
from pkg.testing.addresses import reserve_address
from tests.integration.calls import eventually
from tests.integration.conftest import StartServices
from tests.integration.game.players import Arena


def process(incarnation: str, state: State = State.SERVING) -> Process:
    return Process(incarnation, "node", "10.0.0.1:9000", 5.0, {"game": Served(state, Load(2, 1))})


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    async with open_redis(redis_url) as opened:
        yield opened


async def test_what_is_put_is_read_with_the_time_since(client: redis.Redis) -> None:
    registry = Registry(client)
    assert await registry.read() == []
    await registry.put(process("a"), announce=False)
    (first,) = await registry.read()
    assert first.process == process("a")
    assert 0 <= first.silent_seconds < 5

    async def renewed() -> bool:
        await registry.put(process("a", State.DRAINING), announce=True)
        (later,) = await registry.read()
        assert later.process == process("a", State.DRAINING)
        return later.renewed > first.renewed

    await eventually(renewed)


async def test_others_hear_of_what_is_new_and_of_what_is_announced_and_of_nothing_else(client: redis.Redis) -> None:
    registry = Registry(client)
    changes = registry.changes()
    await changes.wait(5)  # subscribes

    async def heard(within: float) -> bool:
        waiting = asyncio.create_task(changes.wait(60))
        done, _ = await asyncio.wait([waiting], timeout=within)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return bool(done)

    await registry.put(process("a"), announce=False)
    assert await heard(10)
    await registry.put(process("a"), announce=True)
    assert await heard(10)
    await registry.put(process("a"), announce=False)
    assert not await heard(0.3)
    await changes.close()


async def test_entries_that_are_long_silent_are_swept_by_others(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(client)
    await registry.put(process("a"), announce=False)
    monkeypatch.setattr(store, "_SWEEP_MILLISECONDS", 1)

    async def swept() -> bool:
        await registry.put(process("b"), announce=False)
        return [each.process.incarnation for each in await registry.read()] == ["b"]

    await eventually(swept)


async def test_the_registry_is_bounded(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MOST_PROCESSES", 5)
    registry = Registry(client)
    for number in range(12):
        await registry.put(process(f"{number:02}"), announce=False)
    found = {each.process.incarnation for each in await registry.read()}
    assert len(found) == 5
    assert "11" in found


async def test_an_entry_that_nobody_can_read_hides_no_other(client: redis.Redis) -> None:
    registry = Registry(client)
    await registry.put(process("a"), announce=False)
    await client.hset("{registry}:processes", "b", b"\xff not ours")
    await client.zadd("{registry}:seen", {"b": 1, "c": 2})
    assert [each.process for each in await registry.read()] == [process("a")]


async def test_a_redis_that_is_away_is_said_to_be() -> None:
    async with open_redis(f"redis://{reserve_address()}/0") as nobody:
        registry = Registry(nobody)
        for call in (registry.read(), registry.put(process("a"), announce=True), registry.changes().wait(1)):
            with pytest.raises(Unavailable):
                await call


async def test_a_registration_is_renewed_and_left(client: redis.Redis) -> None:
    registry = Registry(client)
    changed = asyncio.Event()
    state = [State.NOT_READY]
    registration = Registration(
        registry, incarnation="a", node="n", address="10.0.0.1:9000", lease_seconds=1.0,
        services=lambda: {"game": Served(state[0])}, changed=changed,
    )  # fmt: skip
    running = asyncio.create_task(registration.run())

    async def is_in(expected: State) -> bool:
        return [each.process.services["game"].state for each in await registry.read()] == [expected]

    await eventually(lambda: is_in(State.NOT_READY))
    state[0] = State.SERVING
    changed.set()
    await eventually(lambda: is_in(State.SERVING))
    await client.flushdb()
    await eventually(lambda: is_in(State.SERVING))
    await registration.leave()
    assert await is_in(State.GONE)
    await asyncio.wait_for(running, 5)


async def test_a_process_registers_what_it_serves_and_what_it_carries(
    start_services: StartServices, client: redis.Redis
) -> None:
    registry = Registry(client)
    running = await start_services(["auth", "catalog"], node="both")

    async def serves(state: State) -> bool:
        found = [each.process for each in await registry.read()]
        return [{name: served.state for name, served in one.services.items()} for one in found] == [
            {"catalog": state, "auth": state}
        ]

    await eventually(lambda: serves(State.SERVING))
    (sighting,) = await registry.read()
    assert (sighting.process.node, sighting.process.address) == ("both", running.settings.grpc_address)
    assert sighting.process.services["auth"].load == Load()
    await running.end()
    assert await serves(State.GONE)


async def test_load_is_what_a_service_carries(start_services: StartServices, client: redis.Redis) -> None:
    registry = Registry(client)
    arena = await Arena.build(await start_services(["auth", "catalog", "game"]))
    ada = await arena.player("ada")
    session = await arena.create(ada, min_seats=2, max_seats=2)
    await arena.join(ada, session.session_id)
    stream = arena.sessions.Play(metadata=ada)  # a call in flight, even before it says anything

    async def carries(load: Load) -> bool:
        (sighting,) = await registry.read()
        return sighting.process.services["game"].load == load

    await eventually(lambda: carries(Load(calls=1, sessions=1)))
    stream.cancel()
    await eventually(lambda: carries(Load(calls=0, sessions=1)))
