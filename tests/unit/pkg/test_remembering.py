"""The cache with a lifetime: a lookup never fails because an entry expires during it."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.remembering import Remembered

ROOT = Path(__file__).parents[3]


class Ticking:
    """A clock that moves on by a tick each time somebody looks at it."""

    def __init__(self, tick: float) -> None:
        self._times = itertools.count(0.0, tick)

    def __call__(self) -> float:
        return next(self._times)


@given(lifetime=st.floats(0.1, 5.0), looks=st.integers(1, 20))
def test_a_lookup_never_fails_while_its_entry_expires(lifetime: float, looks: int) -> None:
    cache: Remembered[str, int] = Remembered(10, lifetime, Ticking(0.25))
    cache.put("queue", 7)
    assert {cache.get("queue", None) for _ in range(looks)} <= {7, None}


def test_a_value_is_there_until_its_time_is_over() -> None:
    now = 0.0
    cache: Remembered[str, int | None] = Remembered(10, 2.0, lambda: now)
    assert cache.put("queue", None) is None
    assert cache.get("queue", -1) is None
    now = 1.9
    assert cache.get("queue", -1) is None
    now = 2.0
    assert cache.get("queue", -1) == -1


def test_a_forgotten_value_is_gone_and_forgetting_twice_is_no_error() -> None:
    cache: Remembered[str, int] = Remembered(10, 2.0, lambda: 0.0)
    cache.put("queue", 7)
    cache.forget("queue")
    cache.forget("queue")
    assert cache.get("queue", None) is None


def imports_a_ttl_cache(path: Path) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "cachetools"
        and any(a.name == "TTLCache" for a in node.names)
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_all_caches_with_a_lifetime_are_this_one() -> None:
    found = [
        str(path.relative_to(ROOT))
        for folder in ("pkg", "services", "envoy", "sdk/src/oofgg")
        for path in (ROOT / folder).rglob("*.py")
        if imports_a_ttl_cache(path)
    ]
    assert found == ["pkg/remembering.py"]


@pytest.mark.parametrize("default", [None, 0, "x"])
def test_what_is_not_there_is_the_default(default: object) -> None:
    cache: Remembered[str, object] = Remembered(10, 2.0, lambda: 0.0)
    assert cache.get("nothing", default) is default
