"""Every guarantee names the test that proves it, and that test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "guarantees.md"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| guarantee")]
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def names(path: Path) -> set[str]:
    """What pytest can collect from a module, by name."""
    found = set[str]()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip()[:60] for row in ROWS])
def test_a_guarantee_names_a_test_that_exists(row: str) -> None:
    proofs = PROOF.findall(row)
    assert proofs, "no proof is named"
    for path, name in proofs:
        assert name.lower().startswith("test")
        assert name in names(ROOT / path), f"{path} has no {name}"


def test_there_are_guarantees() -> None:
    assert len(ROWS) > 20
