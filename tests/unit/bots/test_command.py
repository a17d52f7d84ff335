"""The command line of the bots, their figures and their report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oofgg import Delivery
from pkg.testing.addresses import reserve_address
from services.bots import command
from services.bots.breach import Breach, Promise
from services.bots.command import BROKEN, COULD_NOT_RUN, HELD, WRONG_USAGE
from services.bots.figures import Figures, Histogram, Outage
from services.bots.load import CannotRun
from services.bots.payload import SMALLEST, Mark, decode
from services.bots.plan import Plan
from services.bots.report import Report


@pytest.mark.parametrize(
    "arguments",
    [
        "--players 7 --session-size 4",
        "--players 4 --droppers 3 --slow 2",
        "--players 0",
        "--rate 0",
        "--mix reliable=0",
        "--mix sometimes=1",
        "--mix reliable=-1,latest=2",
        "--game g --developer ada",
        "--developer ada",
        "--tls-ca /nowhere/ca.pem",
        "--report /nowhere/report.json",
        "--payload 4",
        "--wrong",
    ],
)
def test_wrong_usage(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.run(arguments.split())
    assert caught.value.code == WRONG_USAGE
    assert "usage: python -m services bots" in capsys.readouterr().err


def test_what_is_not_said_has_a_default() -> None:
    plan = command.parse(["--mix", "latest=1", "--seed", "7"])
    assert (plan.sessions, plan.seed, plan.mix) == (2, 7, {Delivery.LATEST: 1.0})
    assert command.parse([]).mix == {Delivery.RELIABLE: 6.0, Delivery.LATEST: 3.0, Delivery.VOLATILE: 1.0}


def test_nobody_at_the_target_is_not_a_broken_promise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.bots.cast._CALL_SECONDS", 0.2)
    report = tmp_path / "report.json"
    assert command.run(["--target", reserve_address(), "--report", str(report)]) == COULD_NOT_RUN
    assert "could not run: Unavailable" in capsys.readouterr().err
    assert json.loads(report.read_text())["exit_code"] == COULD_NOT_RUN


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("held", HELD), ("broken", BROKEN), (CannotRun("no"), COULD_NOT_RUN), (ZeroDivisionError(), COULD_NOT_RUN)],
    ids=["held", "broken", "not begun", "a mistake of the bots"],
)
def test_exit_codes(
    outcome: str | Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    async def run(_plan: Plan, report: Report) -> None:
        if isinstance(outcome, Exception):
            raise outcome
        if outcome == "broken":
            report.broken(Breach(Promise.ONCE, "a-session", 3, 14, "command 2 of seat 1 came again"))

    monkeypatch.setattr("services.bots.load.run", run)
    path = tmp_path / "report.json"
    assert command.run(["--report", str(path)]) == code
    document = json.loads(path.read_text())
    assert document["exit_code"] == code
    if code == BROKEN:
        assert document["breaches"] == {"ONCE": 1}
        assert document["evidence"][0] == {
            "promise": "ONCE", "session": "a-session", "seat": 3, "seq": 14,
            "evidence": "command 2 of seat 1 came again",
        }  # fmt: skip
        assert "session a-session, seat 3, seq 14: command 2 of seat 1 came again" in capsys.readouterr().out


def test_breaches_are_counted_and_only_the_first_are_kept() -> None:
    report = Report(0, 1, 1)
    for seq in range(1_000):
        report.broken(Breach(Promise.NO_GAP, "s", 1, seq, ""))
    assert (len(report.breaches), report.breach_counts) == (100, {"NO_GAP": 1_000})


def test_a_mark_goes_there_and_back() -> None:
    mark = Mark(12, 3.25)
    assert len(mark.encode(100)) == 100
    assert decode(mark.encode(100)) == decode(mark.encode(SMALLEST)) == mark
    with pytest.raises(ValueError, match="buffer"):
        decode(b"short")


def test_percentiles_are_right_to_within_a_bucket() -> None:
    histogram = Histogram()
    assert histogram.percentile(0.99) == 0
    for milliseconds in range(1, 1_001):
        histogram.add(milliseconds / 1000)
    assert histogram.percentile(0.5) == pytest.approx(0.5, rel=0.08)
    assert histogram.percentile(0.99) == pytest.approx(0.99, rel=0.08)
    assert histogram.percentile(1.0) == histogram.longest == 1.0
    histogram.add(1e9)
    assert histogram.percentile(1.0) == pytest.approx(2e3, rel=0.1)


def test_the_longest_outage_counts_also_when_it_has_no_end() -> None:
    figures = Figures()
    figures.came_back(Outage(1.0, session="a"))
    figures.came_back(Outage(0.5, session="b"))
    assert figures.outage.session == "a"
    figures.still_away(Outage(2.0, session="c"))
    assert (figures.outage.session, figures.round_trip.count) == ("c", 2)
