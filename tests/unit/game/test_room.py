"""What a session keeps, in batches, before anybody sees it."""

from __future__ import annotations

from services.game.engine.facts import SessionTimes, State
from services.game.engine.order import Tail
from services.game.engine.records import all_fields, read_session
from services.game.engine.results import SeatResult
from services.game.engine.room import Room
from tests.unit.game.model import Said, TextEncoder, connect, drain, keep, nothing, room

ADA_WINS = [SeatResult(1, 0, 1, 3), SeatResult(2, 0, 2, 1)]


def test_one_batch_is_on_its_way_and_is_offered_again_as_it_is() -> None:
    made = room()
    made.command(1, [Said(1)], 0.0)
    first = made.begin()
    assert first is not None
    made.command(1, [Said(2)], 0.0)
    assert made.begin() is first
    assert len(first.pieces) == 1
    made.confirm(first)
    second = made.begin()
    assert second is not None
    assert (second.before, second.last) == (first.last, first.last + 1)


def test_tickets_say_when_an_effect_is_kept() -> None:
    made = room()
    ticket = made.command(1, [Said(1)], 0.0)
    assert ticket > made.confirmed
    assert made.outstanding == ticket
    keep(made)
    assert made.confirmed == made.outstanding == ticket
    assert made.idle


def test_repeats_are_recognised_before_and_after_they_are_kept() -> None:
    made = room()
    own = connect(made, 1)
    made.command(1, [Said(1), Said(2)], 0.0)
    made.command(1, [Said(1), Said(2)], 0.0)
    assert own.take(0.0) is None, "not acknowledged before it is kept"
    keep(made)
    assert [line[3] for line in drain(own)] == ["1:1::", "1:2::"]
    made.command(1, [Said(2)], 0.0)
    assert made.begin() is None
    flush = own.take(0.0)
    assert flush is not None
    assert flush.ack_command == 2


def test_a_fields_batch_holds_what_changed_and_no_more() -> None:
    made = room()
    made.open(1, None, nothing, 0.0)
    made.command(2, [Said(5)], 0.0)
    [batch] = keep(made)
    assert set(batch.fields) == {"seat:1", "command:2"}
    made.apply(made.session.leave(2, 1.0), 1.0)
    [batch] = keep(made)
    assert set(batch.removed) == {"seat:2", "command:2"}
    made.apply(made.session.join("eve", "eve", 0, 2.0), 2.0)
    made.command(2, [Said(1)], 2.0)
    [batch] = keep(made)
    assert batch.fields["command:2"] == b"1", "a new player of a seat counts from the beginning"


def test_finishing_is_kept_but_told_to_nobody() -> None:
    made = room()
    receiver = connect(made, 1)
    made.state_result(0, ADA_WINS, 5.0)
    [batch] = keep(made)
    assert (batch.pieces, batch.state) == ([], State.FINISHING)
    assert "life" in batch.fields
    assert receiver.due(0.0) is None
    made.apply(made.session.finished(), 6.0)
    keep(made)
    assert [line[3] for line in drain(receiver)] == ["STATED", "FINISHED"]
    assert receiver.done


def test_who_left_gets_the_word_that_it_left_and_no_more() -> None:
    made = room()
    receiver = connect(made, 2)
    made.apply(made.session.leave(2, 1.0), 1.0)
    keep(made)
    assert receiver.due(0.0) is not None
    assert [line[3] for line in drain(receiver)] == ["LEFT"]
    assert receiver.done


def test_a_session_is_read_back_as_it_was() -> None:
    made = room()
    connect(made, 1)
    made.command(1, [Said(9)], 0.0)
    made.state_result(1, ADA_WINS, 5.0)
    keep(made)
    fields = {name.encode(): value for name, value in all_fields(made.session, {1: 9}).items()}
    session, commands = read_session(fields, SessionTimes())
    session.quiet_since = made.session.quiet_since
    session.active_at = made.session.active_at
    assert session == made.session
    assert commands == {1: 9}
    made.state_result(2, ADA_WINS, 6.0)
    fields = {name.encode(): value for name, value in all_fields(made.session, {}).items()}
    session, _ = read_session(fields, SessionTimes())
    assert session.decision == made.session.decision
    assert session.roster == made.session.roster


def test_everything_can_be_written_again_at_once() -> None:
    made = room()
    made.command(1, [Said(1), Said(2)], 0.0)
    keep(made)
    made.command(1, [Said(3)], 0.0)
    on_its_way = made.begin()
    late = made.command(1, [Said(4)], 0.0)
    batch, pieces, first, fields = made.everything()
    assert batch is on_its_way
    assert first == 1
    assert len(pieces) == made.head == batch.last
    assert fields["command:1"] == b"4"
    made.confirm(batch)
    assert made.confirmed == late
    assert made.tail.head == made.head
    assert made.idle


def test_a_resume_from_before_the_tail_begins_with_a_snapshot() -> None:
    made = room(tail=Tail(max_events=5))
    made.command(1, [Said(n) for n in range(1, 20)], 0.0)
    keep(made)
    receiver = connect(made, 2, after=3)
    assert [line[3] for line in drain(receiver)] == ["RESET"]
    assert receiver.cursor == made.head


def test_a_resume_from_a_future_that_was_lost_begins_with_a_snapshot() -> None:
    made = room()
    receiver = connect(made, 2, after=made.head + 1000)
    assert [line[3] for line in drain(receiver)] == ["RESET"]


def test_a_room_read_back_goes_on_with_the_numbers() -> None:
    made = room()
    made.command(1, [Said(1)], 0.0)
    keep(made)
    tail = Tail(1)
    tail.extend(made.tail.pieces(1))
    fields = {name.encode(): value for name, value in all_fields(made.session, {1: 1}).items()}
    session, commands = read_session(fields, SessionTimes())
    again = Room(session, TextEncoder(), tail=tail, commands=commands)
    again.command(1, [Said(1), Said(2)], 0.0)
    [batch] = keep(again)
    assert (batch.before, batch.last) == (made.head, made.head + 1)
