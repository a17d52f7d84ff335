"""Estimated waits."""

from __future__ import annotations

from services.matchmaking.engine.estimates import FORGOTTEN_AFTER_SECONDS, MOST, Estimate, Waits


def test_nothing_is_known_of_a_new_queue() -> None:
    assert Waits().estimate(0.0) is None
    assert Waits().numbers(0.0) == []


def test_median_and_nine_of_ten() -> None:
    waits = Waits()
    for waited in range(1, 11):
        waits.add(float(waited), 100.0)
    assert waits.estimate(100.0) == Estimate(5.0, 9.0)


def test_an_hour_later_it_is_forgotten() -> None:
    waits = Waits()
    waits.add(5.0, 0.0)
    waits.add(7.0, 10.0)
    assert waits.estimate(FORGOTTEN_AFTER_SECONDS) == Estimate(7.0, 7.0)
    assert waits.estimate(FORGOTTEN_AFTER_SECONDS + 10.0) is None
    assert waits.numbers(FORGOTTEN_AFTER_SECONDS) == [10.0, 7.0, 1]


def test_the_oldest_go_first() -> None:
    waits = Waits()
    for number in range(MOST + 50):
        waits.add(float(number), 0.0)
    assert waits.numbers(0.0)[:3] == [0.0, 50.0, 1]
    assert len(waits.numbers(0.0)) == 3 * MOST


def test_parties_have_their_own_when_there_are_enough() -> None:
    waits = Waits()
    for _ in range(20):
        waits.add(2.0, 0.0)
    for _ in range(7):
        waits.add(30.0, 0.0, size=5)
    assert waits.estimate(0.0, size=5) == Estimate(2.0, 30.0)
    waits.add(30.0, 0.0, size=5)
    assert waits.estimate(0.0, size=5) == Estimate(30.0, 30.0)
    assert waits.estimate(0.0, size=1) == Estimate(2.0, 2.0)


def test_it_is_kept_as_numbers() -> None:
    waits = Waits()
    waits.add(1.25, 1_800_000_000.123, size=2)
    waits.add(-1.0, 1_800_000_001.0)
    numbers = waits.numbers(1_800_000_002.0)
    assert numbers == [1_800_000_000.123, 1.25, 2, 1_800_000_001.0, 0.0, 1]
    assert Waits([*numbers, 3.0]).numbers(1_800_000_002.0) == numbers
