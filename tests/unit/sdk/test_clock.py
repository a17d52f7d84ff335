"""Estimating the server's clock."""

from __future__ import annotations

import pytest

from oofgg._clock import ClockOffset

SERVER_AHEAD = 100.0


def measure(clock: ClockOffset, there: float, back: float, at: float = 1000.0) -> None:
    """A heartbeat that is on its way for so long in each direction."""
    clock.measured(there + back, at + SERVER_AHEAD, at + back)


def test_nothing_is_known_at_first() -> None:
    assert ClockOffset().estimate is None


def test_equal_ways_are_no_error() -> None:
    clock = ClockOffset()
    measure(clock, 0.25, 0.25)
    assert clock.estimate == pytest.approx(SERVER_AHEAD)


def test_the_shortest_round_trip_wins() -> None:
    clock = ClockOffset()
    measure(clock, 0.9, 0.1)
    assert clock.estimate == pytest.approx(SERVER_AHEAD + 0.4)
    measure(clock, 0.03, 0.01)
    measure(clock, 0.1, 0.9)
    assert clock.estimate == pytest.approx(SERVER_AHEAD + 0.01)


def test_a_clock_that_is_set_is_followed() -> None:
    clock = ClockOffset()
    measure(clock, 0.01, 0.01)
    for _ in range(8):
        clock.measured(0.5, 1000.0, 1000.25)
    assert clock.estimate == pytest.approx(0.0)
