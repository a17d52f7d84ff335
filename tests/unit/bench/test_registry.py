"""The registry: what is measured, and against which bounds."""

from __future__ import annotations

from bench.figures import PER_U
from bench.scenarios import GROUPS
from bench.scenarios.unary import ECHO

SCENARIOS = [scenario for group in GROUPS for scenario in group.scenarios if scenario.name != ECHO]
BEHAVIOURS = ("deaf", "slow", "flood", "flood_large", "half_open", "half_connection")
FIGURES = [figure for scenario in SCENARIOS for figure in scenario.figures]


def test_names_are_unique() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(names) == len(set(names))
    scenarios = [scenario.name for scenario in SCENARIOS]
    assert len(scenarios) == len(set(scenarios))


def test_what_is_measured_in_u_comes_with_an_echo() -> None:
    for group in GROUPS:
        if any(figure.unit == PER_U for scenario in group.scenarios for figure in scenario.figures):
            ends = {group.scenarios[0].name, group.scenarios[-1].name}
            assert ends == {ECHO}, f"{group.name} takes its U before and after"


def test_the_bounds_are_those_that_were_promised() -> None:
    assert {figure.name: figure.bound.value for figure in FIGURES if figure.bound} == {
        "start_cold": 10,
        "start_warm": 5,
        "memory_idle": 350,
        "get_account": 1.8,
        "validate_token": 1.3,
        "login": 30,
        "storm_slowdown_p99": 3,
        "revocation_p99": 1000,
        "fan_out_32": 700_000,
        "fan_out_32_envoy": 300_000,
        "cost_32_20hz_window_default_envoy": 16,
        "latency_8_20hz_window_0_p99": 5,
        "latency_8_20hz_window_0_envoy_p99": 5,
        "latency_32_20hz_window_default_p99": 30,
        "latency_32_20hz_window_default_envoy_p99": 30,
        "takeover_max": 5,
        **{f"hostile_{name}{door}": 2 for name in BEHAVIOURS for door in ("", "_envoy")},
        **{f"hostile_{name}{door}_others": 0 for name in BEHAVIOURS for door in ("", "_envoy")},
        "idle_stream": 50,
        "finish_visible_p99": 250,
        "finish_topic_p99": 250,
        "submit_score": 1.8,
        "submit_scores": 0.1,
        "get_around": 1.8,
        **{f"matching_duels_{tickets}": 100 for tickets in (1_000, 5_000, 20_000, 50_000)},
        **{f"tickets_{number}_seconds": seconds for number, seconds in ((1_000, 1.5), (5_000, 5), (20_000, 20))},
        **{f"tickets_{number}_cpu": 1_000 for number in (1_000, 5_000, 20_000)},
        "tickets_paced_100_p50": 300,
        "tickets_paced_500_p50": 300,
        "matching_five": 2,
        "matching_idle": 300,
    }
