"""Events on their way in: each once, acknowledged when the application took them."""

from __future__ import annotations

import pytest

import oofgg
from oofgg._inbox import Gap, Inbox
from oofgg.v1 import session_pb2 as pb


def opened(
    head: int = 0, state: pb.SessionState.ValueType = pb.SESSION_STATE_STARTED, seat: int = 1
) -> pb.StreamOpened:
    session = pb.Session(session_id="s", state=state, seats=[pb.Seat(seat=1, user_id="a"), pb.Seat(seat=2)])
    return pb.StreamOpened(session=session, seat=seat, head_seq=head)


def message(seq: int, size: int = 1) -> pb.Event:
    return pb.Event(seq=seq, seat=1, message=pb.Message(payload=b"x" * size))


def response(*events: pb.Event, flush: int = 0) -> pb.PlayResponse:
    return pb.PlayResponse(events=events, flush=flush)


def open_inbox(after: int | None = 0, head: int = 0) -> Inbox:
    inbox = Inbox(after)
    inbox.open(opened(head))
    return inbox


def taken(inbox: Inbox, now: float = 0.0) -> list[int]:
    return [event.seq for event in iter(lambda: inbox.take(now), None)]


def test_repeats_are_dropped_and_gaps_noticed() -> None:
    inbox = open_inbox()
    inbox.receive(response(message(1), message(2)), 0)
    inbox.receive(response(message(2), message(3)), 0)
    assert taken(inbox) == [1, 2, 3]
    with pytest.raises(Gap):
        inbox.receive(response(message(5)), 0)
    assert inbox.after_seq == 3


def test_from_now_on() -> None:
    inbox = open_inbox(after=None, head=7)
    inbox.receive(response(message(8)), 0)
    assert taken(inbox) == [8]


def test_unnumbered_events_pass() -> None:
    inbox = open_inbox()
    inbox.receive(response(pb.Event(after_seq=0, message=pb.Message()), pb.Event(after_seq=0, message=pb.Message())), 0)
    assert taken(inbox) == [0, 0]


def test_a_flush_is_acknowledged_once_its_last_event_is_taken() -> None:
    inbox = open_inbox()
    inbox.receive(response(message(1), message(2), flush=1), 0)
    assert inbox.ack_due() is None
    inbox.take(5.0)
    assert inbox.ack_due() is None
    inbox.take(5.0)
    assert inbox.ack_due() == pytest.approx(5.1)
    assert inbox.acknowledge() == 1
    assert inbox.ack_due() is None
    assert inbox.acknowledge() == 0


def test_a_flush_of_nothing_new_is_acknowledged_too() -> None:
    inbox = open_inbox(after=3)
    inbox.receive(response(message(3), flush=4), 1.0)
    assert inbox.acknowledge() == 4
    inbox.receive(response(message(4), flush=5), 1.0)
    inbox.receive(response(flush=6), 1.0)
    assert inbox.ack_due() is None, "not before what came earlier was taken"
    taken(inbox)
    assert inbox.acknowledge() == 6


def test_large_flushes_are_acknowledged_at_once() -> None:
    inbox = open_inbox()
    inbox.receive(response(message(1, 20_000), flush=1), 0)
    taken(inbox, now=3.0)
    assert inbox.ack_due() == 3.0


def test_flushes_of_an_old_stream_are_not_acknowledged_on_the_next() -> None:
    inbox = open_inbox()
    inbox.receive(response(message(1), flush=9), 0)
    inbox.open(opened(1))
    assert taken(inbox) == [1]
    assert inbox.acknowledge() == 0
    inbox.receive(response(message(2), flush=1), 0)
    taken(inbox)
    assert inbox.acknowledge() == 1


def test_the_session_is_known_as_it_is_and_not_as_it_was() -> None:
    inbox = Inbox(0)
    inbox.open(opened(head=3, state=pb.SESSION_STATE_FINISHED))
    inbox.receive(response(pb.Event(seq=1, state=pb.StateChange(state=pb.SESSION_STATE_STARTED))), 0)
    assert inbox.session is not None
    assert inbox.session.state is oofgg.SessionState.FINISHED
    assert inbox.over


