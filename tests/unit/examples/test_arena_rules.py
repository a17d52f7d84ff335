"""The arena's rules: what counts, and that everybody who sees the same order has the same scores."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oofgg
from sdk.examples.arena import wire
from sdk.examples.arena.field import GEMS, HEADINGS, WALLS, gem, is_free, reach, slide, spawn
from sdk.examples.arena.motion import Pose
from sdk.examples.arena.picture import Picture
from sdk.examples.arena.play import Game
from sdk.examples.arena.rules import (
    DOWN,
    GEM_POINTS,
    HIT_POINTS,
    RELOAD,
    SHIELD,
    Fact,
    Fired,
    Hit,
    Joined,
    Left,
    Over,
    Plan,
    Round,
    Started,
    Took,
)

START = 1_000.0
PLAN = Plan("salt", seconds=10, countdown=3)
GO = START + PLAN.countdown


def a_round(*facts: Fact) -> Round:
    """A round of three that has begun, and what else happened."""
    begun = Round(PLAN)
    for fact in (Joined(1, 1, "ada"), Joined(2, 2, "bob"), Joined(3, 3, "eve"), Started(0, START), *facts):
        begun.apply(fact)
    return begun


def shot(seat: int = 1, at: float = GO + 1, number: int = 1) -> Fired:
    return Fired(seat, at, number, 48.0, 20.0, 0)


def test_a_hit_counts_for_the_gunner_once() -> None:
    played = a_round(shot())
    assert played.apply(Hit(2, GO + 1.2, 1, 1))
    assert not played.apply(Hit(3, GO + 1.2, 1, 1)), "a bolt hits one ship"
    assert played.scores({1, 2, 3}) == {1: HIT_POINTS, 2: 0, 3: 0}
    assert played.places() == {1: 1, 2: 2, 3: 2}


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        pytest.param([], Hit(2, GO + 1, 1, 1), id="a shot that was never fired"),
        pytest.param([shot()], Hit(1, GO + 1.1, 1, 1), id="by oneself"),
        pytest.param([shot()], Hit(2, GO + 5, 1, 1), id="long after it has ended"),
        pytest.param([shot()], Hit(9, GO + 1.1, 1, 1), id="somebody who is not here"),
        pytest.param([shot(), Hit(2, GO + 1.1, 1, 1), shot(3, GO + 1.2)], Hit(2, GO + 1.3, 3, 1), id="while out"),
        pytest.param(
            [shot(), Hit(2, GO + 1.1, 1, 1), shot(3, GO + 1.1 + DOWN)],
            Hit(2, GO + 1.1 + DOWN + SHIELD / 2, 3, 1),
            id="with the shield up",
        ),
        pytest.param([shot()], shot(at=GO + 1 + RELOAD / 3, number=2), id="a shot before the gun is loaded"),
        pytest.param([shot(number=5)], shot(at=GO + 3, number=5), id="a shot twice"),
        pytest.param([], Fired(1, GO + 1, 1, 21.0, 13.0, 0), id="a shot from within a wall"),
        pytest.param([], Fired(1, GO + 1, 1, 48.0, 20.0, 8), id="a heading there is not"),
        pytest.param([], Fired(1, GO + 1, 1, float("nan"), 20.0, 0), id="a place there is not"),
        pytest.param([shot(2), Hit(1, GO + 1.1, 2, 1)], shot(at=GO + 1.2), id="a shot while out"),
        pytest.param([Took(1, GO + 1, 0, 0)], Took(2, GO + 1, 0, 0), id="a gem that is gone"),
        pytest.param([], Took(1, GO + 1, GEMS, 0), id="a gem there is not"),
        pytest.param([], Took(1, GO - 1, 0, 0), id="before the countdown is over"),
        pytest.param([], Took(1, GO + PLAN.seconds, 0, 0), id="after the last second"),
        pytest.param([], Over(1, GO + PLAN.seconds - 0.1), id="the end, too early"),
    ],
)
def test_what_does_not_count(facts: list[Fact], refused: Fact) -> None:
    played = a_round(*facts)
    before = played.scores({1, 2, 3})
    assert not played.apply(refused)
    assert played.scores({1, 2, 3}) == before
    assert not played.closed


def test_a_gem_is_the_first_ones_and_another_appears_elsewhere() -> None:
    played = a_round()
    before = played.gem(1)
    assert played.apply(Took(3, GO + 1, 1, 0))
    assert played.scores({3}) == {3: GEM_POINTS}
    assert played.gem(1) != before


def test_what_comes_after_the_end_in_the_order_does_not_count() -> None:
    played = a_round(Over(2, GO + PLAN.seconds))
    assert played.closed
    # Another node may date it a little earlier; the order decides.
    assert not played.apply(Took(1, GO + PLAN.seconds - 0.01, 0, 0))


def test_who_has_left_has_no_place_and_somebody_else_begins_at_nothing() -> None:
    played = a_round(Took(3, GO + 1, 0, 0), Left(3, GO + 2))
    assert set(played.places()) == {1, 2}
    played.apply(Joined(3, GO + 3, "mallory"))
    assert played.scores({3}) == {3: 0}


def test_the_same_player_comes_back_to_the_same_score() -> None:
    played = a_round(Took(3, GO + 1, 0, 0), Left(3, GO + 2), Joined(3, GO + 3, "eve"))
    assert played.scores({3}) == {3: GEM_POINTS}


def test_places_are_free_and_the_same_for_everybody() -> None:
    for number in range(50):
        for place in (spawn("s", number % 8, number), gem("s", number % GEMS, number)):
            assert is_free(*place)
    assert spawn("s", 1, 0) == spawn("s", 1, 0) != spawn("t", 1, 0)


def test_walls_stop_ships_and_bolts() -> None:
    wall = WALLS[0]
    assert slide(wall.left - 2.1, wall.top + 1, 1.0, 0.0) == (wall.left - 2.1, wall.top + 1)
    assert slide(wall.left - 2.1, wall.top + 1, 0.5, -0.5) == (wall.left - 2.1, wall.top + 0.5), "along it"
    assert reach(wall.left - 10, wall.top + 1, 0) == pytest.approx(9.5, abs=0.5)


seats = st.integers(1, 4)
number = st.integers(0, 6)
times = st.floats(GO - 1, GO + PLAN.seconds + 1)
facts = st.one_of(
    st.builds(Fired, seats, times, number, st.floats(0, 96), st.floats(0, 60), st.integers(0, len(HEADINGS) - 1)),
    st.builds(Hit, seats, times, seats, number),
    st.builds(Took, seats, times, st.integers(0, GEMS - 1), st.integers(0, 3)),
    st.builds(Left, seats, times),
    st.builds(Joined, seats, times, st.sampled_from(["ada", "bob", "eve"])),
    st.builds(Over, seats, times),
)
orders = st.lists(facts, max_size=60).map(lambda found: sorted(found, key=lambda fact: fact.at))


@given(orders)
def test_every_point_is_accounted_for(order: list[Fact]) -> None:
    played = a_round()
    counted = [fact for fact in order if played.apply(fact)]
    for seat, player in played.players.items():
        assert player.score == HIT_POINTS * player.hits + GEM_POINTS * player.gems, seat
    hits = [(fact.by, fact.number) for fact in counted if isinstance(fact, Hit)]
    assert len(set(hits)) == len(hits), "a bolt hit twice"
    gems = [(fact.slot, fact.generation) for fact in counted if isinstance(fact, Took)]
    assert len(set(gems)) == len(gems), "a gem was taken twice"
    assert len(played.shots) <= sum(isinstance(fact, Fired) for fact in counted)


class Witness:
    """A participant that sees an order, and as much else as reaches it."""

    def __init__(self, seat: int) -> None:
        info = SimpleNamespace(attributes=wire.attributes(PLAN.seconds, PLAN.countdown))
        session = SimpleNamespace(session_id=PLAN.salt, info=info, seat=seat, clock_offset=0.0, connected=True)
        self.game = Game(cast(oofgg.PlaySession, session))

    def see(self, events: list[oofgg.Event]) -> dict[int, int]:
        for event in events:
            self.game.take(event)
            self.game.view()
        Picture(40, 12).paint(self.game)
        return self.game.round.scores({1, 2, 3, 4})


def told(seq: int, seat: int, at: float, kind: str, data: Any) -> oofgg.Message:
    return oofgg.Message(
        seq=seq,
        after_seq=0,
        seat=seat,
        event_time=datetime.fromtimestamp(at, UTC),
        data=json.dumps(data).encode(),
        kind=kind,
        key="",
        number=1,
    )


def begun() -> list[oofgg.Event]:
    when = datetime.fromtimestamp(START, UTC)
    people = [oofgg.Seat(seat, f"u{seat}", name, 0, True, None) for seat, name in enumerate(("ada", "bob", "eve"), 1)]
    joined = oofgg.PresenceChange.JOINED
    return [
        *(
            oofgg.Presence(seq=who.seat, after_seq=0, seat=0, event_time=when, change=joined, participant=who)
            for who in people
        ),
        oofgg.StateChange(seq=4, after_seq=0, seat=0, event_time=when, state=oofgg.SessionState.STARTED),
    ]


messages = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.floats(0, 0.5),
        st.one_of(
            st.tuples(st.just("fire"), st.tuples(number, st.just(48.0), st.just(20.0), st.integers(-1, 9)).map(list)),
            st.tuples(st.just("hit"), st.tuples(seats, number).map(list)),
            st.tuples(st.just("take"), st.tuples(st.integers(-1, 3), st.integers(0, 3)).map(list)),
            st.tuples(st.just("over"), st.just([])),
            st.tuples(st.sampled_from(["fire", "hit", "take", "else"]), st.lists(st.integers(), max_size=5)),
            st.tuples(st.sampled_from(["fire", "hit"]), st.sampled_from([{}, 7, "no", [[]], [1e400, 1]])),
        ),
    ),
    max_size=40,
)
glimpses: st.SearchStrategy[list[tuple[int, int, str, Any]]] = st.lists(
    st.tuples(
        st.integers(0, 40),
        st.integers(1, 3),
        st.sampled_from(["pose", "spark", "else"]),
        st.one_of(st.lists(st.floats(), max_size=5), st.just({})),
    ),
    max_size=20,
)


@given(messages, glimpses, glimpses)
def test_whoever_sees_the_order_has_the_scores_whatever_else_was_lost(
    order: list[tuple[int, float, tuple[str, Any]]],
    ones: list[tuple[int, int, str, Any]],
    others: list[tuple[int, int, str, Any]],
) -> None:
    at = GO
    reliable: list[oofgg.Event] = begun()
    for seat, later, (kind, data) in order:
        at += later
        reliable.append(told(len(reliable) + 1, seat, at, kind, data))

    def with_glimpses(seen: list[tuple[int, int, str, Any]]) -> list[oofgg.Event]:
        events = list(reliable)
        for place, seat, kind, data in seen:
            events.insert(min(place, len(events)), replace(told(0, seat, at, kind, data), key="pose"))
        return events

    assert Witness(1).see(with_glimpses(ones)) == Witness(3).see(with_glimpses(others))


def test_a_message_that_cannot_be_read_is_nothing() -> None:
    for data in (b"[" * 60_000, b"\xff", b"", b"[NaN,NaN,0,1]", b"[1e999,1,0,1]", b"[-5,1,0,1]", b"[1,1,NaN,1]"):
        message = replace(told(0, 2, GO, wire.POSE, 0), data=data)
        assert wire.heard_pose(message) is None
        assert wire.heard_spark(message) is None
        assert wire.fact(replace(message, seq=5, kind="hit")) is None


def test_what_is_said_is_what_is_heard() -> None:
    pose = Pose(12.25, 30.5, 3, True)
    for kind, data, expected in [
        (*wire.fire(4, pose), Fired(2, GO, 4, 12.25, 30.5, 3)),
        (*wire.hit(1, 7), Hit(2, GO, 1, 7)),
        (*wire.take(2, 5), Took(2, GO, 2, 5)),
        (*wire.over(), Over(2, GO)),
    ]:
        assert wire.fact(told(9, 2, GO, kind, data)) == expected
    assert wire.heard_pose(told(0, 2, GO, wire.POSE, wire.pose(pose))) == pose


@pytest.mark.parametrize(
    "attributes",
    [{}, {"seconds": "60"}, {"seconds": "x", "countdown": "3"}, {"seconds": "nan", "countdown": "3"},
     {"seconds": "1e9", "countdown": "3"}],
    ids=["none", "half", "words", "nan", "too long"],
)  # fmt: skip
def test_a_session_of_another_kind_is_refused(attributes: dict[str, str]) -> None:
    with pytest.raises(wire.OtherGame, match="round"):
        wire.plan("s", attributes)
