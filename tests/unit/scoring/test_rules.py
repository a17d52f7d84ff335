"""Who won, and which places follow."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oofgg.events.v1 import match_pb2
from pkg.errors import NotFound, Reason
from services.scoring.matches import Outcome, Participant, ResultState, outcomes
from services.scoring.projection import read_match
from services.scoring.standings.boards import Board, Standing, board_of, places

NOW = datetime(2026, 1, 1, tzinfo=UTC)
W, L, D = Outcome.WIN, Outcome.LOSS, Outcome.DRAW


def participants(*seats: tuple[int, int]) -> list[Participant]:
    """Of (placement, team) each."""
    return [Participant(n, f"u{n}", f"n{n}", team, placement, 0) for n, (placement, team) in enumerate(seats, 1)]


@pytest.mark.parametrize(
    ("seats", "expected"),
    [
        pytest.param([(1, 0), (2, 0)], [W, L], id="duel"),
        pytest.param([(1, 0), (1, 0)], [D, D], id="drawn duel"),
        pytest.param([(1, 0), (1, 0), (3, 0)], [D, D, L], id="shared first of three"),
        pytest.param([(1, 1), (1, 1), (2, 2), (2, 2)], [W, W, L, L], id="teams"),
        pytest.param([(1, 1), (1, 2), (1, 1), (1, 2)], [D, D, D, D], id="drawn teams"),
        pytest.param([(1, 1), (1, 0)], [D, D], id="a team and somebody alone"),
        pytest.param([(2, 0), (3, 0)], [L, L], id="nobody first"),
        pytest.param([(1, 0)], [W], id="alone"),
    ],
)
def test_outcomes(seats: list[tuple[int, int]], expected: list[Outcome]) -> None:
    assert outcomes(participants(*seats)) == expected


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), max_size=12))
def test_somebody_wins_or_several_draw(seats: list[tuple[int, int]]) -> None:
    found = outcomes(participants(*seats))
    assert len(found) == len(seats)
    assert {W, D} - set(found) or not found
    assert all((outcome is L) is (placement != 1) for outcome, (placement, _) in zip(found, seats, strict=True))


standings = st.lists(
    st.builds(
        Standing,
        user_id=st.uuids().map(str),
        username=st.just("n"),
        wins=st.integers(0, 3),
        losses=st.integers(0, 3),
        draws=st.just(0),
        score=st.integers(-3, 3),
        update_time=st.just(NOW),
    ),
    unique_by=lambda standing: standing.user_id,
    max_size=20,
)


@given(standings, st.sampled_from(list(Board)))
def test_a_rank_is_one_more_than_how_many_are_better(found: list[Standing], board: Board) -> None:
    ordered = sorted(found, key=lambda standing: (standing.key(board), standing.user_id))
    for rank, standing in places(ordered, board, position=1, rank=1):
        assert rank == 1 + sum(other.key(board) < standing.key(board) for other in found)


@given(standings, st.sampled_from(list(Board)), st.integers(1, 5))
def test_pages_rank_like_the_whole(found: list[Standing], board: Board, size: int) -> None:
    ordered = sorted(found, key=lambda standing: (standing.key(board), standing.user_id))
    whole = list(places(ordered, board, position=1, rank=1))
    paged = []
    for start in range(0, len(ordered), size):
        page = ordered[start : start + size]
        rank = 1 + sum(other.key(board) < page[0].key(board) for other in ordered)
        paged += list(places(page, board, position=start + 1, rank=rank))
    assert paged == whole


def test_boards_have_names() -> None:
    assert board_of("") is Board.WINS
    assert board_of("score") is Board.SCORE
    with pytest.raises(NotFound) as caught:
        board_of("elo")
    assert caught.value.reason is Reason.LEADERBOARD_NOT_FOUND


def finished(**changed: object) -> match_pb2.MatchFinished:
    event = match_pb2.MatchFinished(
        match_id="m",
        game_id="g",
        result_state=match_pb2.RESULT_STATE_AGREED,
        participants=[match_pb2.MatchParticipant(seat=1, user_id="u", username="n", placement=1, score=3)],
    )
    event.finish_time.FromDatetime(NOW)
    for name, value in changed.items():
        setattr(event, name, value)
    return event


def test_events_become_matches() -> None:
    match = read_match(finished())
    assert match.participants[0].outcome is W
    assert (match.start_time, match.finish_time) == (None, NOW)


def test_disputed_matches_have_no_outcomes() -> None:
    match = read_match(finished(result_state=match_pb2.RESULT_STATE_DISPUTED))
    assert match.result_state is ResultState.DISPUTED
    assert match.participants[0].outcome is None


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(match_pb2.MatchFinished(), id="empty"),
        pytest.param(finished(match_id=""), id="no id"),
        pytest.param(finished(game_id=""), id="no game"),
        pytest.param(finished(result_state=0), id="no state"),
        pytest.param(finished(result_state=77), id="a state of the future"),
    ],
)
def test_poison_is_told_apart(event: match_pb2.MatchFinished) -> None:
    with pytest.raises(ValueError, match=r"match|state"):
        read_match(event)
