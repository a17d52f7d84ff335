"""Leaderboards: what they order by, and which places follow from that order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pkg.errors import NotFound, Reason


class Board(StrEnum):
    """A leaderboard that every game has."""

    WINS = "wins"
    SCORE = "score"


@dataclass(frozen=True, slots=True)
class Standing:
    """Sums of one player in one game."""

    user_id: str
    username: str
    wins: int
    losses: int
    draws: int
    score: int
    update_time: datetime

    def key(self, board: Board) -> tuple[int, ...]:
        """What the board orders by, smallest first; equal keys share a place."""
        return (-self.wins, self.losses) if board is Board.WINS else (-self.score,)


def board_of(name: str) -> Board:
    """The board of this name, `wins` for none. Raises NotFound(LEADERBOARD_NOT_FOUND)."""
    try:
        return Board(name or Board.WINS)
    except ValueError:
        raise NotFound(
            Reason.LEADERBOARD_NOT_FOUND, f"There is no leaderboard “{name[:64]}”. There are: {', '.join(Board)}."
        ) from None


def places(standings: Iterable[Standing], board: Board, *, position: int, rank: int) -> Iterator[tuple[int, Standing]]:
    """Each standing with its rank. `position` counts from 1 and is the first one's, `rank` its rank.

    Equal keys share a rank; the next key's rank is its position (standard competition ranking).
    """
    last: tuple[int, ...] | None = None
    for offset, standing in enumerate(standings):
        key = standing.key(board)
        if last is not None and key != last:
            rank = position + offset
        last = key
        yield rank, standing
