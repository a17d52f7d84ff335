"""docs/performance.md is what latest.json says."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import page
from bench.results import LATEST, read
from bench.scenarios import GROUPS

FIGURES = {figure.name: figure for group in GROUPS for scenario in group.scenarios for figure in scenario.figures}
SLOW: dict[str, Any] = {
    "topic": "First things",
    "title": "A & B",
    "value": 3.0,
    "unit": "ms",
    "in_u": None,
    "bound": 2,
    "bound_kind": "most",
    "met": False,
    "spread": [2.5, 3.5],
    "cores": {"service": 0.5},
    "other_cores": 0.01,
}
LOUD: dict[str, Any] = {
    "topic": "Second things",
    "title": "… B",
    "value": None,
    "unit": "s",
    "in_u": None,
    "bound": 2,
    "bound_kind": "least",
    "met": False,
    "missing": "it was too loud",
}
DOCUMENT: dict[str, Any] = {
    "u_us": 250.0,
    "u_spread": [240.0, 260.0],
    "machine": "2 cores",
    "libraries": {"python": "3.11", "grpcio": "1.85", "uvloop": "0.23"},
    "plan": {"runs": 3, "seconds": 5.0, "tolerance": None},
    "figures": {"a": SLOW, "b": LOUD},
}


def test_the_page_and_the_plot_are_as_generated() -> None:
    document = read(LATEST)
    again = "run `make bench ARGS=--page`"
    assert page.PAGE.read_text() == page.render("performance.md.j2", document), again
    assert page.PLOT.read_text() == page.render("performance.svg.j2", document), again


def test_every_figure_of_the_registry_is_in_the_results() -> None:
    figures = read(LATEST)["figures"]
    assert figures.keys() == FIGURES.keys()
    for name, found in figures.items():
        figure = FIGURES[name]
        assert (found["title"], found["unit"]) == (figure.title, figure.unit)
        assert found["bound"] == (figure.bound.value if figure.bound else None)


def test_what_missed_and_what_is_missing_is_told() -> None:
    text = page.render("performance.md.j2", DOCUMENT)
    assert "| A & B | 3 ms | 2.5–3.5 |  | ≤ 2 | missed | service 0.50, other 0.01 |" in text
    assert "| … B | missing |" in text
    assert "it was too loud" in text
    assert "Not within its bound in this run: A & B; A & B: B." in text


def test_each_topic_has_its_table() -> None:
    text = page.render("performance.md.j2", DOCUMENT)
    first, second = text.index("### First things"), text.index("### Second things")
    assert first < text.index("| A & B |") < second < text.index("| … B |")


def test_the_plot_is_well_formed_and_ends_at_twice_the_bound() -> None:
    drawn = page.render("performance.svg.j2", {**DOCUMENT, "figures": {"a": {**SLOW, "value": 100.0}}})
    root = ET.fromstring(drawn)
    bars = [element for element in root.iter("{http://www.w3.org/2000/svg}rect") if element.get("fill") != "#ffffff"]
    assert [bar.get("width") for bar in bars] == ["400.0"]


@pytest.mark.parametrize(
    ("value", "told"), [(None, "–"), (0.1234, "0.123"), (26.66, "26.7"), (1234.5, "1,230"), (2_215_000.0, "2,220,000")]
)
def test_numbers_have_three_digits(value: float | None, told: str) -> None:
    assert page.number(value) == told


def test_the_terminal_shows_every_figure() -> None:
    table = page.table(DOCUMENT)
    assert table.splitlines()[0] == "U = 250 µs of CPU"
    assert [line.split()[-1] for line in table.splitlines() if line.startswith("  ")] == ["missed", "missing"]
