"""How a match ends for those who play it: leaving, being replaced, and results about who has left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from oofgg.v1 import session_pb2
from tests.integration.sdk.stage import PASSWORD, Stage, register

PATIENCE = 15.0


@pytest.fixture
async def name(stage: Stage, random_name: Callable[[str], str]) -> str:
    """A player who has two devices."""
    chosen = random_name("eve")
    async with oofgg.Client(stage.target, game=stage.game.game_id) as client:
        await register(client, chosen)
    return chosen


@pytest.fixture
async def devices(stage: Stage, name: str) -> AsyncIterator[tuple[oofgg.Client, oofgg.Client]]:
    """Both, logged in."""
    game = stage.game.game_id
    async with oofgg.Client(stage.target, game=game) as old, oofgg.Client(stage.target, game=game) as new:
        await old.login(name, PASSWORD)
        await new.login(name, PASSWORD)
        yield old, new


async def test_a_replaced_device_that_leaves_does_not_give_up_the_seat_of_the_new_one(
    stage: Stage, devices: tuple[oofgg.Client, oofgg.Client]
) -> None:
    old, new = devices
    session = await stage.ada.sessions.create()
    async with asyncio.timeout(PATIENCE), stage.ada.play(session) as ada, old.play(session) as first:
        await first.started()
        async with new.play(session) as second:
            left: list[bool] = []

            async def main_loop() -> None:
                try:
                    async for _ in first:
                        pass
                finally:
                    left.append(await first.leave())

            with pytest.raises(errors.Aborted) as caught:
                await main_loop()
            assert caught.value.reason is oofgg.Reason.REPLACED
            assert left == [False], "it says that there was nothing to give up"
            # As it would be if the device had not heard yet: the server refuses.
            request = session_pb2.LeaveRequest(session_id=session.session_id, instance_id=first._instance_id)
            with pytest.raises(errors.Aborted) as refused:
                await old._caller.call(old.stubs.sessions.Leave, request, node=session.node)
            assert refused.value.reason is oofgg.Reason.REPLACED
            await second.send("still here")
            async for event in ada:
                assert not isinstance(event, oofgg.Presence) or event.change is not oofgg.PresenceChange.LEFT
                if isinstance(event, oofgg.Message):
                    break
            assert await second.leave() is True
            async for event in ada:
                if isinstance(event, oofgg.Presence) and event.change is oofgg.PresenceChange.LEFT:
                    break
            assert await second.leave() is False


async def test_a_replaced_blocking_device_that_leaves_does_not_give_up_the_seat_either(
    stage: Stage, name: str, devices: tuple[oofgg.Client, oofgg.Client]
) -> None:
    _, new = devices
    session = await stage.ada.sessions.create()

    def first_device(replaced: Callable[[], object]) -> bool:
        with oofgg.sync.Client(stage.target, game=stage.game.game_id) as client:
            client.login(name, PASSWORD)
            with client.play(session) as playing:
                playing.started(PATIENCE)
                replaced()
                with pytest.raises(errors.Aborted):
                    list(playing)
                return playing.leave()

    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE), stage.ada.play(session):
        device = asyncio.create_task(asyncio.to_thread(first_device, lambda: loop.call_soon_threadsafe(started.set)))
        await started.wait()
        async with new.play(session) as second:
            assert await device is False
            assert second.seat in (await stage.ada.sessions.get(session.session_id)).seats


async def test_send_and_leave_at_the_end_of_a_match_do_nothing_and_say_so(stage: Stage) -> None:
    session = await stage.ada.sessions.create()
    async with asyncio.timeout(PATIENCE), stage.ada.play(session) as ada, stage.bob.play(session) as bob:
        await bob.started()
        await ada.finish({1: 1, 2: 2})
        await bob.finish({1: 1, 2: 2})
        while await bob.send("one more", delivery=oofgg.Delivery.LATEST, key="k"):
            await asyncio.sleep(0.001)
        assert await bob.send("and another") is False
        assert await bob.leave() is False
        assert [event async for event in bob][-1].seq, "the events of the end are there all the same"
        assert await bob.send("after the last event") is False
        assert await bob.leave() is False
    assert (await stage.ada.sessions.get(session.session_id)).result_state is oofgg.ResultState.AGREED


async def test_a_game_loop_that_looks_at_ended_never_meets_an_error_at_the_end(
    stage: Stage, random_name: Callable[[str], str]
) -> None:
    session = await stage.ada.sessions.create()

    def loop() -> tuple[list[bool], bool]:
        sent = []
        with oofgg.sync.Client(stage.target, game=stage.game.game_id) as client:
            client.register(name := random_name("eve"), f"{name}@example.org", PASSWORD)
            with client.play(session) as playing:
                deadline = time.monotonic() + PATIENCE
                while not playing.ended and time.monotonic() < deadline:
                    sent.append(playing.send(1, delivery=oofgg.Delivery.LATEST, key="k"))
                    playing.poll()
                    time.sleep(0.001)
                sent += [playing.send("too late")]
                return sent, playing.leave()

    async with asyncio.timeout(PATIENCE), stage.ada.play(session) as ada:
        other = asyncio.create_task(asyncio.to_thread(loop))
        await ada.started()
        key = await stage.studio.games.create_api_key("server", game_id=stage.game.game_id)
        async with oofgg.Client(stage.target, api_key=key.api_key) as server:
            await server.sessions.finish(session, {1: 1, 2: 2})
        sent, left = await other
    assert sent[0] is True
    assert sent[-1] is False
    assert left is False


async def test_a_result_can_be_stated_about_a_winner_who_has_left(stage: Stage) -> None:
    session = await stage.ada.sessions.create(max_seats=2)
    async with asyncio.timeout(PATIENCE), stage.bob.play(session) as bob:
        async with stage.ada.play(session) as ada:
            await ada.started()
            winner = ada.seat
            assert await ada.leave()
        async for event in bob:
            if isinstance(event, oofgg.Presence) and event.change is oofgg.PresenceChange.LEFT:
                break
        assert winner not in bob.seats
        assert sorted(bob.roster) == [1, 2]
        assert (await stage.bob.sessions.get(session.session_id)).roster.keys() == {1, 2}
        outcome = await bob.finish({seat: 1 if seat == winner else 2 for seat in bob.roster})
    assert outcome.state is oofgg.ResultState.AGREED
    assert {place.seat: place.placement for place in outcome.result} == {winner: 1, bob.seat: 2}


async def test_who_comes_later_knows_who_has_left(stage: Stage, devices: tuple[oofgg.Client, oofgg.Client]) -> None:
    session = await stage.ada.sessions.create(min_seats=1, max_seats=3)
    async with asyncio.timeout(PATIENCE), stage.ada.play(session), stage.bob.play(session) as bob:
        async with devices[0].play(session) as third:
            assert await bob.leave()
            await third.send("x")
            async for event in third:
                if isinstance(event, oofgg.Message):
                    break
            assert sorted(third.roster) == [1, 2, 3]
        async with devices[1].play(session, after_seq=None) as fourth:
            assert sorted(fourth.seats) == [1, 3]
            assert sorted(fourth.roster) == [1, 2, 3]
            assert fourth.roster[2].username.startswith("bob")


async def test_participants_carry_their_display_names(
    stage: Stage, name: str, devices: tuple[oofgg.Client, oofgg.Client]
) -> None:
    session = await stage.ada.sessions.create()
    await devices[0].me.update(display_name="Eve the First")
    await devices[0].login(name, PASSWORD)  # a name travels with the login
    async with asyncio.timeout(PATIENCE), stage.ada.play(session) as ada, devices[0].play(session) as eve:
        async for event in ada:
            if isinstance(event, oofgg.Presence) and event.participant.seat == eve.seat:
                assert event.participant.display_name == event.participant.name == "Eve the First"
                assert event.participant.username == name
                break
        assert ada.seats[eve.seat].name == "Eve the First"
        assert ada.seats[ada.seat].name == ada.seats[ada.seat].username
        assert (await stage.bob.sessions.get(session.session_id)).seats[eve.seat].name == "Eve the First"
    await devices[1].me.update(display_name="Eve the Second")
    await devices[1].login(name, PASSWORD)
    async with asyncio.timeout(PATIENCE), devices[1].play(session) as eve:
        async for event in eve:
            if isinstance(event, oofgg.Presence) and event.participant.name == "Eve the Second":
                break
