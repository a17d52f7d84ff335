"""How many events a projection puts into a transaction."""

from __future__ import annotations

import pytest

from pkg.events.applying import Pace


@pytest.mark.parametrize("seconds_each", [0.0005, 0.005, 0.05, 0.5, 3.0])
def test_a_batch_gets_through_in_time_after_a_few_at_whatever_pace_events_are_applied(seconds_each: float) -> None:
    pace, waited = Pace(), 0.0
    for _ in range(8):
        seconds = pace.most * seconds_each
        waited += min(seconds, 5.0)
        if seconds > 5.0:
            pace.failed(pace.most)
        else:
            pace.took(pace.most, seconds)
    assert pace.most * seconds_each <= max(1.0, seconds_each)
    assert pace.most * seconds_each > 0.1 or pace.most == 200
    assert waited <= 8 * max(1.0, seconds_each) + 10


def test_a_short_batch_says_nothing_of_how_long_one_may_be() -> None:
    pace = Pace()
    before = pace.most
    for _ in range(10):
        pace.took(1, 0.001)
    assert pace.most == before
