"""Seats for several at once."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.errors import FailedPrecondition, PermissionDenied, Reason
from services.game.engine.facts import Newcomer, Profile, State
from services.game.engine.records import all_fields, read_session
from services.game.engine.results import SeatResult
from services.game.engine.sessions import Session
from services.game.opening import repeated, seated
from tests.unit.game.model import TextEncoder, facts

SEATS = 4


def named(name: str, team: int = 0) -> Newcomer:
    return Newcomer(name, name.title(), team)


@given(st.lists(st.tuples(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5), st.integers(0, SEATS))))
def test_all_of_them_are_seated_or_none(calls: list[tuple[list[str], int]]) -> None:
    made = Session(facts(min_seats=2, max_seats=SEATS), Profile("a"))
    for now, (names, leaver) in enumerate(calls):
        if leaver in made.seats:
            made.leave(leaver, now)
        before = deepcopy(made.seats)
        wanted = {seat.user_id for seat in before.values()} | set(names)
        if len(wanted) > SEATS:
            with pytest.raises(FailedPrecondition) as caught:
                made.seat_all([named(name) for name in names], now)
            assert caught.value.reason is Reason.SESSION_FULL
            assert made.seats == before
            continue
        made.seat_all([named(name) for name in names], now)
        assert {seat.user_id for seat in made.seats.values()} == wanted
        assert len(made.seats) == len(wanted), "nobody has two"
        assert all(made.seats[number] == seat for number, seat in before.items()), "who has a seat keeps it"
        assert set(made.seats) <= set(range(1, SEATS + 1))
        assert made.seat_all([named(name) for name in names], now + 0.5) == []
        assert (made.state is State.STARTED) == (len(wanted) >= 2 or made.start_time is not None)


def test_one_who_may_not_return_keeps_the_others_out() -> None:
    made = Session(facts(max_seats=SEATS), Profile("a"))
    made.seat_all([named("a"), named("b")], 0.0)
    made.kick(2, "", 1.0, may_return=False)
    with pytest.raises(PermissionDenied) as caught:
        made.seat_all([named("c"), named("b")], 2.0)
    assert caught.value.metadata["user_id"] == "b"
    assert list(made.seats) == [1]


def test_nobody_is_seated_once_the_result_is_being_decided() -> None:
    made = Session(facts(max_seats=SEATS), Profile("a"))
    made.seat_all([named("a"), named("b")], 0.0)
    made.state_result(1, [SeatResult(1, 0, 1, 3), SeatResult(2, 0, 2, 1)], 1.0)
    with pytest.raises(FailedPrecondition):
        made.seat_all([named("c")], 2.0)
    assert made.seat_all([named("b")], 2.0) == []


def test_a_session_that_begins_with_its_players_has_the_log_of_one_they_joined() -> None:
    made = Session(facts(min_seats=2, max_seats=SEATS), Profile("b"))
    pieces = seated(made, [named("b", 2), named("a", 1)], TextEncoder(), 5.0)
    assert b"".join(pieces).decode().splitlines() == [
        "1 0 1 JOINED",
        "2 0 0 WAITING",
        "3 0 2 JOINED",
        "4 0 0 STARTED",
    ]
    assert [(seat.user_id, seat.team, seat.join_seq, seat.leave_at) for seat in made.seats.values()] == [
        ("b", 2, 1, 5.0 + made.times.grace),
        ("a", 1, 3, 5.0 + made.times.grace),
    ]
    again, _ = read_session({name.encode(): value for name, value in all_fields(made, {}).items()}, made.times)
    assert again == made
    assert seated(Session(facts(), Profile("a")), [], TextEncoder(), 5.0) == []


def test_a_deadline_to_come_is_that_of_the_first_seat_to_be_lost() -> None:
    made = Session(facts(max_seats=SEATS), Profile("a"))
    made.seat_all([named("a"), named("b")], 10.0)
    made.seat_all([named("c")], 20.0)
    assert made.join_deadline({"c"}) == 20.0 + made.times.grace
    assert made.join_deadline({"b", "c"}) == 10.0 + made.times.grace
    made.connect(3, replaces=False)
    assert made.join_deadline({"c"}) == 20.0 + made.times.grace


def test_who_is_named_twice_is_found() -> None:
    assert repeated(["a", "b", "a"]) == "a"
    assert repeated(["a", "b"]) == ""
