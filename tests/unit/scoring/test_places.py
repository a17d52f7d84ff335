"""Places sort as entries rank, over the whole range of 64 bits."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.leaderboards.places import (
    LEAST,
    MOST,
    Standing,
    member_of,
    place_of,
    standing_at,
    user_of,
)

numbers = st.one_of(
    st.integers(LEAST, MOST), st.sampled_from([LEAST, -1, 0, 1, MOST, 2**53, 2**53 + 1]), st.integers(-3, 3)
)
standings = st.builds(Standing, numbers, numbers, st.integers(1, MOST))


def better(one: Standing, other: Standing, *, ascending: bool) -> bool:
    """As a person would say it."""
    if (one.score, one.subscore) != (other.score, other.subscore):
        pairs = (one.score, one.subscore), (other.score, other.subscore)
        return pairs[0] < pairs[1] if ascending else pairs[0] > pairs[1]
    return one.turn < other.turn


@given(standings, standings, st.booleans())
def test_of_two_places_the_better_is_less(one: Standing, other: Standing, ascending: bool) -> None:
    first, second = (place_of(standing, ascending=ascending) for standing in (one, other))
    assert (first < second) == better(one, other, ascending=ascending)
    assert (first == second) == (one == other)


@given(standings, st.booleans(), st.uuids())
def test_a_member_tells_its_player_and_standing(standing: Standing, ascending: bool, user: UUID) -> None:
    member = member_of(place_of(standing, ascending=ascending), str(user))
    assert len(member) == 40
    assert user_of(member) == str(user)
    assert standing_at(member[:24], ascending=ascending) == standing


def test_other_bytes_are_no_place() -> None:
    with pytest.raises(ValueError, match="24 bytes"):
        standing_at(b"x", ascending=True)
