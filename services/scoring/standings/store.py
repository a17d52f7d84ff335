"""Standings in PostgreSQL. Methods that take a connection run in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from pkg.db.database import Connection, Database
from services.scoring.matches import Match, Outcome
from services.scoring.standings.boards import Board, Standing

_STANDING = "user_id, username, wins, losses, draws, score, update_time"
# What comes before a row ($2, $3, $4: wins, losses, user id; or score, unused, user id) in each board's order.
_ORDER = {Board.WINS: "wins desc, losses, user_id", Board.SCORE: "score desc, user_id"}
_BETTER = {
    Board.WINS: "(wins > $2 or (wins = $2 and losses < $3))",
    Board.SCORE: "(score > $2 and $3::bigint is not null)",
}
_SAME = {Board.WINS: "wins = $2 and losses = $3", Board.SCORE: "score = $2"}
_WORSE = {
    Board.WINS: "(wins < $2 or (wins = $2 and losses > $3))",
    Board.SCORE: "(score < $2 and $3::bigint is not null)",
}


@dataclass(frozen=True, slots=True)
class BoardPosition:
    """Where a row stands on a board: its key values and its user."""

    first: int
    second: int
    user_id: str


def position_of(standing: Standing, board: Board) -> BoardPosition:
    """Where a standing stands."""
    if board is Board.WINS:
        return BoardPosition(standing.wins, standing.losses, standing.user_id)
    return BoardPosition(standing.score, 0, standing.user_id)


class StandingStore:
    """Sums per player and game."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, connection: Connection, match: Match) -> None:
        """Adds a match to the sums of its participants. A sum of scores beyond 64 bits stays at their limit."""
        # In the order of their ids, so that two matches with the same players cannot wait for each other.
        for p in sorted(match.participants, key=lambda p: p.user_id):
            await connection.execute(
                """
                insert into standing as s (game_id, user_id, username, wins, losses, draws, score, update_time)
                values ($1, $2, $3, $4, $5, $6, $7, $8)
                on conflict (game_id, user_id) do update set
                    username = case when excluded.update_time >= s.update_time then excluded.username
                               else s.username end,
                    wins = s.wins + excluded.wins, losses = s.losses + excluded.losses,
                    draws = s.draws + excluded.draws,
                    score = least(greatest(s.score::numeric + excluded.score, -9223372036854775808),
                                  9223372036854775807)::bigint,
                    update_time = greatest(s.update_time, excluded.update_time)
                """,
                match.game_id, p.user_id, p.username, int(p.outcome is Outcome.WIN), int(p.outcome is Outcome.LOSS),
                int(p.outcome is Outcome.DRAW), p.score, match.finish_time,
            )  # fmt: skip

    async def page(self, game_id: str, board: Board, after: BoardPosition | None, limit: int) -> list[Standing]:
        """Standings in the board's order that come after this position."""
        where = f"({_WORSE[board]} or ({_SAME[board]} and user_id > $4::uuid))" if after else "true"
        values = [after.first, after.second, after.user_id] if after else []
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select {_STANDING} from standing where game_id = $1 and {where} "  # noqa: S608
                f"order by {_ORDER[board]} limit ${len(values) + 2}",
                game_id, *values, limit,
            )  # fmt: skip
        return [_standing(row) for row in rows]

    async def place(self, game_id: str, board: Board, at: BoardPosition) -> tuple[int, int]:
        """Position (equal keys by user id) and rank (equal keys alike) of a row, both from 1."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(
                f"""
                select count(*) filter (where {_BETTER[board]}) as better,
                       count(*) filter (where {_SAME[board]} and user_id < $4::uuid) as before
                from standing where game_id = $1 and ({_BETTER[board]} or {_SAME[board]})
                """,  # noqa: S608
                game_id, at.first, at.second, at.user_id,
            )  # fmt: skip
        if row is None:
            raise AssertionError("an aggregate always has a row")
        return row["better"] + row["before"] + 1, row["better"] + 1

    async def of_player(self, game_id: str, user_id: str) -> Standing | None:
        """One player's sums."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(
                f"select {_STANDING} from standing where game_id = $1 and user_id = $2",  # noqa: S608
                game_id, user_id,
            )  # fmt: skip
        return _standing(row) if row else None

    async def total(self, game_id: str) -> int:
        """Players with a standing in a game."""
        async with self._database.acquire() as connection:
            total: int = await connection.fetchval("select count(*) from standing where game_id = $1", game_id)
        return total


def _standing(row: asyncpg.Record) -> Standing:
    return Standing(
        str(row["user_id"]), row["username"], row["wins"], row["losses"], row["draws"], row["score"],
        row["update_time"],
    )  # fmt: skip
