"""How long work waits for company."""

from __future__ import annotations

from itertools import pairwise

from pkg.grouping import gather_seconds


def test_who_was_alone_does_not_wait_and_nobody_waits_long() -> None:
    assert gather_seconds(0) == gather_seconds(1) == 0.0
    waits = [gather_seconds(last) for last in range(2, 1_000)]
    assert 0.0 < waits[0] <= 0.002
    assert all(earlier <= later <= 0.005 for earlier, later in pairwise(waits))
