"""The bots find each promise that a platform breaks, and blame none that breaks nothing."""

from __future__ import annotations

from typing import Any

import pytest

from services.bots import load
from services.bots.plan import Plan
from services.bots.report import Report
from tests.integration.bots.liar import SESSION, VICTIM, Liar, Lie

FOUND = {
    Lie.NONE: set[str](),
    Lie.ANOTHER_ORDER: {"SAME_ORDER"},
    Lie.LOST: {"ACKNOWLEDGED", "COMMAND_ORDER"},
    Lie.TWICE: {"ONCE"},
    Lie.SWAPPED: {"COMMAND_ORDER"},
    Lie.BACKWARDS: {"LATEST_FORWARD"},
    Lie.STALE: {"LATEST_ARRIVES"},
    Lie.VOLATILE_TWICE: {"VOLATILE_ONCE"},
    Lie.RESET: {"NO_RESET"},
    Lie.THROWN_OUT: {"STAYS"},
    Lie.SLOW: {"OUTAGE"},
}


async def play(lie: Lie, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Report:
    monkeypatch.setattr(Plan, "settle", 0.8)
    monkeypatch.setattr(load, "_END_SECONDS", 2.0)
    async with Liar(lie).serve() as target:
        plan = Plan(target, players=2, session_size=2, rate=60, seconds=0.5, seed=1, game="g", keys=1, **more)
        report = Report(plan.seed, plan.players, plan.sessions)
        await load.run(plan, report)
    return report


@pytest.mark.parametrize("lie", list(Lie), ids=lambda lie: lie.value)
async def test_what_is_broken_is_found(lie: Lie, monkeypatch: pytest.MonkeyPatch) -> None:
    report = await play(lie, monkeypatch, max_outage=0.25)
    found = set(report.breach_counts)
    assert found >= FOUND[lie], report.breaches[:5]
    # What follows from a lie may be found as well; an honest platform is blamed for nothing.
    if lie is Lie.NONE:
        assert found == set()
        assert report.figures.sent["RELIABLE"] > 10
        assert report.figures.seen["RELIABLE"] == 2 * report.figures.sent["RELIABLE"]
        assert report.figures.round_trip.count == report.figures.sent["RELIABLE"]
        return
    assert {breach.session for breach in report.breaches} == {SESSION}
    if lie in (Lie.BACKWARDS, Lie.RESET, Lie.THROWN_OUT):
        assert VICTIM in {breach.seat for breach in report.breaches}


async def test_an_allowed_reset_is_counted_and_no_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    report = await play(Lie.RESET, monkeypatch, allow_reset=True)
    assert report.breach_counts == {}
    assert report.figures.log_resets > 0


async def test_bots_that_drop_and_do_not_read_find_an_honest_platform_honest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.bots.bot._BEHAVES", (0.1, 0.3))
    monkeypatch.setattr("services.bots.bot._STAYS_AWAY", (0.0, 0.1))
    monkeypatch.setattr("services.bots.bot._DOES_NOT_READ", (0.1, 0.2))
    report = await play(Lie.NONE, monkeypatch, droppers=1, slow=1)
    assert report.breach_counts == {}
    assert report.figures.drops > 0
