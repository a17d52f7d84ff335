"""docs/performance.md and its plot, from `latest.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.generator import ROOT

PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
_TEMPLATES = Path(__file__).parent / "templates"
# The plot ends here: twice the bound.
_MOST_SHARE = 2.0


def write(document: dict[str, Any]) -> None:
    """Writes the page and its plot."""
    PAGE.write_text(render("performance.md.j2", document))
    PLOT.write_text(render("performance.svg.j2", document))


def render(template: str, document: dict[str, Any]) -> str:
    """One of the two."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=template.endswith(".svg.j2"),
    )
    environment.globals |= {"number": number, "bound": bound, "verdict": verdict}
    return environment.get_template(template).render(document, bars=bars(document), topics=topics(document))


def table(document: dict[str, Any]) -> str:
    """The figures, for a terminal."""
    lines = [f"U = {number(document['u_us'])} µs of CPU"] if document["u_us"] else []
    for topic, figures in topics(document).items():
        lines.append(f"\n{topic}")
        for found in figures:
            spread = "–".join(number(value) for value in found.get("spread", ()))
            lines.append(
                f"  {found['title']:<76} {number(found['value']):>9} {found['unit']:<19}"
                f" {spread:<19} {bound(found):<11} {verdict(found)}"
            )
    return "\n".join(lines)


def topics(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Figures by topic, in their order.

    What continues the one before (`… p99`) has its whole title as `full_title`; what comes from the same run as the one
    before has `same_run`.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    subject = ""
    before: dict[str, Any] | None = None
    for figure in document["figures"].values():
        title = figure["title"]
        if title.startswith("…"):
            title = f"{subject}: {title.removeprefix('…').strip()}"
        else:
            subject = title
        same = figure.get("cores") is not None and figure.get("cores") == before
        before = figure.get("cores")
        found.setdefault(figure["topic"], []).append({**figure, "full_title": title, "same_run": same})
    return found


def bars(document: dict[str, Any]) -> list[dict[str, Any]]:
    """What the plot shows: how much of its bound each bounded figure takes; 1.0 and less is met."""
    shown = []
    for found in (figure for figures in topics(document).values() for figure in figures):
        if found["bound"] and found["value"]:
            share = found["value"] / found["bound"]
            share = 1 / share if found["bound_kind"] == "least" else share
            shown.append({**found, "share": share, "drawn": min(share, _MOST_SHARE)})
    return shown


def number(value: float | None) -> str:
    """A figure to read: three digits, and thousands apart."""
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def bound(found: dict[str, Any]) -> str:
    """`≤ 5`, or nothing."""
    if found["bound"] is None:
        return ""
    return f"{'≤' if found['bound_kind'] == 'most' else '≥'} {number(found['bound'])}"


def verdict(found: dict[str, Any]) -> str:
    """One word."""
    if found.get("missing"):
        return "missing"
    if found["met"] is None:
        return ""
    return "met" if found["met"] else "missed"
