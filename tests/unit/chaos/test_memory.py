"""Growth is told from noise, from warming up, and from what is filled once."""

from __future__ import annotations

import os

import psutil
import pytest

from tests.chaos.memory import MIB, growth, tree_bytes


def samples(*sizes: float, every: float = 2.0) -> list[tuple[float, int]]:
    return [(number * every, int(size * MIB)) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "grows"),
    [
        ([100.0] * 900, False),
        ([20 + min(number, 60) * 2 for number in range(900)], False),
        ([100 + 200 * (number == 890) for number in range(900)], False),
        ([100 + number / 30 for number in range(900)], False),
        ([100 + number / 10 for number in range(900)], True),
        ([100.0] * 600 + [150.0] * 300, True),
    ],
    ids=["flat", "warming up", "a peak", "filled once", "a leak", "a step at the end"],
)
def test_growth(sizes: list[float], grows: bool) -> None:
    assert growth("game", 1, samples(*sizes)).grows is grows


def test_who_lived_shortly_is_not_judged() -> None:
    found = growth("game", 1, samples(100, 100, 400, 400))
    assert (found.judged, found.grows, found.most) == (False, False, 400 * MIB)


def test_memory_is_measured() -> None:
    assert 5 * MIB < tree_bytes(psutil.Process(os.getpid())) < 1024 * MIB
