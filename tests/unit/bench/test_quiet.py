"""When a run counts."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest

from bench.cpu import Snapshot, Usage, usage
from bench.quiet import Rule

RULE = Rule(tolerance=0.1, patience=0.0)
CORES = os.cpu_count() or 1


@pytest.mark.parametrize(
    ("used", "told", "reason"),
    [
        pytest.param(Usage(5, {"service": 0.95}, 0.05), {}, "", id="quiet"),
        pytest.param(Usage(5, {"service": 0.95}, 0.2), {}, "other load used 0.20 cores", id="somebody else works"),
        pytest.param(Usage(5, {"service": 0.5}, 0.0), {"saturated": "service"}, "not saturated", id="too little load"),
        pytest.param(Usage(5, {"service": 0.5}, 0.0), {}, "", id="it need not be saturated"),
        pytest.param(
            Usage(5, {"service": 0.6, "generator": CORES - 0.6}, 0.0), {"saturated": "service"}, "", id="full machine"
        ),
        pytest.param(
            Usage(5, {"service": 0.95}, 0.0),
            {"failed": 3, "failure": "UNAVAILABLE"},
            "3 calls failed: UNAVAILABLE",
            id="failed calls",
        ),
    ],
)
def test_a_run_counts_or_tells_why_not(used: Usage, told: dict[str, Any], reason: str) -> None:
    verdict = RULE.verdict(used, **{"saturated": "", "failed": 0, **told})
    assert (reason in verdict) if reason else (verdict == "")


def test_an_infinite_tolerance_still_refuses_failed_calls() -> None:
    rule = Rule(math.inf, 0.0)
    assert rule.verdict(Usage(5, {}, 30.0), saturated="", failed=0) == ""
    assert rule.verdict(Usage(5, {}, 0.0), saturated="", failed=1) != ""


def test_other_load_is_what_the_machine_did_besides_all_of_ours() -> None:
    before = Snapshot(at=10.0, processes={"service": 1.0}, ours=5.0, machine=100.0)
    after = Snapshot(at=20.0, processes={"service": 9.0, "envoy": 1.0}, ours=15.0, machine=113.0)
    used = usage(before, after)
    assert used.seconds == 10.0
    assert used.cores == {"service": 0.8, "envoy": 0.1}
    assert used.other == pytest.approx(0.3)
    assert used.core_seconds("service", "envoy") == pytest.approx(9.0)
