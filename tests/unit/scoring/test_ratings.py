"""Ratings: as the library has them, whatever the sides; and what it must not depend on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openskill.models import BradleyTerryPart

from pkg.errors import InvalidArgument
from services.scoring.matches import Participant
from services.scoring.ratings.rules import (
    DEFAULT_RULES,
    LEAST_MU,
    LEAST_SPREAD,
    Rating,
    RatingRules,
    beginning,
    rate,
)


def played(seat: int, team: int, placement: int) -> Participant:
    return Participant(seat, f"u{seat}", f"u{seat}", team, placement, 0)


RATING = st.builds(Rating, st.floats(0, 50), st.floats(0.5, 8.5), st.integers(0, 100))
MATCH = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), RATING), min_size=1, max_size=8)


def test_a_win_over_an_equal_moves_both_alike_and_makes_surer() -> None:
    ratings = {user: beginning(DEFAULT_RULES) for user in ("u1", "u2")}
    changes = rate([played(1, 0, 1), played(2, 0, 2)], ratings, DEFAULT_RULES)
    won, lost = changes["u1"].after, changes["u2"].after
    assert won.mu - 25 == pytest.approx(25 - lost.mu)
    assert won.mu > 26
    assert won.sigma == lost.sigma < DEFAULT_RULES.sigma
    assert (won.matches, won.is_provisional(DEFAULT_RULES)) == (1, True)
    assert won.ordinal == won.mu - 3 * won.sigma


def test_a_draw_between_equals_moves_nobody() -> None:
    ratings = {user: beginning(DEFAULT_RULES) for user in ("u1", "u2")}
    changes = rate([played(1, 0, 1), played(2, 0, 1)], ratings, DEFAULT_RULES)
    assert changes["u1"].after.mu == pytest.approx(25)
    assert changes["u2"].after.mu == pytest.approx(25)


def test_one_side_alone_says_nothing() -> None:
    ratings = {user: beginning(DEFAULT_RULES) for user in ("u1", "u2")}
    assert rate([played(1, 5, 1), played(2, 5, 1)], ratings, DEFAULT_RULES) == {}
    assert rate([played(1, 0, 1)], ratings, DEFAULT_RULES) == {}


def test_rules_have_defaults_that_follow_the_mean() -> None:
    rules = RatingRules.filled(mu=1500, provisional_matches=5)
    assert (rules.sigma, rules.beta, rules.tau, rules.provisional_matches) == (500, 250, 5, 5)
    assert not Rating(1500, 10, 5).is_provisional(rules)


@given(MATCH)
def test_it_is_what_the_library_says_of_the_same_sides(match: list[tuple[int, int, Rating]]) -> None:
    participants = [played(seat, team, place) for seat, (team, place, _) in enumerate(match, 1)]
    ratings = {f"u{seat}": rating for seat, (_, _, rating) in enumerate(match, 1)}
    sides: dict[object, list[Participant]] = {}
    for each in participants:
        sides.setdefault(each.team or f"alone {each.seat}", []).append(each)
    changes = rate(participants, ratings, DEFAULT_RULES)
    if len(sides) < 2:
        assert changes == {}
        return
    rules = DEFAULT_RULES
    model = BradleyTerryPart(mu=rules.mu, sigma=rules.sigma, beta=rules.beta, tau=rules.tau)
    teams = [[model.rating(ratings[m.user_id].mu, ratings[m.user_id].sigma) for m in side] for side in sides.values()]
    expected = model.rate(teams, ranks=[min(m.placement for m in side) for side in sides.values()])
    for side, rated in zip(sides.values(), expected, strict=True):
        for member, found in zip(side, rated, strict=True):
            change = changes[member.user_id]
            assert (change.after.mu, change.after.sigma) == (found.mu, found.sigma)
            assert math.isfinite(change.after.mu)
            assert change.after.matches == change.before.matches + 1


def chosen(least: float) -> st.SearchStrategy[float]:
    return st.just(0.0) | st.floats(least, 10_000)


@settings(max_examples=300)
@given(
    rules=st.builds(
        RatingRules.filled,
        mu=chosen(LEAST_MU),
        sigma=chosen(LEAST_SPREAD),
        beta=chosen(LEAST_SPREAD),
        tau=chosen(LEAST_SPREAD),
    ),
    match=st.lists(
        st.tuples(
            st.integers(0, 4),
            st.integers(1, 4),
            st.builds(Rating, st.floats(-1e6, 1e6), st.floats(1e-9, 1e4), st.just(0)),
        ),
        min_size=2,
        max_size=12,
    ),
)
def test_every_accepted_rule_can_rate_every_match(rules: RatingRules, match: list[tuple[int, int, Rating]]) -> None:
    participants = [played(seat, team, place) for seat, (team, place, _) in enumerate(match, 1)]
    ratings = {f"u{seat}": rating for seat, (_, _, rating) in enumerate(match, 1)}
    for change in rate(participants, ratings, rules).values():
        assert math.isfinite(change.after.mu)
        assert 0 < change.after.sigma < math.inf


@pytest.mark.parametrize("name", ["mu", "sigma", "beta", "tau"])
def test_rules_too_small_to_compute_with_are_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        RatingRules.filled(**{name: 1e-200})  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.violations] == [f"rules.{name}"]


def test_rules_that_were_stored_before_they_had_a_minimum_can_still_rate() -> None:
    stored = RatingRules(mu=25, sigma=1e-200, beta=1e-200, tau=1e-200, provisional_matches=10)
    ratings = {user: beginning(stored) for user in ("u1", "u2")}
    changes = rate([played(1, 0, 1), played(2, 0, 2)], ratings, stored)
    assert changes["u1"].after.mu > changes["u2"].after.mu