def test_what_happens_is_learned() -> None:
    inbox = open_inbox()
    left = pb.Presence(change=pb.PRESENCE_CHANGE_LEFT, seat=pb.Seat(seat=2))
    joined = pb.Presence(change=pb.PRESENCE_CHANGE_JOINED, seat=pb.Seat(seat=3, username="eve"))
    result = pb.Result(seats=[pb.SeatResult(seat=1, placement=1, score=5)])
    inbox.receive(
        response(
            pb.Event(seq=1, presence=left),
            pb.Event(seq=2, presence=joined),
            pb.Event(seq=3, result=pb.ResultChange(state=pb.RESULT_STATE_AGREED, result=result)),
            pb.Event(seq=4, state=pb.StateChange(state=pb.SESSION_STATE_FINISHED)),
        ),
        0,
    )
    assert inbox.session is not None
    assert {number: seat.username for number, seat in inbox.session.seats.items()} == {1: "", 3: "eve"}
    assert inbox.session.result == (oofgg.SeatResult(1, 1, 5),)
    assert inbox.session.result_state is oofgg.ResultState.AGREED
    assert inbox.over
    assert not inbox.dismissed


@pytest.mark.parametrize("change", [pb.PRESENCE_CHANGE_LEFT, pb.PRESENCE_CHANGE_KICKED])
def test_losing_the_seat_ends_it(change: pb.PresenceChange.ValueType) -> None:
    inbox = open_inbox()
    inbox.receive(response(pb.Event(seq=1, presence=pb.Presence(change=change, seat=pb.Seat(seat=1)))), 0)
    assert inbox.over


def test_a_seat_lost_before_this_stream_does_not() -> None:
    inbox = open_inbox(after=0, head=2)
    left = pb.Presence(change=pb.PRESENCE_CHANGE_LEFT, seat=pb.Seat(seat=1))
    inbox.receive(response(pb.Event(seq=1, presence=left)), 0)
    assert not inbox.over


def test_a_lost_log_begins_again_even_further_back() -> None:
    inbox = open_inbox(after=9, head=9)
    reset = pb.LogReset(session=pb.Session(session_id="s", state=pb.SESSION_STATE_PAUSED))
    inbox.receive(response(pb.Event(seq=4, log_reset=reset), message(5)), 0)
    assert taken(inbox) == [4, 5]
    assert inbox.after_seq == 5
    assert inbox.session is not None
    assert inbox.session.state is oofgg.SessionState.PAUSED


def test_an_event_of_tomorrow_is_a_plain_event() -> None:
    inbox = open_inbox()
    inbox.receive(response(pb.Event(seq=1)), 0)
    event = inbox.take(0)
    assert type(event) is oofgg.Event


@pytest.mark.parametrize(
    "data", [b"[" * 60_000, b"NaN", b'{"x": Infinity}', b"{", b"\xff"], ids=["deep", "nan", "inf", "broken", "bytes"]
)
def test_what_is_no_json_is_told_in_one_way(data: bytes) -> None:
    said = oofgg.Message(seq=1, after_seq=0, seat=1, event_time=None, data=data, kind="", key="", number=1)
    with pytest.raises(ValueError):
        said.json()


def test_hidden_events_only_count_and_the_epoch_is_kept() -> None:
    inbox = Inbox(0)
    start = opened()
    start.epoch = 7
    inbox.open(start)
    inbox.receive(response(message(1), pb.Event(seq=2, hidden=True), message(3), flush=1), 0)
    assert taken(inbox) == [1, 3]
    assert (inbox.after_seq, inbox.epoch) == (3, 7)
    inbox.receive(response(pb.Event(seq=4, hidden=True), flush=2), 0)
    assert inbox.ack_due() is not None
    assert inbox.acknowledge() == 2


def test_a_change_of_the_session_is_learnt() -> None:
    inbox = open_inbox()
    changed = pb.SessionChange(label="ranked", attributes={"map": "ice"}, creator_user_id="b", version=4)
    inbox.receive(response(pb.Event(seq=1, change=changed)), 0)
    event = inbox.take(0)
    assert isinstance(event, oofgg.SessionChange)
    assert inbox.session is not None
    found = inbox.session
    assert (found.label, found.attributes, found.creator_user_id, found.version) == ("ranked", {"map": "ice"}, "b", 4)
