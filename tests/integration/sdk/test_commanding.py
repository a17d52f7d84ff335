"""What participants of a session can do beside playing: say something to some, watch, change it, remove others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

import oofgg
from oofgg import errors
from tests.integration.sdk.stage import Stage, register


@asynccontextmanager
async def guest(stage: Stage, name: str) -> AsyncIterator[oofgg.Client]:
    async with oofgg.Client(stage.target, game=stage.game.game_id) as client:
        await register(client, name)
        yield client


async def until(session: oofgg.PlaySession, wanted: Callable[[oofgg.Event], bool]) -> list[oofgg.Event]:
    """Events up to one that is wanted."""
    found: list[oofgg.Event] = []
    async with asyncio.timeout(10):
        async for event in session:
            found.append(event)
            if wanted(event):
                return found
    raise AssertionError(f"the session ended before: {found}")


async def heard(session: oofgg.PlaySession, last: str) -> list[str]:
    """What was said, up to some text."""
    events = await until(session, lambda event: isinstance(event, oofgg.Message) and event.data == last.encode())
    return [event.text() for event in events if isinstance(event, oofgg.Message)]


async def test_what_is_said_to_some_is_heard_by_these_and_its_sender_alone(
    stage: Stage, random_name: Callable[[str], str]
) -> None:
    session = await stage.ada.sessions.create(min_seats=4, max_seats=4, max_spectators=1)
    async with AsyncExitStack() as stack:
        eve = await stack.enter_async_context(guest(stage, random_name("eve")))
        kim = await stack.enter_async_context(guest(stage, random_name("kim")))
        lee = await stack.enter_async_context(guest(stage, random_name("lee")))
        players = []
        for client, team in ((stage.ada, 1), (stage.bob, 2), (eve, 1), (kim, 2)):
            players.append(await stack.enter_async_context(client.play(session, team=team)))
        watching = await stack.enter_async_context(lee.spectate(session))
        ada, bob, eve_plays, kim_plays = players
        await ada.send("to bob", to=bob.seat)
        await ada.send("to bob and eve", to=[bob.seat, eve_plays.seat])
        await ada.send("to my team", team=1)
        await ada.send("where", delivery=oofgg.Delivery.LATEST, key="p", team=2)
        await ada.send("to nobody who is here", to=99)
        await ada.flush()
        await asyncio.sleep(0.1)
        await ada.send("end")
        everything = ["to bob", "to bob and eve", "to my team", "to nobody who is here", "end"]
        assert await heard(ada, "end") == everything
        told = await heard(bob, "end")
        assert "where" in told, "there is no order across classes"
        assert [text for text in told if text != "where"] == ["to bob", "to bob and eve", "end"]
        assert await heard(eve_plays, "end") == ["to bob and eve", "to my team", "end"]
        assert set(await heard(kim_plays, "end")) == {"where", "end"}
        assert await heard(watching, "end") == ["end"]
        for refused in (0, [1, -1]):
            with pytest.raises(ValueError, match="seats"):
                await ada.send("x", to=refused)

        # Who comes later to a seat does not hear what was said to who had it.
        await stage.bob.sessions.leave(session)
        await until(ada, lambda event: isinstance(event, oofgg.Presence) and event.change == "LEFT")
    async with guest(stage, random_name("new")) as new, new.play(session) as late:
        assert late.seat == 2
        assert await heard(late, "end") == ["end"]


async def test_a_finished_session_can_be_replayed_as_everybody_got_it(
    stage: Stage, random_name: Callable[[str], str]
) -> None:
    session = await stage.ada.sessions.create()
    async with stage.ada.play(session) as ada, stage.bob.play(session) as bob:
        for number in range(1_200):
            await ada.send(str(number))
        await ada.send("for me alone", to=ada.seat)
        await bob.send("for ada", to=ada.seat)
        for player in (ada, bob):
            await player.flush()
        await ada.finish({1: 1, 2: 2})
        await bob.finish({1: 1, 2: 2})
    expected = [str(number) for number in range(1_200)]

    async def said(client: oofgg.Client) -> list[str]:
        events = [event async for event in client.sessions.replay(session.session_id)]
        assert [event.seq for event in events] == sorted(event.seq for event in events)
        return [event.text() for event in events if isinstance(event, oofgg.Message)]

    everything = [*expected, "for me alone", "for ada"]
    assert sorted(await said(stage.ada)) == sorted(everything)
    assert sorted(await said(stage.bob)) == sorted([*expected, "for ada"])
    assert sorted(await said(stage.studio)) == sorted(everything)
    async with guest(stage, random_name("eve")) as eve:
        with pytest.raises(errors.PermissionDenied):
            await said(eve)
    unfinished = await stage.ada.sessions.create()
    with pytest.raises(errors.NotFound) as missing:
        await anext(stage.ada.sessions.replay(unfinished.session_id))
    assert missing.value.reason is oofgg.Reason.REPLAY_NOT_FOUND


async def test_spectators_watch_where_that_is_allowed(stage: Stage, random_name: Callable[[str], str]) -> None:
    closed = await stage.ada.sessions.create()
    with pytest.raises(errors.FailedPrecondition) as none:
        async with stage.bob.spectate(closed):
            pass
    assert none.value.reason is oofgg.Reason.SESSION_FULL
    session = await stage.ada.sessions.create(max_spectators=1)
    assert session.max_spectators == 1
    async with stage.ada.play(session) as ada, stage.bob.spectate(session) as bob:
        assert bob.seat == 0
        assert len(bob.seats) == 1
        with pytest.raises(RuntimeError, match="spectator"):
            await bob.send("x")
        async with guest(stage, random_name("eve")) as eve:
            with pytest.raises(errors.FailedPrecondition):
                async with eve.spectate(session):
                    pass
        await ada.send("seen")
        assert await heard(bob, "seen") == ["seen"]
        with pytest.raises(errors.FailedPrecondition) as seated:
            async with stage.ada.spectate(session):
                pass
        assert seated.value.reason is oofgg.Reason.SESSION_STATE
        await stage.ada.sessions.close(session)
        changes = [event async for event in bob if isinstance(event, oofgg.StateChange)]
        assert [(change.state, change.end_reason) for change in changes] == [("DELETED", "CLOSED")]
        assert bob.info.end_reason is oofgg.EndReason.CLOSED


async def test_a_session_is_changed_by_who_may_for_all_to_see(stage: Stage) -> None:
    session = await stage.ada.sessions.create(label="casual", attributes={"map": "ice"})
    async with stage.ada.play(session) as ada, stage.bob.play(session) as bob:
        changed = await ada.update(label="ranked", set_attributes={"mode": "duel"}, expected_version=session.version)
        assert (changed.label, changed.attributes) == ("ranked", {"map": "ice", "mode": "duel"})
        (*_, event) = await until(bob, lambda event: isinstance(event, oofgg.SessionChange))
        assert isinstance(event, oofgg.SessionChange)
        assert (event.label, event.attributes, event.version) == ("ranked", changed.attributes, changed.version)
        assert bob.info.attributes == changed.attributes
        with pytest.raises(errors.Aborted) as conflict:
            await ada.update(remove_attributes=["map"], expected_version=session.version)
        assert conflict.value.reason is oofgg.Reason.CONFLICT
        with pytest.raises(errors.PermissionDenied) as other:
            await bob.update(label="mine")
        assert other.value.reason is oofgg.Reason.NOT_OWNER
        await stage.studio.sessions.update(session, set_attributes={"by": "studio"})

        listed = [found.session_id async for found in stage.bob.sessions.list(label="ranked")]
        assert listed == [session.session_id]
        assert [found async for found in stage.bob.sessions.list(label="casual")] == []

        assert (await stage.ada.sessions.pause(session)).state is oofgg.SessionState.PAUSED
        await until(bob, lambda event: isinstance(event, oofgg.StateChange) and event.state == "PAUSED")
        await stage.ada.sessions.start(session)
        await until(bob, lambda event: isinstance(event, oofgg.StateChange) and event.state == "STARTED")

        await ada.leave()
        (*_, event) = await until(bob, lambda event: isinstance(event, oofgg.SessionChange) and event.version == 4)
        assert bob.info.creator_user_id == bob.seats[bob.seat].user_id
        await bob.update(label="bob's")


async def test_who_is_removed_is_told_why_and_stays_out(stage: Stage) -> None:
    session = await stage.ada.sessions.create(max_spectators=4)
    async with stage.ada.play(session) as ada, stage.bob.play(session) as bob:
        with pytest.raises(errors.PermissionDenied):
            await bob.kick(ada.seat)
        await ada.kick(bob.seat, reason="rude")
        events = [event async for event in bob]
        assert isinstance(events[-1], oofgg.Presence)
        assert (events[-1].change, events[-1].reason) == ("KICKED", "rude")
        for again in (stage.bob.play(session), stage.bob.spectate(session)):
            with pytest.raises(errors.PermissionDenied) as kept_out:
                async with again:
                    pass
            assert kept_out.value.reason is oofgg.Reason.KICKED
        await until(ada, lambda event: isinstance(event, oofgg.Presence) and event.change == "KICKED")
        assert list(ada.seats) == [ada.seat]
