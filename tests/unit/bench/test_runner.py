"""Rounds, attempts, and which runs are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.cpu import Usage
from bench.figures import PER_U, Figure, most
from bench.generator import BenchError
from bench.progress import Progress
from bench.quiet import Rule
from bench.results import results
from bench.runner import Plan, Runner
from bench.scenario import Context, Group, Run, Scenario
from bench.scenarios.unary import ECHO

PLAN = Plan(runs=3, attempts=2, seconds=0.0, warm_up=0.0, quick=False)
RULE = Rule(tolerance=1e9, patience=0.0, look_seconds=0.001)
FIGURE = Figure("figure", "A figure", "ms", most(10))


def scenario(outcomes: list[Run | Exception], name: str = "scenario", *figures: Figure) -> Scenario:
    """A scenario whose runs are given."""
    waiting = iter(outcomes)

    async def measure(_: Context) -> Run:
        outcome = next(waiting)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Scenario(name, figures or (FIGURE,), measure)


def good(value: float, name: str = "figure") -> Run:
    return Run({name: value}, Usage(1.0, {}, 0.0))


def spoiled(value: float) -> Run:
    return Run({"figure": value}, Usage(1.0, {}, 0.0), failed=1, failure="UNAVAILABLE")


@pytest.fixture
def measured() -> Callable[..., Any]:
    async def measure(*scenarios: Scenario) -> dict[str, Any]:
        group = Group("group", "A group", scenarios, on_stage=None)
        findings = await Runner(PLAN, RULE, Progress()).run([group])
        return results([group], findings, PLAN, RULE)

    return measure


async def test_a_spoiled_run_is_done_again(measured: Callable[..., Any]) -> None:
    document = await measured(scenario([spoiled(99), good(1), good(2), BenchError("it fell over"), good(3)]))
    found = document["figures"]["figure"]
    assert (found["value"], found["runs"], found["spread"]) == (2.0, 3, [1.0, 3.0])


async def test_a_figure_that_stays_spoiled_is_missing_and_tells_why(measured: Callable[..., Any]) -> None:
    document = await measured(scenario([good(1), *[spoiled(99)] * 4]))
    found = document["figures"]["figure"]
    assert found["value"] is None
    assert "UNAVAILABLE" in found["missing"]
    assert found["met"] is False


async def test_more_than_half_of_the_runs_are_enough(measured: Callable[..., Any]) -> None:
    document = await measured(scenario([good(1), spoiled(9), spoiled(9), good(2)]))
    assert document["figures"]["figure"]["runs"] == 2


async def test_what_is_compared_with_u_needs_the_echoes_of_its_round(measured: Callable[..., Any]) -> None:
    failed: list[Run | Exception] = [BenchError("no")] * 2
    outcomes = [good(90, ECHO), good(110, ECHO), *failed, *failed, good(300, ECHO), *failed]
    echo = Scenario(ECHO, (), scenario(outcomes).measure)
    against = Figure("figure", "A figure", PER_U)
    document = await measured(echo, scenario([good(150), good(999), good(300)], "against", against), echo)
    found = document["figures"]["figure"]
    assert (found["runs"], found["spread"], document["u_us"]) == (2, [1.0, 1.5], 110.0)


async def test_figures_of_other_groups_stay(measured: Callable[..., Any]) -> None:
    group = Group("group", "A group", (scenario([good(1)] * 3),), on_stage=None)
    findings = await Runner(PLAN, RULE, Progress()).run([group])
    document = results([group], findings, PLAN, RULE, {"u_us": 250.0, "figures": {"older": {"value": 7}}})
    assert document["figures"]["older"] == {"value": 7}
    assert document["u_us"] == 250.0
