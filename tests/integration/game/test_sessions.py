"""Sessions from CreateSession to the end, over real backends."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from oofgg.v1 import session_pb2 as pb
from pkg.errors import Reason
from pkg.ids import new_id
from pkg.rpc.status import from_rpc_error
from tests.integration.calls import eventually, reason_of
from tests.integration.game.players import WITHIN, Arena, result, say


async def test_two_players_play(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel(label="ranked", attributes={"map": "dust"})
    session = await arena.read(ada, session_id)
    assert session.state == pb.SESSION_STATE_STARTED
    assert [(seat.seat, seat.username) for seat in session.seats] == [(1, "ada"), (2, "bob")]
    assert (session.label, dict(session.attributes)) == ("ranked", {"map": "dust"})
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as two:
        assert (one.opened.seat, two.opened.seat) == (1, 2)
        await one.send(say(1, "rock"), say(2, "paper"))
        await two.send(say(1, "scissors"))
        await one.until(lambda: len(one.messages) == 3)
        await two.until(lambda: len(two.messages) == 3)
        assert one.messages == two.messages
        assert [text for seat, text in one.messages if seat == 1] == [b"rock", b"paper"]
        await one.until(lambda: one.acked_command == 2)
        assert (2, "CONNECTED") in one.presence
        await two.drop()
        await one.until(lambda: (2, "DISCONNECTED") in one.presence)
    assert not (await arena.read(ada, session_id)).seats[1].connected


async def test_a_stream_resumes_where_it_dropped(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one:
        async with arena.play(bob, session_id) as two:
            await one.send(say(1, "seen"))
            await two.until(lambda: len(two.messages) == 1)
        await one.send(*(say(n, f"missed {n}") for n in range(2, 200)))
        await one.until(lambda: one.acked_command == 199)
        async with arena.play(bob, session_id, after=two.last) as again:
            await again.until(lambda: len(again.messages) == 198)
            assert again.messages == [(1, f"missed {n}".encode()) for n in range(2, 200)]
            assert again.presence[:1] == [(2, "DISCONNECTED")]


async def test_repeated_commands_change_nothing_and_are_acknowledged(arena: Arena) -> None:
    ada, _, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one:
        await one.send(say(1, "a"), say(2, "b"))
        await one.until(lambda: one.acked_command == 2)
    async with arena.play(ada, session_id, after=one.last) as again:
        assert again.opened.command == 2
        await again.send(say(1, "a"), say(2, "b"), say(3, "c"))
        await again.until(lambda: again.acked_command == 3)
        await again.until(lambda: len(again.messages) == 1)
        assert again.messages == [(1, b"c")]


async def test_a_second_stream_replaces_the_first(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    async with (
        arena.play(bob, session_id) as watcher,
        arena.play(ada, session_id) as first,
        arena.play(ada, session_id) as second,
    ):
        error = await first.ended()
        assert error is not None
        assert error.reason is Reason.REPLACED
        assert first.status.code == grpc.StatusCode.ABORTED.value[0], (
            "said in the stream too, not in its trailers alone"
        )
        await second.send(say(1, "still here"))
        await second.until(lambda: second.acked_command == 1)
        await watcher.until(lambda: (1, "REPLACED") in watcher.presence)
        assert (1, "DISCONNECTED") not in watcher.presence


async def test_classes_of_delivery(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as two:
        await one.send(
            say(1, "x=1", pb.DELIVERY_CLASS_LATEST, key="pos"),
            say(2, "x=2", pb.DELIVERY_CLASS_LATEST, key="pos"),
            say(3, "puff", pb.DELIVERY_CLASS_VOLATILE),
            say(4, "shot"),
        )
        await two.until(lambda: len(two.messages) == 3)
        assert sorted(two.messages) == [(1, b"puff"), (1, b"shot"), (1, b"x=2")]
        await one.until(lambda: len(one.messages) == 1)
        assert one.messages == [(1, b"shot")]
        before = next(event.seq for event in two.events if event.message.payload == b"shot") - 1
        assert {event.after_seq for event in two.events if not event.seq} == {before}


async def test_watch_and_send_are_the_two_halves_of_play(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    request = pb.SendRequest(session_id=session_id, commands=[say(1, "hello")])
    assert await reason_of(arena.sessions.Send(request, metadata=ada, timeout=WITHIN)) is Reason.NOT_A_PARTICIPANT
    watch = arena.sessions.Watch(pb.WatchRequest(open=pb.StreamOpen(session_id=session_id)), metadata=ada)
    opened = await watch.read()
    assert opened.opened.seat == 1
    async with arena.play(bob, session_id) as two:
        response = await arena.sessions.Send(request, metadata=ada, timeout=WITHIN)
        assert response.ack_command == 1
        await two.until(lambda: two.messages == [(1, b"hello")])
        heard: list[bytes] = []
        flush = 0
        while b"hello" not in heard:
            answer = await asyncio.wait_for(watch.read(), WITHIN)
            heard += [event.message.payload for event in answer.events]
            flush = max(flush, answer.flush)
        acknowledgement = pb.SendRequest(session_id=session_id, ack_flush=flush)
        await arena.sessions.Send(acknowledgement, metadata=ada, timeout=WITHIN)
        wrong = pb.SendRequest(session_id=session_id, ack_flush=flush + 99)
        assert await reason_of(arena.sessions.Send(wrong, metadata=ada, timeout=WITHIN)) is Reason.PROTOCOL_VIOLATION
    watch.cancel()


async def test_leaving_frees_the_seat_and_ends_the_stream(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as two:
        await arena.sessions.Leave(pb.LeaveRequest(session_id=session_id), metadata=bob, timeout=WITHIN)
        assert await two.ended() is None
        await one.until(lambda: (2, "LEFT") in one.presence)
    eve = await arena.player("eve")
    assert (await arena.join(eve, session_id)).seat.seat == 2
    opening = pb.LeaveRequest(session_id=session_id)
    assert await reason_of(arena.sessions.Leave(opening, metadata=bob, timeout=WITHIN)) is Reason.NOT_A_PARTICIPANT


async def test_closing_ends_streams_and_the_list(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    close = pb.CloseRequest(session_id=session_id)
    assert await reason_of(arena.sessions.Close(close, metadata=bob, timeout=WITHIN)) is Reason.NOT_OWNER
    async with arena.play(bob, session_id) as two:
        await arena.sessions.Close(close, metadata=ada, timeout=WITHIN)
        assert await two.ended() is None
        assert two.events[-1].state.state == pb.SESSION_STATE_DELETED
    assert (await arena.read(bob, session_id)).state == pb.SESSION_STATE_DELETED
    assert await reason_of(arena.sessions.Close(close, metadata=ada, timeout=WITHIN)) is Reason.SESSION_STATE
    join = pb.JoinRequest(session_id=session_id)
    eve = await arena.player("eve")
    assert await reason_of(arena.sessions.Join(join, metadata=eve, timeout=WITHIN)) is Reason.SESSION_STATE

    async def gone() -> bool:
        request = pb.ListSessionsRequest(game_id=arena.game.game_id)
        return not (await arena.sessions.ListSessions(request, metadata=ada, timeout=WITHIN)).sessions

    await eventually(gone)


async def test_a_player_who_missed_the_end_still_gets_it(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    async with arena.play(bob, session_id) as two:
        pass
    await arena.finish(ada, session_id, 1, 2)
    await arena.finish(bob, session_id, 1, 2)
    async with arena.play(bob, session_id, after=two.last) as again:
        assert await again.ended() is None
        assert again.events[-1].state.state == pb.SESSION_STATE_FINISHED


async def test_lists_page_and_filter(arena: Arena) -> None:
    ada = await arena.player("ada")
    made = [(await arena.create(ada, label="ranked" if n % 2 else "fun")).session_id for n in range(5)]
    await arena.join(ada, made[0])

    async def page(**fields: Any) -> tuple[list[str], str]:
        request = pb.ListSessionsRequest(game_id=arena.game.game_id, **fields)
        answer = await arena.sessions.ListSessions(request, metadata=ada, timeout=WITHIN)
        return [session.session_id for session in answer.sessions], answer.next_page_token

    newest = made[::-1]
    assert await page() == (newest, "")
    first, token = await page(page_size=2)
    second, token = await page(page_size=2, page_token=token)
    third, token = await page(page_size=2, page_token=token)
    assert (first + second + third, token) == (newest, "")
    assert (await page(label="fun"))[0] == [made[4], made[2], made[0]]

    async def waits() -> bool:
        return (await page(state=pb.SESSION_STATE_WAITING))[0] == [made[0]]

    await eventually(waits)
    assert (await page(state=pb.SESSION_STATE_CREATED, label="fun"))[0] == [made[4], made[2]]
    request = pb.ListSessionsRequest(game_id=arena.game.game_id, page_token="bogus")
    assert await reason_of(arena.sessions.ListSessions(request, metadata=ada, timeout=WITHIN)) is (
        Reason.INVALID_PAGE_TOKEN
    )


async def test_a_repeated_request_happens_once(arena: Arena) -> None:
    ada, bob = await arena.player("ada"), await arena.player("bob")
    session = await arena.create(ada, request_id="create-1")
    assert await arena.create(ada, request_id="create-1") == session
    assert (await arena.create(bob, request_id="create-1")).session_id != session.session_id
    other = pb.CreateSessionRequest(game_id=arena.game.game_id, label="other", request_id="create-1")
    assert await reason_of(arena.sessions.CreateSession(other, metadata=ada, timeout=WITHIN)) is (
        Reason.REQUEST_ID_REUSED
    )
    joined = await arena.join(ada, session.session_id, request_id="join-1")
    await arena.join(bob, session.session_id)
    assert await arena.join(ada, session.session_id, request_id="join-1") == joined
    assert len((await arena.join(ada, session.session_id)).session.seats) == 2
    again = pb.JoinRequest(session_id=session.session_id, team=3, request_id="join-1")
    assert await reason_of(arena.sessions.Join(again, metadata=ada, timeout=WITHIN)) is Reason.REQUEST_ID_REUSED
    leave = pb.LeaveRequest(session_id=session.session_id, request_id="leave-1")
    for _ in range(2):
        await arena.sessions.Leave(leave, metadata=bob, timeout=WITHIN)
    close = pb.CloseRequest(session_id=session.session_id, request_id="close-1")
    for _ in range(2):
        await arena.sessions.Close(close, metadata=ada, timeout=WITHIN)


async def test_a_full_session_takes_nobody(arena: Arena) -> None:
    _, _, session_id = await arena.duel()
    eve = await arena.player("eve")
    join = arena.sessions.Join(pb.JoinRequest(session_id=session_id), metadata=eve, timeout=WITHIN)
    assert await reason_of(join) is Reason.SESSION_FULL
    play = arena.play(eve, session_id)
    with pytest.raises(Exception, match="no seat") as caught:
        await play.__aenter__()
    assert getattr(caught.value, "reason", None) is Reason.NOT_A_PARTICIPANT


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        pytest.param({"max_seats": 17}, "max_seats", id="more than the game allows"),
        pytest.param({"min_seats": 5, "max_seats": 4}, "min_seats", id="more to start than there are"),
        pytest.param({"max_seats": 513}, "max_seats", id="more than any game may have"),
        pytest.param({"label": "x" * 65}, "label", id="long label"),
        pytest.param({"flush_window_ms": 1001}, "flush_window_ms", id="long window"),
        pytest.param({"attributes": {"k": "v" * 1025}}, "attributes", id="long attribute"),
    ],
)
async def test_a_wrong_session_is_refused_by_field(arena: Arena, fields: dict[str, Any], field: str) -> None:
    ada = await arena.player("ada")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await arena.create(ada, **fields)
    error = from_rpc_error(caught.value)
    assert error.reason is Reason.INVALID_FIELD
    assert error.violations[0].field.startswith(field)


async def test_strangers_are_refused(arena: Arena) -> None:
    _, _, session_id = await arena.duel()
    stranger = await Arena.build(arena.running, "rival")
    other = await stranger.player("mallory")
    calls: dict[str, Any] = {
        "GetSession": pb.GetSessionRequest(session_id=session_id),
        "ListSessions": pb.ListSessionsRequest(game_id=arena.game.game_id),
        "CreateSession": pb.CreateSessionRequest(game_id=arena.game.game_id),
        "Join": pb.JoinRequest(session_id=session_id),
        "Leave": pb.LeaveRequest(session_id=session_id),
        "Close": pb.CloseRequest(session_id=session_id),
        "Finish": pb.FinishRequest(session_id=session_id, result=result(1, 2)),
        "Send": pb.SendRequest(session_id=session_id),
    }
    for name, request in calls.items():
        rpc = getattr(arena.sessions, name)
        assert await reason_of(rpc(request, metadata=other, timeout=WITHIN)) is Reason.WRONG_GAME, name
        expected = Reason.ACCESS_DENIED if name in ("Join", "Leave", "Send") else Reason.NOT_OWNER
        assert await reason_of(rpc(request, metadata=stranger.console, timeout=WITHIN)) is expected, name
    assert (await arena.read(arena.console, session_id)).session_id == session_id


async def test_what_does_not_exist_is_not_found(arena: Arena) -> None:
    ada = await arena.player("ada")
    for missing in (new_id(), "x"):
        for name, request in {
            "GetSession": pb.GetSessionRequest(session_id=missing),
            "Join": pb.JoinRequest(session_id=missing),
            "Leave": pb.LeaveRequest(session_id=missing, request_id="leave"),
            "Close": pb.CloseRequest(session_id=missing),
            "Finish": pb.FinishRequest(session_id=missing, result=result(1)),
            "Send": pb.SendRequest(session_id=missing),
        }.items():
            call = getattr(arena.sessions, name)(request, metadata=ada, timeout=WITHIN)
            expected = Reason.REQUEST_ID_REUSED if name == "Leave" and missing == "x" else Reason.SESSION_NOT_FOUND
            assert await reason_of(call) is expected, name
    request = pb.CreateSessionRequest(game_id=new_id())
    console = arena.sessions.CreateSession(request, metadata=arena.console, timeout=WITHIN)
    assert await reason_of(console) is Reason.GAME_NOT_FOUND


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        pytest.param([pb.PlayRequest(ack_flush=1)], Reason.PROTOCOL_VIOLATION, id="no open"),
        pytest.param([pb.PlayRequest()], Reason.PROTOCOL_VIOLATION, id="empty"),
        pytest.param([None, None], Reason.PROTOCOL_VIOLATION, id="open twice"),
        pytest.param([None, pb.PlayRequest(ack_flush=99)], Reason.PROTOCOL_VIOLATION, id="acknowledges the future"),
        pytest.param([None, pb.PlayRequest(commands=[say(0)])], Reason.INVALID_FIELD, id="command without number"),
        pytest.param(
            [None, pb.PlayRequest(commands=[pb.Command(number=1, payload=bytes(65_537))])],
            Reason.INVALID_FIELD,
            id="payload too large",
        ),
        pytest.param(
            [None, pb.PlayRequest(commands=[say(n) for n in range(1, 258)])], Reason.INVALID_FIELD, id="too many"
        ),
    ],
)
async def test_a_stream_that_breaks_the_protocol_ends(
    arena: Arena, requests: list[pb.PlayRequest | None], reason: Reason
) -> None:
    ada, _, session_id = await arena.duel()
    call = arena.sessions.Play(metadata=ada, timeout=WITHIN)
    opening = pb.PlayRequest(open=pb.StreamOpen(session_id=session_id))

    async def exchange() -> None:
        for request in requests:
            await call.write(request or opening)
        async for _ in call:
            pass

    assert await reason_of(exchange()) is reason


async def test_who_has_left_can_acknowledge_what_is_still_on_its_way(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel(flush_window_ms=0)
    opening = pb.StreamOpen(session_id=session_id, after_seq=0)
    watch = arena.sessions.Watch(pb.WatchRequest(open=opening), metadata=ada)
    assert (await asyncio.wait_for(watch.read(), WITHIN)).HasField("opened")
    async with arena.play(bob, session_id) as other:
        for number in range(1, 21):  # twice what may be unacknowledged
            await other.send(say(number, "x" * 8_000))
            await other.kept(number)
    await arena.sessions.Leave(pb.LeaveRequest(session_id=session_id), metadata=ada, timeout=WITHIN)
    last = pb.Event()
    async with asyncio.timeout(WITHIN):
        while (response := await watch.read()) is not grpc.aio.EOF:
            last = response.events[-1] if response.events else last
            acknowledgement = pb.SendRequest(session_id=session_id, ack_flush=response.flush)
            if response.flush and last.presence.change != pb.PRESENCE_CHANGE_LEFT:
                await arena.sessions.Send(acknowledgement, metadata=ada, timeout=WITHIN)
    assert last.presence.change == pb.PRESENCE_CHANGE_LEFT
    assert last.presence.seat.seat == 1
