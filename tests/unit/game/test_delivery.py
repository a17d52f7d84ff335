"""One receiver: window, acknowledgement, classes, slowness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.game.engine.delivery import AckError, DeliveryLimits, Pacer, Receiver
from services.game.engine.order import LATEST, VOLATILE, Tail
from tests.unit.game.model import Said, connect, drain, keep, lines, room

SMALL = DeliveryLimits(max_unacknowledged=200, max_behind_events=20, max_behind_bytes=10_000)


def test_idle_an_event_is_due_at_once_and_busy_at_the_end_of_the_window() -> None:
    made = room(window_ms=20)
    receiver = connect(made, 1)
    made.command(2, [Said(1)], 0.0)
    assert receiver.due(10.0) is None, "not before the log has it"
    keep(made)
    assert receiver.due(10.0) == 10.0
    assert receiver.take(10.0)
    made.command(2, [Said(2)], 0.0)
    keep(made)
    end = receiver.due(10.0)
    assert end is not None
    assert 10.0 < end <= 10.020
    made.command(2, [Said(3)], 0.0)
    keep(made)
    assert receiver.due(end - 0.001) == end
    flush = receiver.take(end)
    assert flush
    assert [line[3] for line in lines(flush.body)] == ["1:2::", "1:3::"]
    made.command(2, [Said(4)], 0.0)
    keep(made)
    assert receiver.due(end + 0.001) == pytest.approx(end + 0.020)
    assert receiver.due(10.5) == 10.5


def test_busy_receivers_of_a_session_are_due_together() -> None:
    made = room(seats=3, window_ms=20)
    receivers = [connect(made, 1), connect(made, 3)]
    for number, receiver in enumerate(receivers, 1):
        made.command(2, [Said(number)], 0.0)
        keep(made)
        assert receiver.take(10.0 + number / 1000)
    made.command(2, [Said(3)], 0.0)
    keep(made)
    first, second = (receiver.due(10.002) for receiver in receivers)
    assert first == second


@given(
    window=st.sampled_from([0.001, 0.005, 0.02, 0.05, 1.0]),
    share=st.floats(0, 1, exclude_max=True),
    now=st.floats(0, 1e7),
)
def test_a_flush_at_the_end_of_a_window_is_the_one_of_the_next(window: float, share: float, now: float) -> None:
    pacer = Pacer(window, window * share)
    pacer.spend(now)
    for _ in range(20):
        end = pacer.due(now)
        assert now < end <= now + window * 1.01
        now = end
        pacer.spend(now)


def test_a_window_of_zero_never_waits() -> None:
    made = room(window_ms=0)
    receiver = connect(made, 1)
    for number in range(1, 4):
        made.command(2, [Said(number)], 0.0)
        keep(made)
        assert receiver.due(7.0) == 7.0
        assert receiver.take(7.0)


def test_no_more_than_the_window_is_unacknowledged() -> None:
    made = room(limits=SMALL)
    receiver = connect(made, 1)
    made.command(2, [Said(n, text="x" * 50) for n in range(1, 11)], 0.0)
    keep(made)
    first = receiver.take(1.0)
    assert first
    assert 0 < len(first.body) <= 200
    assert receiver.take(2.0) is None
    assert receiver.due(2.0) is None
    receiver.acknowledge(first.number)
    assert receiver.unacknowledged == 0
    assert len(drain(receiver, 3.0)) == 10 - len(lines(first.body))


def test_an_event_larger_than_the_window_goes_alone() -> None:
    made = room(limits=SMALL)
    receiver = connect(made, 1)
    made.command(2, [Said(1, text="x" * 500), Said(2)], 0.0)
    keep(made)
    flush = receiver.take(1.0)
    assert flush
    assert len(lines(flush.body)) == 1
    assert receiver.take(1.0) is None
    receiver.acknowledge(flush.number)
    assert len(drain(receiver)) == 1


def test_acknowledgements_are_cumulative_and_cannot_run_ahead() -> None:
    made = room()
    receiver = connect(made, 1)
    for number in (1, 2, 3):
        made.command(2, [Said(number)], 0.0)
        keep(made)
        assert receiver.take(1.0)
    receiver.acknowledge(2)
    assert 0 < receiver.unacknowledged < 20
    receiver.acknowledge(1)  # late, and no harm
    receiver.acknowledge(3)
    assert receiver.unacknowledged == 0
    with pytest.raises(AckError):
        receiver.acknowledge(4)


def test_of_latest_values_a_slow_receiver_gets_the_newest() -> None:
    made = room(limits=SMALL)
    receiver = connect(made, 1)
    for number in range(1, 100):
        made.command(2, [Said(number, LATEST, key="x"), Said(number, LATEST, key="y", text="p" * 90)], 0.0)
    got = drain(receiver)
    assert [line[3] for line in got] == ["2:99:x:", f"2:99:y:{'p' * 90}"]


def test_volatile_events_are_dropped_where_there_is_no_room_and_counted() -> None:
    made = room(limits=SMALL)
    receiver = connect(made, 1)
    made.command(2, [Said(n, VOLATILE, text="x" * 50) for n in range(1, 11)], 0.0)
    flush = receiver.take(1.0)
    assert flush
    delivered = len(lines(flush.body))
    assert 1 <= delivered < 10
    assert receiver.dropped == 10 - delivered
    made.command(2, [Said(1, text="y" * 190)], 0.0)
    keep(made)
    assert receiver.take(1.0) is None, "no room"
    made.command(2, [Said(11, VOLATILE)], 0.0)
    receiver.acknowledge(flush.number)
    assert [line[3][0] for line in drain(receiver)] == ["1"], "what was sent while there was no room is not sent late"
    assert receiver.dropped == 11 - delivered


def test_nobody_hears_an_echo_of_unreliable_events() -> None:
    made = room()
    mine, other = connect(made, 1), connect(made, 2)
    drain(mine)
    made.command(1, [Said(1, LATEST), Said(2, VOLATILE), Said(3)], 0.0)
    keep(made)
    assert [line[3] for line in drain(mine)] == ["1:3::"]
    assert [line[3][0] for line in drain(other)] == ["1", "2", "3"]


def test_latest_values_get_through_beside_a_backlog() -> None:
    made = room(limits=DeliveryLimits(max_unacknowledged=1000))
    receiver = connect(made, 1)
    made.command(2, [Said(n, text="x" * 100) for n in range(1, 101)], 0.0)
    keep(made)
    made.command(2, [Said(101, LATEST, key="pos")], 0.0)
    flush = receiver.take(1.0)
    assert flush
    assert any(line[3].startswith("2:") for line in lines(flush.body))


def test_events_across_classes_say_what_came_before() -> None:
    made = room()
    receiver = connect(made, 1)
    made.command(2, [Said(1), Said(2, LATEST), Said(3), Said(4, VOLATILE)], 0.0)
    keep(made)
    by_class = {line[3][0]: line for line in drain(receiver)}
    assert int(by_class["3"][1]) == int(by_class["2"][1]) + 1 == made.head


def test_a_receiver_too_far_behind_is_slow_but_one_that_resumes_is_given_time() -> None:
    made = room(limits=SMALL)
    live = connect(made, 1)
    for number in range(1, 21):
        made.command(2, [Said(number)], 0.0)
    keep(made)
    assert not live.slow
    start = live.cursor
    made.command(2, [Said(21)], 0.0)
    keep(made)
    assert live.slow
    assert made.slow_receivers() == [live]
    made.shut(live, 0.0)
    resumed = connect(made, 1, after=start)
    assert not resumed.slow
    assert len([line for line in drain(resumed) if line[3].startswith("1:")]) == 21
    made.command(2, [Said(n) for n in range(22, 44)], 0.0)
    keep(made)
    assert resumed.slow, "once it has caught up, it has to keep up"


def test_a_resuming_receiver_that_the_tail_leaves_behind_is_slow() -> None:
    made = room(limits=SMALL, tail=Tail(max_events=30))
    connect(made, 2)
    receiver = connect(made, 1, after=0)
    made.command(2, [Said(n) for n in range(1, 40)], 0.0)
    keep(made)
    assert receiver.slow


def test_the_tail_and_not_the_receivers_holds_the_backlog() -> None:
    made = room(32, limits=SMALL)
    receivers = [connect(made, seat) for seat in range(1, 33)]
    made.command(1, [Said(n, text="x" * 100) for n in range(1, 1000)], 0.0)
    keep(made)
    for receiver in receivers:
        assert not any(
            isinstance(value, list | dict | bytes) and len(value) > 10
            for name in Receiver.__slots__
            if name != "_channels"
            for value in [getattr(receiver, name)]
        )


def test_wake_is_called_once_until_the_receiver_settles() -> None:
    made = room()
    calls: list[int] = []
    receiver = connect(made, 1, wake=lambda: calls.append(1))
    receiver.settle()
    made.command(2, [Said(1, LATEST), Said(2)], 0.0)
    keep(made)
    assert len(calls) == 1
    receiver.take(0.0)
    receiver.settle()
    made.command(2, [Said(3)], 0.0)
    keep(made)
    assert len(calls) == 2


def test_the_sender_learns_that_its_command_is_safe_even_without_room() -> None:
    made = room(limits=SMALL)
    receiver = connect(made, 1)
    made.command(2, [Said(1, text="x" * 500)], 0.0)
    keep(made)
    assert receiver.take(0.0)
    made.command(1, [Said(7)], 0.0)
    assert receiver.due(1.0) is None
    keep(made)
    flush = receiver.take(1.0)
    assert flush == (b"", 0, 7)


def test_more_latest_values_than_fit_come_one_flush_after_the_other() -> None:
    made = room(limits=SMALL)
    receiver = connect(made, 1)
    made.command(2, [Said(n, LATEST, key=str(n), text="x" * 50) for n in range(1, 11)], 0.0)
    assert [line[3].split(":")[1] for line in drain(receiver)] == [str(n) for n in range(1, 11)]


def test_who_resumes_gets_the_latest_values_and_who_begins_does_not() -> None:
    made = room()
    made.command(2, [Said(1, LATEST, key="x")], 0.0)
    assert drain(connect(made, 1)) == []
    resumed = connect(made, 1, after=made.head)
    assert [line[3] for line in drain(resumed) if line[3].startswith("2:")] == ["2:1:x:"]


def test_an_acknowledgement_that_makes_room_wakes_the_writer() -> None:
    made = room(limits=SMALL)
    calls: list[int] = []
    receiver = connect(made, 1, wake=lambda: calls.append(1))
    made.command(2, [Said(n, text="x" * 150) for n in (1, 2)], 0.0)
    keep(made)
    flush = receiver.take(0.0)
    assert flush
    assert receiver.take(0.0) is None
    receiver.settle()
    receiver.acknowledge(flush.number)
    assert calls
    assert receiver.take(0.0)
