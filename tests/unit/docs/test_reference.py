"""The reference says what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

from pkg.telemetry.metrics import Metrics
from services.edge.metrics import EdgeMetrics

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def test_generated_pages_are_fresh() -> None:
    generator = runpy.run_path(str(REFERENCE / "generate.py"))
    assert (REFERENCE / "errors.md").read_text() == generator["errors_page"]()
    assert (REFERENCE / "settings.md").read_text() == generator["settings_page"]()
    assert (REFERENCE / "topics.md").read_text() == generator["topics_page"]()


def test_every_metric_is_documented() -> None:
    page = (REFERENCE / "metrics.md").read_text()
    registry = Metrics().registry
    EdgeMetrics(registry)
    names = {family.name for family in registry.collect() if family.name.startswith("oofgg_")}
    assert names
    assert {name for name in names if f"`{name}" not in page} == set()
