"""Who sends more than it may is seen less often, not later, and knows it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable

import pytest

import oofgg
import oofgg.sync
from oofgg.v1 import session_pb2 as pb
from tests.integration.conftest import StartServices
from tests.integration.sdk.stage import Stage, register

RATE = 20.0  # commands a second that a participant may send
INTERVAL = 1 / RATE
OVER = 3  # times that are sent
BURST_SECONDS = 2 * RATE / ((OVER - 1) * RATE)  # until what a burst allows is used up
SECONDS = 2.5  # that are looked at then
# A busy machine adds some; what was wrong added many times as much.
SLACK = 0.15


@pytest.fixture
async def narrow(
    monkeypatch: pytest.MonkeyPatch, start_services: StartServices, random_name: Callable[[str], str]
) -> Stage:
    monkeypatch.setenv("OOFGG_GAME_COMMANDS_PER_SECOND", str(RATE))
    services = await start_services(["auth", "catalog", "game", "scoring"])
    target = services.settings.grpc_address
    async with oofgg.Client(target) as studio:
        await register(studio, random_name("studio"))
        await studio.become_developer()
        game = await studio.games.create("Narrow")
    ada, bob = (oofgg.Client(target, game=game.game_id) for _ in range(2))
    return Stage(services, studio, game, ada, bob)


async def ages(receiver: oofgg.PlaySession, sender: asyncio.Task[None]) -> list[float]:
    """How old each position is when it is received, once the burst is over and while the sender sends."""
    began, found = time.monotonic(), list[float]()
    async for event in receiver:
        if isinstance(event, oofgg.Message) and event.key == "pose":
            now = time.monotonic()
            if now - began > BURST_SECONDS + 0.5:
                found.append(now - event.json())
        if sender.done():
            break
    await sender
    return found


def check(found: list[float]) -> None:
    assert len(found) >= 0.5 * RATE * SECONDS, "it is seen as often as its budget allows"
    assert len(found) <= 1.5 * RATE * (SECONDS + 1)
    assert statistics.median(found) <= INTERVAL + SLACK, found
    assert sorted(found)[9 * len(found) // 10] <= 3 * INTERVAL + 2 * SLACK, found


async def test_at_three_times_its_budget_a_position_is_as_old_as_one_budget_interval_and_the_sender_is_told(
    narrow: Stage, random_name: Callable[[str], str]
) -> None:
    async with asyncio.timeout(30), narrow.ada as ada, narrow.bob as bob:
        await register(ada, random_name("ada"))
        await register(bob, random_name("bob"))
        session = await ada.sessions.create()
        async with ada.play(session) as sending, bob.play(session) as receiving:
            await sending.started()
            assert not sending.throttled
            told = []

            async def send() -> None:
                until = time.monotonic() + BURST_SECONDS + 0.5 + SECONDS
                while time.monotonic() < until:
                    await sending.send(time.monotonic(), delivery=oofgg.Delivery.LATEST, key="pose")
                    told.append(sending.throttled)
                    await asyncio.sleep(INTERVAL / OVER)
                await sending.send("done")

            found = await ages(receiving, asyncio.create_task(send()))
            assert told[0] is False
            # Each time it is told for how long; in between it may send, and is told again.
            assert any(told[len(told) // 2 :])
    check(found)


async def test_a_client_that_does_not_listen_is_seen_as_new(narrow: Stage, random_name: Callable[[str], str]) -> None:
    async with asyncio.timeout(30), narrow.ada as ada, narrow.bob as bob:
        await register(ada, random_name("ada"))
        await register(bob, random_name("bob"))
        session = await ada.sessions.create()
        await ada.sessions.join(session)
        async with bob.play(session) as receiving:
            call = ada.stubs.sessions.Play(metadata=await ada.metadata())
            await call.write(pb.PlayRequest(open=pb.StreamOpen(session_id=session.session_id)))

            async def read() -> None:
                async for response in call:
                    acked[0] = max(acked[0], response.flush)

            async def send() -> None:
                until = time.monotonic() + BURST_SECONDS + 0.5 + SECONDS
                number = 0
                while time.monotonic() < until:
                    number += 1
                    command = pb.Command(
                        number=number,
                        delivery=pb.DELIVERY_CLASS_LATEST,
                        key="pose",
                        payload=str(time.monotonic()).encode(),
                    )
                    await call.write(pb.PlayRequest(commands=[command], ack_flush=acked[0]))
                    await asyncio.sleep(INTERVAL / OVER)
                await call.write(pb.PlayRequest(commands=[pb.Command(number=number + 1, payload=b"0")]))

            acked = [0]
            reader = asyncio.create_task(read())
            found = await ages(receiving, asyncio.create_task(send()))
            call.cancel()
            await asyncio.gather(reader, return_exceptions=True)
    check(found)


async def test_reliable_commands_of_a_throttled_client_all_arrive_in_order(
    narrow: Stage, random_name: Callable[[str], str]
) -> None:
    async with asyncio.timeout(30), narrow.ada as ada, narrow.bob as bob:
        await register(ada, random_name("ada"))
        await register(bob, random_name("bob"))
        session = await ada.sessions.create()
        async with ada.play(session) as sending, bob.play(session) as receiving:
            for number in range(60):
                await sending.send(number, delivery=oofgg.Delivery.LATEST, key="pose")
                await sending.send(number)
                await asyncio.sleep(0)
            seen, told = [], False
            async for event in receiving:
                told = told or sending.throttled
                if isinstance(event, oofgg.Message) and event.seq:
                    seen.append(event.json())
                    if len(seen) == 60:
                        break
            assert seen == list(range(60))
            assert told
