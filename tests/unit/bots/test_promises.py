"""The rules of the bots: what holds passes, and each breach is found."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bots import promises
from services.bots.breach import Breach, Promise, What
from services.bots.promises import SessionCheck


@dataclass
class Table:
    """A session of a few participants, in seats 1 and up."""

    participants: int = 3
    allow_reset: bool = False
    breaches: list[Breach] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.check = SessionCheck("s", self.participants, self.breaches.append, allow_reset=self.allow_reset)
        for seat in self.seats:
            self.check.joined(seat)

    @property
    def seats(self) -> range:
        return range(1, self.participants + 1)

    @property
    def broken(self) -> list[Promise]:
        return [breach.promise for breach in self.breaches]

    def see(self, seat: int, seq: int, by: int, number: int) -> None:
        self.check.reliable(seat, seq, What("command", by, number))

    def everybody_sees(self, seq: int, by: int, number: int) -> None:
        for seat in self.seats:
            self.see(seat, seq, by, number)

    def missing(self) -> list[Promise]:
        return [breach.promise for breach in self.check.unsettled()]


def test_what_holds_passes_and_nothing_is_remembered() -> None:
    table = Table()
    for seq in range(1, 101):
        table.everybody_sees(seq, 1 + seq % 2, (seq + 1) // 2)
    table.check.acknowledged(1, 50)
    table.check.acknowledged(2, 50)
    assert table.broken == table.missing() == []
    assert table.check.remembered == 0


def test_events_are_remembered_until_the_last_participant_has_passed_them() -> None:
    table = Table()
    for seq in range(1, 11):
        table.see(1, seq, 1, seq)
        table.see(2, seq, 1, seq)
    assert table.check.remembered == 10
    for seq in range(1, 11):
        table.see(3, seq, 1, seq)
        assert table.check.remembered == 10 - seq
    for seq in range(11, 21):
        table.see(1, seq, 1, seq)
    table.check.left(2)
    table.check.left(3)
    assert table.check.remembered == 0
    assert table.broken == []


def test_events_are_remembered_for_participants_that_have_not_joined_yet() -> None:
    breaches: list[Breach] = []
    check = SessionCheck("s", 2, breaches.append)
    check.joined(1)
    check.reliable(1, 1, What("JOINED", 1))
    assert check.remembered == 1
    check.joined(2)
    check.reliable(2, 1, What("JOINED", 2))
    assert [breach.promise for breach in breaches] == [Promise.SAME_ORDER]
    assert check.remembered == 0


@pytest.mark.parametrize("seq", [4, 2, 1], ids=["a gap", "the last one again", "an earlier one again"])
def test_gaps_and_repeats_are_found(seq: int) -> None:
    table = Table()
    table.everybody_sees(1, 1, 1)
    table.everybody_sees(2, 1, 2)
    table.check.reliable(2, seq, What("STARTED"))
    assert table.broken == [Promise.NO_GAP]
    assert (table.breaches[0].session, table.breaches[0].seat, table.breaches[0].seq) == ("s", 2, seq)


def test_after_a_gap_the_others_are_still_compared_and_forgotten() -> None:
    table = Table()
    table.check.reliable(1, 3, What("STARTED"))
    for seq in (1, 2, 3):
        for seat in (2, 3):
            table.check.reliable(seat, seq, What("STARTED"))
    assert table.broken == [Promise.NO_GAP]
    assert table.check.remembered == 0


def test_another_order_is_found() -> None:
    table = Table()
    table.see(1, 1, 1, 1)
    table.see(1, 2, 2, 1)
    table.see(2, 1, 2, 1)
    table.see(2, 2, 1, 1)
    assert table.broken == [Promise.SAME_ORDER] * 2
    assert table.breaches[0].evidence == "command 1 of seat 2, where seat 1 saw command 1 of seat 1"


def test_a_repeated_command_is_found_with_each_who_sees_it() -> None:
    table = Table()
    table.everybody_sees(1, 1, 1)
    table.everybody_sees(2, 1, 1)
    assert table.broken == [Promise.ONCE] * 3


def test_commands_in_another_order_are_found() -> None:
    table = Table(participants=1)
    for seq, number in enumerate((1, 3, 2, 4, 4), start=1):
        table.see(1, seq, 1, number)
    assert table.broken == [Promise.COMMAND_ORDER, Promise.COMMAND_ORDER, Promise.ONCE]


def test_an_acknowledged_command_that_nobody_sees_is_found() -> None:
    table = Table()
    table.everybody_sees(1, 1, 1)
    table.check.acknowledged(1, 2)
    assert table.missing() == [Promise.ACKNOWLEDGED] * 3
    table.everybody_sees(2, 1, 2)
    assert table.missing() == []
    table.check.acknowledged(1, 3)
    table.see(1, 3, 1, 3)
    table.see(3, 3, 1, 3)
    assert [(breach.promise, breach.seat) for breach in table.check.unsettled()] == [(Promise.ACKNOWLEDGED, 2)]


def test_an_acknowledged_command_that_was_passed_over_is_found() -> None:
    table = Table(participants=1)
    table.check.acknowledged(1, 2)
    table.see(1, 1, 1, 1)
    table.see(1, 2, 1, 3)
    assert table.broken == [Promise.COMMAND_ORDER]
    assert table.missing() == [Promise.ACKNOWLEDGED]


def test_abandoned_commands_may_come_in_their_turn_or_never() -> None:
    table = Table(participants=1)
    table.see(1, 1, 1, 1)
    table.check.abandoned(1, 2, 4)
    table.see(1, 2, 1, 3)
    table.see(1, 3, 1, 5)
    table.check.acknowledged(1, 5)
    assert table.broken == table.missing() == []
    table.see(1, 4, 1, 4)
    assert table.broken == [Promise.COMMAND_ORDER]


def test_an_excuse_outlives_the_next_one() -> None:
    table = Table(participants=1)
    table.check.abandoned(1, 1, 1)
    table.see(1, 1, 1, 2)
    table.check.abandoned(1, 3, 3)
    table.see(1, 2, 1, 4)
    table.check.acknowledged(1, 4)
    assert table.broken == table.missing() == []


def test_an_abandoned_command_excuses_no_other() -> None:
    table = Table(participants=1)
    table.check.abandoned(1, 2, 2)
    table.see(1, 1, 1, 1)
    table.see(1, 2, 1, 4)
    assert table.broken == [Promise.COMMAND_ORDER]
    table.check.acknowledged(1, 4)
    assert table.missing() == [Promise.ACKNOWLEDGED]


def test_latest_values_may_be_skipped_or_come_again_and_never_go_back() -> None:
    table = Table()
    for number in (1, 4, 4):
        table.check.latest(2, 1, "here", number)
    table.check.latest(2, 1, "there", 1)
    table.check.latest(2, 3, "here", 1)
    assert table.broken == []
    table.check.latest(2, 1, "here", 3)
    assert table.broken == [Promise.LATEST_FORWARD]
    assert table.breaches[0].evidence == "key 'here' of seat 1 went from 4 to 3"


def test_a_newest_value_that_does_not_arrive_is_found() -> None:
    table = Table()
    table.check.newest(1, "here", 7)
    table.check.latest(2, 1, "here", 7)
    table.check.latest(3, 1, "here", 6)
    assert [(breach.promise, breach.seat) for breach in table.check.unsettled()] == [(Promise.LATEST_ARRIVES, 3)]
    table.check.latest(3, 1, "here", 7)
    assert table.missing() == []


def test_volatile_commands_may_be_lost_or_late_and_never_come_twice() -> None:
    table = Table()
    for number in (1, 4, 3, 900, 5_000, 4_999):
        table.check.volatile(2, 1, number)
        table.check.volatile(3, 1, number)
    assert table.broken == []
    for number in (5_000, 4_999):
        table.check.volatile(2, 1, number)
    assert table.broken == [Promise.VOLATILE_ONCE] * 2


def test_a_reset_is_a_breach_unless_it_is_allowed() -> None:
    table = Table()
    table.check.reset(1, 0)
    assert table.broken == [Promise.NO_RESET]


def test_an_allowed_reset_begins_again_where_it_says() -> None:
    table = Table(allow_reset=True)
    for seq in range(1, 6):
        table.everybody_sees(seq, 1, seq)
    table.check.reset(1, 9)  # too far behind for the log
    table.see(1, 10, 1, 10)
    for seq in range(6, 11):
        table.see(2, seq, 1, seq)
        table.see(3, seq, 1, seq)
    table.check.acknowledged(1, 10)
    assert table.broken == table.missing() == []
    assert table.check.remembered == 0
    table.see(1, 12, 1, 11)
    assert table.broken == [Promise.NO_GAP]


def test_whoever_saw_what_a_reset_takes_back_has_to_be_told() -> None:
    table = Table(allow_reset=True)
    for seq in range(1, 6):
        table.everybody_sees(seq, 1, seq)
    table.check.reset(1, 3)
    assert table.missing() == [Promise.NO_RESET] * 2
    table.check.reset(2, 3)
    for seat in (1, 2):
        table.see(seat, 4, 2, 1)
    table.check.reset(3, 4)
    table.everybody_sees(5, 2, 2)
    assert table.broken == table.missing() == []
    table.see(1, 6, 1, 99)
    table.see(2, 6, 1, 98)
    assert table.broken[0] is Promise.SAME_ORDER


def test_what_a_reset_takes_back_is_not_missed_by_who_has_never_seen_it() -> None:
    table = Table(participants=2, allow_reset=True)
    table.see(1, 1, 1, 1)
    table.see(2, 1, 1, 1)
    table.see(1, 2, 1, 2)  # lost with the log, and acknowledged
    table.check.acknowledged(1, 2)
    table.check.reset(1, 1)
    for seat in (1, 2):
        table.see(seat, 2, 1, 3)
    table.check.acknowledged(1, 3)
    assert table.broken == table.missing() == []
    table.see(2, 3, 1, 5)
    assert table.broken == [Promise.COMMAND_ORDER]


def test_one_who_falls_far_behind_is_named_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "MOST_BEHIND", 100)
    table = Table()
    for seq in range(1, 1_001):
        table.see(1, seq, 1, seq)
        table.see(2, seq, 1, seq)
    assert [(breach.promise, breach.seat) for breach in table.breaches] == [(Promise.STAYS, 3)]
    assert table.check.remembered == 0


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]], list[int]]:
    """Participants, events (sender, number) in one order, and the order in which participants move on by one event."""
    participants = draw(st.integers(1, 4))
    counts = dict.fromkeys(range(1, participants + 1), 0)
    events = []
    for by in draw(st.lists(st.integers(1, participants), max_size=30)):
        counts[by] += 1
        events.append((by, counts[by]))
    steps = [seat for seat in counts for _ in events]
    return participants, events, draw(st.permutations(steps))


@given(histories())
def test_one_order_for_all_passes_however_they_follow_it(history: tuple[int, list[tuple[int, int]], list[int]]) -> None:
    participants, events, steps = history
    table = Table(participants)
    position = dict.fromkeys(table.seats, 0)
    for seat in steps:
        table.see(seat, position[seat] + 1, *events[position[seat]])
        position[seat] += 1
        assert table.check.remembered <= max(position.values()) - min(position.values())
    for by, number in events:
        table.check.acknowledged(by, number)
    assert table.broken == table.missing() == []


@given(histories(), st.data())
def test_any_single_fault_is_found(history: tuple[int, list[tuple[int, int]], list[int]], data: st.DataObject) -> None:
    participants, events, _steps = history
    if not events:
        return
    victim = data.draw(st.integers(1, participants))
    fault = data.draw(st.sampled_from(["dropped", "repeated", "cut off", "swapped"]))
    at = data.draw(st.integers(0, len(events) - 1))
    seen = [(seq, *event) for seq, event in enumerate(events, start=1)]
    if fault == "dropped":  # and the rest moves up, as if it had never been
        seen = [(seq if seq <= at else seq - 1, by, n) for seq, by, n in seen if seq != at + 1]
    elif fault == "repeated":
        seen = [*seen[: at + 1], *((seq + 1, by, n) for seq, by, n in seen[at:])]
    elif fault == "cut off":
        seen = seen[:at]
    elif at + 1 < len(seen) and participants > 1:
        first, second = seen[at], seen[at + 1]
        seen[at : at + 2] = [(first[0], *second[1:]), (second[0], *first[1:])]
    else:
        return
    table = Table(participants)
    for seat in table.seats:
        for event in seen if seat == victim else [(seq, *event) for seq, event in enumerate(events, start=1)]:
            table.see(seat, *event)
    for by, number in events:
        table.check.acknowledged(by, number)
    assert table.broken or table.missing()
