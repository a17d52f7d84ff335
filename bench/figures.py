"""Figures: what is measured, what it must be, what it was."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

PER_U = "U"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure must reach, in the figure's unit."""

    kind: Literal["most", "least"]
    value: float

    def met(self, value: float) -> bool:
        """Whether a value is within it."""
        return value <= self.value if self.kind == "most" else value >= self.value


def most(value: float) -> Bound:
    """No more than this."""
    return Bound("most", value)


def least(value: float) -> Bound:
    """No less than this."""
    return Bound("least", value)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    With the unit `U` a measurement is in µs of CPU and is divided by the U of the same round.
    """

    name: str
    title: str
    unit: str
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One run's value of a figure. `u` is the U of the same round in µs, where it was taken."""

    value: float
    cores: Mapping[str, float]
    other: float
    u: float | None = None


def entry(figure: Figure, runs: Sequence[Measured], u_us: float | None) -> dict[str, Any]:
    """A figure as it stands in `latest.json`: the median of its runs, and how far they spread."""
    values = [_in_unit(figure, run) for run in runs]
    value = statistics.median(values)
    cores = {
        name: round(statistics.median([run.cores.get(name, 0.0) for run in runs]), 3)
        for name in sorted({name for run in runs for name in run.cores})
    }
    found: dict[str, Any] = {
        "title": figure.title,
        "value": rounded(value),
        "unit": figure.unit,
        "in_u": _in_u(figure, value, u_us),
        "bound": figure.bound.value if figure.bound else None,
        "bound_kind": figure.bound.kind if figure.bound else None,
        "met": figure.bound.met(value) if figure.bound else None,
        "spread": [rounded(min(values)), rounded(max(values))],
        "runs": len(runs),
        "cores": cores,
        "other_cores": round(max(run.other for run in runs), 3),
    }
    if figure.unit == PER_U:
        found["us"] = rounded(statistics.median([run.value for run in runs]))
    return found


def missing(figure: Figure, reason: str) -> dict[str, Any]:
    """A figure that could not be taken, as it stands in `latest.json`."""
    return {
        "title": figure.title,
        "value": None,
        "unit": figure.unit,
        "in_u": None,
        "bound": figure.bound.value if figure.bound else None,
        "bound_kind": figure.bound.kind if figure.bound else None,
        "met": False if figure.bound else None,
        "missing": reason,
    }


def rounded(value: float) -> float:
    """Four digits are more than a run can tell."""
    return float(f"{value:.4g}")


def _in_unit(figure: Figure, run: Measured) -> float:
    if figure.unit != PER_U:
        return run.value
    if run.u is None:
        raise ValueError(f"{figure.name} is measured against U, and its group takes no echo")
    return run.value / run.u


def _in_u(figure: Figure, value: float, u_us: float | None) -> float | None:
    """The CPU of one of what is counted, in raw echoes; None for what is not CPU."""
    if figure.unit == PER_U:
        return rounded(value)
    if u_us is None or not value:
        return None
    if figure.unit.startswith("µs/"):
        return rounded(value / u_us)
    if figure.unit.endswith("/s/core"):
        return rounded(1e6 / value / u_us)
    return None
