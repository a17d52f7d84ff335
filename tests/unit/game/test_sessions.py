"""The rules of a session: states, seats, grace, the end."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from pkg.errors import Aborted, FailedPrecondition, InvalidArgument, PermissionDenied, Reason
from services.game.engine.facts import (
    OVER,
    TRANSITIONS,
    Change,
    EndReason,
    PresenceChanged,
    Profile,
    ProfileChanged,
    ResultChanged,
    SessionTimes,
    State,
    StateChanged,
)
from services.game.engine.records import all_fields, read_session
from services.game.engine.results import Ballot, Decision, ResultState, SeatResult, normalised
from services.game.engine.sessions import Session
from tests.unit.game.model import facts

ADA_WINS = [SeatResult(1, 0, 1, 3), SeatResult(2, 0, 2, 1)]
BOB_WINS = [SeatResult(1, 0, 2, 1), SeatResult(2, 0, 1, 3)]


def session(**overrides: object) -> Session:
    times = SessionTimes(grace=60, ballot=30, abandoned=300, idle=2_000, lifetime=5_000)
    return Session(facts(**overrides), Profile("ada"), times)


def duel() -> Session:
    made = session()
    made.join("ada", "Ada", 0, 1.0)
    made.join("bob", "Bob", 0, 2.0)
    return made


def told(changes: list[Change]) -> list[str]:
    """What happened, in short."""
    found = []
    for change in changes:
        if isinstance(change, PresenceChanged):
            found.append(f"{change.seat.number} {change.kind}")
        elif isinstance(change, ProfileChanged):
            found.append(f"profile {change.profile.version}")
        else:
            found.append(str(change.state))
    return found


def test_every_transition_is_in_the_table_and_every_other_is_refused() -> None:
    assert set(TRANSITIONS) == set(State)
    for before, after in product(State, State):
        made = session()
        made.state = before
        if after in TRANSITIONS[before]:
            assert told(made._go(after)) == [after]
        else:
            with pytest.raises(FailedPrecondition) as caught:
                made._go(after)
            assert caught.value.reason is Reason.SESSION_STATE
            assert made.state is before


def test_nothing_follows_the_end() -> None:
    assert {state for state, following in TRANSITIONS.items() if not following} == OVER


def test_a_session_waits_for_its_players_and_starts() -> None:
    made = session(min_seats=2, max_seats=3)
    assert told(made.join("ada", "Ada", 0, 1.0)) == ["1 JOINED", "WAITING"]
    assert made.start_time is None
    assert told(made.join("bob", "Bob", 0, 2.0)) == ["2 JOINED", "STARTED"]
    assert made.start_time == 2.0
    assert told(made.join("cy", "Cy", 0, 3.0)) == ["3 JOINED"]
    with pytest.raises(FailedPrecondition) as caught:
        made.join("dee", "Dee", 0, 4.0)
    assert caught.value.reason is Reason.SESSION_FULL


def test_one_seat_can_be_enough() -> None:
    assert told(session(min_seats=1).join("ada", "Ada", 0, 1.0)) == ["1 JOINED", "WAITING", "STARTED"]


def test_joining_again_changes_nothing_and_a_freed_seat_is_taken_first() -> None:
    made = duel()
    assert made.join("ada", "Ada", 0, 5.0) == []
    made.leave(1, 6.0)
    assert told(made.join("cy", "Cy", 0, 7.0)) == ["1 JOINED"]
    assert made.participant("cy").number == 1
    with pytest.raises(PermissionDenied):
        made.participant("ada")


def test_a_dropped_seat_is_kept_for_its_grace_and_then_given_up() -> None:
    made = duel()
    made.connect(1, replaces=False)
    made.connect(2, replaces=False)
    assert told(made.disconnect(2, 100.0)) == ["2 DISCONNECTED"]
    assert made.deadline() == 160.0
    assert made.tick(159.9) == []
    made.connect(2, replaces=False)
    assert made.tick(1000.0) == []
    made.disconnect(2, 1000.0)
    assert told(made.tick(1060.0)) == ["2 LEFT"]
    assert list(made.seats) == [1]


def test_who_joined_and_never_came_is_given_up_too() -> None:
    made = duel()
    made.connect(1, replaces=False)
    assert told(made.tick(62.0)) == ["2 LEFT"]


def test_time_in_which_nobody_could_come_back_does_not_count() -> None:
    made = duel()
    made.connect(1, replaces=False)
    made.connect(2, replaces=False)
    made.disconnect(2, 100.0)
    made.renew_grace(155.0)
    assert made.tick(214.0) == []
    assert told(made.tick(215.0)) == ["2 LEFT"]


def test_a_session_nobody_plays_ends() -> None:
    made = session()
    made.quiet_since = 0.0
    assert told(made.tick(299.0)) == []
    assert told(made.tick(300.0)) == ["DELETED"]
    assert made.finish_time == 300.0
    assert made.deadline() is None


def test_players_agree_as_soon_as_all_have_spoken() -> None:
    made = duel()
    assert told(made.state_result(1, ADA_WINS, 10.0)) == ["PENDING"]
    assert made.deadline() == 40.0
    assert told(made.state_result(2, list(reversed(ADA_WINS)), 11.0)) == ["FINISHING"]
    assert made.decision == Decision(ResultState.AGREED, tuple(ADA_WINS))
    assert told(made.finished()) == ["AGREED", "FINISHED"]
    assert made.finish_time == 11.0
    assert [seat.user_id for seat in made.roster] == ["ada", "bob"]


def test_silence_abstains_at_the_deadline() -> None:
    made = duel()
    made.state_result(1, ADA_WINS, 10.0)
    assert made.tick(39.9) == []
    assert told(made.tick(40.0)) == ["FINISHING"]
    assert made.decision == Decision(ResultState.AGREED, tuple(ADA_WINS))


def test_a_contradiction_is_disputed() -> None:
    made = duel()
    made.state_result(1, ADA_WINS, 10.0)
    made.state_result(2, BOB_WINS, 11.0)
    assert made.decision == Decision(ResultState.DISPUTED, None)


def test_a_restatement_replaces_ones_own_until_it_is_decided() -> None:
    made = duel()
    made.state_result(1, BOB_WINS, 10.0)
    made.state_result(1, ADA_WINS, 20.0)
    assert made.deadline() == 40.0, "speaking again does not buy time"
    made.state_result(2, ADA_WINS, 21.0)
    assert made.decision
    assert made.decision.state is ResultState.AGREED
    with pytest.raises(FailedPrecondition):
        made.state_result(1, BOB_WINS, 22.0)


def test_the_hosts_word_counts_at_once() -> None:
    made = duel()
    made.state_result(1, ADA_WINS, 10.0)
    assert told(made.host_result(BOB_WINS, 11.0)) == ["FINISHING"]
    assert made.decision == Decision(ResultState.STATED, tuple(BOB_WINS))


def test_who_lost_its_stream_is_still_waited_for_and_who_left_is_not() -> None:
    made = duel()
    made.connect(1, replaces=False)
    made.connect(2, replaces=False)
    made.disconnect(2, 9.0)
    assert told(made.state_result(1, ADA_WINS, 10.0)) == ["PENDING"]
    assert told(made.leave(2, 12.0)) == ["2 LEFT", "FINISHING"]
    assert made.decision == Decision(ResultState.AGREED, tuple(ADA_WINS)), "and still takes part in the result"


def test_what_was_said_counts_although_the_speaker_left() -> None:
    made = duel()
    made.state_result(1, ADA_WINS, 10.0)
    made.leave(1, 11.0)
    made.state_result(2, BOB_WINS, 12.0)
    assert made.decision == Decision(ResultState.DISPUTED, None)


def trio() -> Session:
    made = session(min_seats=3, max_seats=3)
    for name in ("ada", "bob", "cy"):
        made.join(name, name.title(), 0, 1.0)
    return made


def test_a_result_is_about_who_left_after_the_start_too() -> None:
    made = trio()
    made.leave(1, 5.0)
    with_ada = [SeatResult(1, 0, 1, 7), SeatResult(2, 0, 2, 3), SeatResult(3, 0, 3, 1)]
    made.state_result(2, with_ada, 10.0)
    made.state_result(3, with_ada, 11.0)
    assert made.decision == Decision(ResultState.AGREED, tuple(with_ada)), (
        "the winner may leave before the others speak"
    )
    assert [seat.user_id for seat in made.roster] == ["ada", "bob", "cy"]


def test_who_left_before_the_first_statement_may_be_left_out_and_is_placed_last() -> None:
    made = trio()
    made.leave(2, 5.0)
    among_the_rest = [SeatResult(1, 0, 1, 0), SeatResult(3, 0, 2, 0)]
    made.state_result(1, among_the_rest, 10.0)
    made.state_result(3, [*among_the_rest, SeatResult(2, 0, 3, 0)], 11.0)
    assert made.decision == Decision(
        ResultState.AGREED, (SeatResult(1, 0, 1, 0), SeatResult(2, 0, 3, 0), SeatResult(3, 0, 2, 0))
    )


def test_who_leaves_after_the_first_statement_stays_in_the_result() -> None:
    made = trio()
    everybody = [SeatResult(1, 0, 1, 0), SeatResult(2, 0, 2, 0), SeatResult(3, 0, 3, 0)]
    made.state_result(1, everybody, 10.0)
    made.leave(1, 11.0)
    with pytest.raises(InvalidArgument, match="seat 1 is missing"):
        made.state_result(2, everybody[1:], 12.0)
    made.state_result(2, everybody, 12.0)
    made.state_result(3, everybody, 13.0)
    assert made.decision == Decision(ResultState.AGREED, tuple(everybody))


def test_a_result_is_not_about_who_was_replaced_came_back_was_kicked_or_left_before_the_start() -> None:
    made = session(min_seats=2, max_seats=3)
    made.join("early", "Early", 0, 1.0)
    made.leave(1, 2.0)
    for name in ("ada", "bob", "cy"):
        made.join(name, name.title(), 0, 3.0)
    made.leave(1, 5.0)
    made.leave(2, 5.0)
    made.join("dee", "Dee", 0, 6.0)  # in ada's place
    made.leave(1, 7.0)
    made.join("bob", "Bob", 0, 8.0)  # back, in another place
    made.kick(3, "", 9.0, may_return=False)
    made.host_result([SeatResult(1, 0, 1, 0)], 10.0)
    assert [(seat.number, seat.user_id) for seat in made.roster] == [(1, "bob")]


def test_a_client_that_was_replaced_cannot_give_up_the_seat() -> None:
    made = duel()
    made.connect(1, replaces=False, instance_id="phone")
    made.connect(1, replaces=True, instance_id="desk")
    with pytest.raises(Aborted) as caught:
        made.leave(1, 5.0, instance_id="phone")
    assert caught.value.reason is Reason.REPLACED
    made.disconnect(1, 6.0)
    with pytest.raises(Aborted):
        made.leave(1, 7.0, instance_id="phone")  # the other is away for a moment
    assert told(made.leave(1, 8.0, instance_id="desk")) == ["1 LEFT", "profile 2"]
    assert told(made.leave(2, 9.0)) == ["2 LEFT"], "without an id, the account leaves"


def test_what_leaving_needs_survives_a_takeover() -> None:
    made = trio()
    made.connect(2, replaces=False, instance_id="phone", display_name="Bobby")
    made.leave(1, 5.0)
    fields = {name.encode(): value for name, value in all_fields(made, {}).items()}
    read, _ = read_session(fields, made.times)
    assert read == made
    made.state_result(2, [SeatResult(2, 0, 1, 0), SeatResult(3, 0, 2, 0)], 6.0)
    fields = {name.encode(): value for name, value in all_fields(made, {}).items()}
    assert read_session(fields, made.times)[0] == made


def test_what_a_newer_version_has_written_is_passed_over() -> None:
    made = duel()
    fields = {name.encode(): value for name, value in all_fields(made, {}).items()}
    fields[b"seat:1"] = fields[b"seat:1"][:-1] + b',"from_the_future":1}'
    life = json.loads(fields[b"life"])
    for new in ("absent", "departed"):
        del life[new]  # what an older version wrote
    fields[b"life"] = json.dumps(life).encode()
    assert read_session(fields, made.times)[0] == made


def test_nobody_joins_while_a_result_is_decided() -> None:
    made = duel()
    made.state_result(1, ADA_WINS, 10.0)
    made.leave(1, 11.0)
    with pytest.raises(FailedPrecondition, match="being decided"):
        made.join("cy", "Cy", 0, 12.0)


def test_an_abandoned_session_with_a_statement_is_decided_first() -> None:
    made = duel()
    made.quiet_since = 0.0
    made.state_result(1, ADA_WINS, 299.0)
    assert made.tick(310.0)[-1:] != [StateChanged(State.DELETED)]
    made.tick(329.0)
    assert made.state is State.FINISHING


def test_a_result_needs_a_started_session_and_no_other_end() -> None:
    made = session()
    made.join("ada", "Ada", 0, 1.0)
    with pytest.raises(FailedPrecondition):
        made.state_result(1, [SeatResult(1, 0, 1, 0)], 2.0)
    made.close(3.0)
    with pytest.raises(FailedPrecondition):
        made.host_result([SeatResult(1, 0, 1, 0)], 4.0)


def test_a_decided_session_cannot_be_closed() -> None:
    made = duel()
    made.host_result(ADA_WINS, 10.0)
    with pytest.raises(FailedPrecondition):
        made.close(11.0)


def test_a_pending_statement_is_told_with_its_seat_and_deadline() -> None:
    made = duel()
    [change] = made.state_result(2, ADA_WINS, 10.0)
    assert change == ResultChanged(ResultState.PENDING, tuple(ADA_WINS), 2, 40.0)


@pytest.mark.parametrize(
    ("entries", "field"),
    [
        pytest.param([SeatResult(1, 0, 1, 0)], "result.seats", id="missing"),
        pytest.param([*ADA_WINS, SeatResult(3, 0, 3, 0)], "result.seats[2].seat", id="unknown"),
        pytest.param([*ADA_WINS, ADA_WINS[0]], "result.seats[2].seat", id="twice"),
    ],
)
def test_a_result_has_one_entry_per_seat(entries: list[SeatResult], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        normalised(entries, {1: 0, 2: 0})
    assert caught.value.violations[0].field == field


def test_teams_are_those_of_the_seats_unless_stated() -> None:
    stated = normalised([SeatResult(2, 0, 1, 0), SeatResult(1, 7, 1, 0)], {1: 1, 2: 2})
    assert stated == (SeatResult(1, 7, 1, 0), SeatResult(2, 2, 1, 0))


def test_a_ballot_without_awaited_seats_is_decided() -> None:
    ballot = Ballot(frozenset({1, 2}), 30.0, {1: tuple(ADA_WINS)})
    assert ballot.decision({1, 2}, 0.0) is None
    assert ballot.decision({1}, 0.0) == Decision(ResultState.AGREED, tuple(ADA_WINS))


def test_label_and_attributes_change_by_compare_and_set() -> None:
    made = duel()
    change: Any = {"label": None, "set_attributes": {"map": "ice"}, "remove_attributes": (), "expected_version": 1}
    assert told(made.update(**change)) == ["profile 2"]
    with pytest.raises(Aborted) as caught:
        made.update(**(change | {"set_attributes": {"map": "fire"}}))
    assert caught.value.reason is Reason.CONFLICT
    assert caught.value.metadata["version"] == "2"
    assert made.profile.attributes == {"map": "ice"}
    again = change | {"expected_version": None, "label": "ranked", "remove_attributes": ["map", "never"]}
    assert told(made.update(**(again | {"set_attributes": {}}))) == ["profile 3"]
    assert (made.profile.label, made.profile.attributes) == ("ranked", {})
    assert made.update(**(again | {"set_attributes": {}})) == [], "it is that already"
    with pytest.raises(InvalidArgument):
        made.update(**(again | {"set_attributes": {str(n): "" for n in range(33)}}))
    made.close(9.0)
    with pytest.raises(FailedPrecondition):
        made.update(**again)


def test_when_the_creator_leaves_the_oldest_participant_is_the_new_one() -> None:
    made = session(max_seats=3)
    for at, name in enumerate(("ada", "bob", "eve")):
        made.join(name, name, 0, float(at))
    assert told(made.leave(1, 5.0)) == ["1 LEFT", "profile 2"]
    assert made.profile.creator_user_id == "bob"
    assert told(made.leave(3, 5.0)) == ["3 LEFT"]
    assert told(made.leave(2, 5.0)) == ["2 LEFT"]
    assert made.profile.creator_user_id == "bob", "nobody else is there"
    assert told(made.join("kim", "kim", 0, 6.0)) == ["1 JOINED", "profile 3"]
    assert made.profile.creator_user_id == "kim"


def test_who_was_removed_may_return_only_if_that_was_said() -> None:
    made = session(max_seats=3)
    for name in ("ada", "bob", "eve"):
        made.join(name, name, 0, 0.0)
    assert told(made.kick(2, "rude", 1.0, may_return=False)) == ["2 KICKED"]
    assert told(made.kick(3, "", 1.0, may_return=True)) == ["3 KICKED"]
    assert made.kick(3, "", 1.0, may_return=True) == [], "nobody has the seat"
    with pytest.raises(PermissionDenied) as caught:
        made.join("bob", "bob", 0, 2.0)
    assert caught.value.reason is Reason.KICKED
    assert told(made.join("eve", "eve", 0, 2.0)) == ["2 JOINED"]


def test_a_stream_that_comes_back_reconnects() -> None:
    made = duel()
    assert told(made.connect(1, replaces=False)) == ["1 CONNECTED"]
    assert told(made.connect(1, replaces=True)) == ["1 REPLACED"]
    made.disconnect(1, 5.0)
    assert told(made.connect(1, replaces=False)) == ["1 RECONNECTED"]


def test_it_can_be_started_early_paused_and_go_on() -> None:
    made = session()
    with pytest.raises(FailedPrecondition):
        made.start(0.0)
    made.join("ada", "ada", 0, 0.0)
    with pytest.raises(FailedPrecondition):
        made.pause()
    assert told(made.start(1.0)) == ["STARTED"]
    assert made.start(2.0) == []
    assert told(made.pause()) == ["PAUSED"]
    assert made.pause() == []
    assert told(made.start(9.0)) == ["STARTED"]
    assert made.start_time == 1.0


@pytest.mark.parametrize(
    ("active_at", "quiet_since", "at", "reason"),
    [
        (None, 100.0, 400.0, EndReason.ABANDONED),
        (500.0, None, 2_500.0, EndReason.IDLE),
        (4_999.0, None, 5_000.0, EndReason.LIFETIME),
    ],
    ids=["abandoned", "idle", "lifetime"],
)
def test_a_session_ends_by_itself_and_says_why(
    active_at: float | None, quiet_since: float | None, at: float, reason: EndReason
) -> None:
    made = duel()
    for number in (1, 2):
        made.connect(number, replaces=False)
    made.active_at, made.quiet_since = active_at, quiet_since
    assert made.deadline() == at
    assert made.tick(at - 0.1) == []
    assert made.tick(at) == [StateChanged(State.DELETED, reason)]
    assert made.end_reason is reason
