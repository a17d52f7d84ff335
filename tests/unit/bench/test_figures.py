"""Figures: medians, bounds, what is missing."""

from __future__ import annotations

import pytest

from bench.figures import PER_U, Bound, Figure, Measured, entry, least, missing, most

CORES = {"service": 1.0}


def runs(*values: float, u: float | None = None) -> list[Measured]:
    return [Measured(value, CORES, 0.01 * number, u) for number, value in enumerate(values, 1)]


def test_the_value_is_the_median_and_the_spread_is_told() -> None:
    found = entry(Figure("x", "X", "ms", most(5)), runs(4.0, 9.0, 3.0), 270.0)
    assert (found["value"], found["spread"], found["met"], found["runs"]) == (4.0, [3.0, 9.0], True, 3)
    assert found["in_u"] is None, "milliseconds are not CPU"
    assert found["other_cores"] == 0.03


def test_against_u_each_run_is_divided_by_the_u_of_its_round() -> None:
    measured = [
        Measured(300.0, CORES, 0.0, 200.0),
        Measured(300.0, CORES, 0.0, 300.0),
        Measured(900.0, CORES, 0.0, 300.0),
    ]
    found = entry(Figure("x", "X", PER_U, most(1.8)), measured, 250.0)
    assert (found["value"], found["in_u"], found["us"], found["met"]) == (1.5, 1.5, 300.0, True)


def test_a_figure_against_u_without_u_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="takes no echo"):
        entry(Figure("x", "X", PER_U), runs(1.0), 250.0)


@pytest.mark.parametrize(
    ("unit", "value", "in_u"),
    [("µs/delivery", 25.0, 0.1), ("deliveries/s/core", 1_000_000.0, 0.004), ("MB", 100.0, None), ("s", 1.0, None)],
)
def test_what_is_cpu_is_told_in_u(unit: str, value: float, in_u: float | None) -> None:
    assert entry(Figure("x", "X", unit), runs(value), 250.0)["in_u"] == in_u


@pytest.mark.parametrize(
    ("bound", "value", "met"),
    [(most(5), 5.0, True), (most(5), 5.1, False), (least(5), 5.0, True), (least(5), 4.9, False)],
)
def test_bounds(bound: Bound, value: float, met: bool) -> None:
    found = entry(Figure("x", "X", "s", bound), runs(value), None)
    assert (found["met"], found["bound"]) == (met, 5)


def test_what_could_not_be_taken_does_not_meet_its_bound() -> None:
    found = missing(Figure("x", "X", "s", most(5)), "other load used 1.00 cores")
    assert (found["value"], found["met"], found["missing"]) == (None, False, "other load used 1.00 cores")
    assert missing(Figure("x", "X", "s"), "why")["met"] is None
