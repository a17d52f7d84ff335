"""What developers may decide, and who may submit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pkg.errors import InvalidArgument, OofggError, Reason
from services.scoring.leaderboards.rules import (
    Leaderboard,
    Operator,
    Submitters,
    apply_update,
    check_metadata,
    check_new,
    check_score,
    check_submitter,
    within_caps,
)
from services.scoring.leaderboards.windows import Schedule, WindowKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BOARD = Leaderboard(
    "id", "game", "laps", "", True, Operator.BEST, Schedule(WindowKind.ALL_TIME), Submitters.PLAYERS, None, None, 0, 0,
    1, NOW, NOW,
)  # fmt: skip


def field_of(caught: pytest.ExceptionInfo[InvalidArgument]) -> str:
    return caught.value.violations[0].field


@pytest.mark.parametrize("name", ["", "Laps", "two words", "x" * 65, "wins", "score", "a/b", "ä"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_new(replace(BOARD, name=name))
    assert field_of(caught) == "leaderboard.name"


def test_caps_that_let_nothing_through() -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_new(replace(BOARD, min_score=2, max_score=1))
    assert field_of(caught) == "leaderboard.max_score"
    check_new(replace(BOARD, min_score=1, max_score=1))


def test_an_update_changes_what_its_mask_names() -> None:
    new = replace(BOARD, description="new", max_attempts=3, max_score=9)
    later = NOW + timedelta(days=1)
    changed = apply_update(BOARD, new, ["description", "max_score"], later)
    assert changed == replace(BOARD, description="new", max_score=9, version=2, update_time=later)
    assert apply_update(changed, BOARD, ["max_score"], later).max_score is None


@pytest.mark.parametrize("path", ["order", "operator", "window", "window.kind", "name", "version", "nonsense", ""])
def test_what_cannot_change(path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        apply_update(BOARD, BOARD, [path], NOW)
    assert field_of(caught) == "update_mask"


def test_an_update_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        apply_update(BOARD, BOARD, [], NOW)
    with pytest.raises(InvalidArgument) as caught:
        apply_update(replace(BOARD, max_score=5), replace(BOARD, min_score=6), ["min_score"], NOW)
    assert field_of(caught) == "leaderboard.max_score"


@pytest.mark.parametrize(
    ("submitters", "server", "own", "may"),
    [
        pytest.param(Submitters.PLAYERS, False, True, True, id="a player's own"),
        pytest.param(Submitters.PLAYERS, False, False, False, id="another player's"),
        pytest.param(Submitters.PLAYERS, True, False, True, id="a server for a player"),
        pytest.param(Submitters.SERVERS, False, True, False, id="a player where servers may"),
        pytest.param(Submitters.SERVERS, True, False, True, id="a server"),
        pytest.param(Submitters.RESULTS, True, False, False, id="a server where results count"),
        pytest.param(Submitters.RESULTS, False, True, False, id="a player where results count"),
    ],
)
def test_who_may_submit(submitters: Submitters, server: bool, own: bool, may: bool) -> None:
    board = replace(BOARD, submitters=submitters)
    if may:
        check_submitter(board, server=server, own=own)
        return
    with pytest.raises(OofggError) as caught:
        check_submitter(board, server=server, own=own)
    assert caught.value.reason is Reason.ACCESS_DENIED


def test_caps() -> None:
    board = replace(BOARD, min_score=-1, max_score=10)
    assert [score for score in range(-3, 13) if within_caps(board, score)] == list(range(-1, 11))
    with pytest.raises(InvalidArgument) as caught:
        check_score(board, 11, "scores[3]")
    assert field_of(caught) == "scores[3].score"
    assert "from -1 to 10" in caught.value.message
    check_score(BOARD, 2**63 - 1, "score")


@pytest.mark.parametrize("text", ["[]", "1", '"a"', "{", "null", '{"a": NaN}', "{" * 1000, "[" * 1000, "x"])
def test_metadata_is_an_object(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_metadata(text, "score.metadata")
    assert field_of(caught) == "score.metadata"


def test_metadata_that_is_good() -> None:
    for text in ("", "{}", '{"car": "red", "laps": [1, 2]}'):
        check_metadata(text, "score.metadata")
