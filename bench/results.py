"""`bench/results/latest.json`: what was measured last."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure, entry, missing, rounded
from bench.generator import ROOT
from bench.machine import libraries, machine
from bench.quiet import Rule
from bench.runner import Findings, Plan
from bench.scenario import Group

LATEST = ROOT / "bench" / "results" / "latest.json"


def results(
    groups: Sequence[Group], findings: Findings, plan: Plan, rule: Rule, before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The document. Figures of groups that were not run are taken over from `before`."""
    kept = before or {}
    known = {figure.name: figure for group in groups for scenario in group.scenarios for figure in scenario.figures}
    u = rounded(statistics.median(findings.u)) if findings.u else kept.get("u_us")
    taken = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    figures: dict[str, Any] = dict(kept.get("figures", {}))
    for name, figure in known.items():
        figures[name] = {**_entry(figure, findings, u), "taken": taken}
    return {
        "u_us": u,
        "u_spread": [rounded(min(findings.u)), rounded(max(findings.u))] if findings.u else kept.get("u_spread"),
        "machine": machine(),
        "libraries": libraries(),
        "plan": {
            "runs": plan.runs,
            "seconds": plan.seconds,
            "tolerance": rule.tolerance if math.isfinite(rule.tolerance) else None,
        },
        "figures": figures,
    }


def in_order(document: dict[str, Any], groups: Sequence[Group]) -> dict[str, Any]:
    """The document with its figures in the order of the registry, without those that are not in it any more.

    Each is told its topic, which is the title of its group.
    """
    topics = {
        figure.name: group.title for group in groups for scenario in group.scenarios for figure in scenario.figures
    }
    figures = document["figures"]
    kept = {name: {**figures[name], "topic": topic} for name, topic in topics.items() if name in figures}
    return {**document, "figures": kept}


def write(path: Path, document: dict[str, Any]) -> None:
    """Writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> dict[str, Any]:
    """What was written last; empty when there is nothing."""
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return document


def _entry(figure: Figure, findings: Findings, u: float | None) -> dict[str, Any]:
    if findings.enough(figure):
        return entry(figure, findings.runs[figure.name], u)
    return missing(figure, findings.reasons.get(figure.name, "it was not measured"))
