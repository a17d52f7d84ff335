"""The scores of results, for leaderboards that take those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pkg.db.database import Connection
from services.scoring.leaderboards.changes import announce
from services.scoring.leaderboards.entries import EntryStore, key_of
from services.scoring.leaderboards.rules import Submission, within_caps
from services.scoring.leaderboards.store import LeaderboardStore, SeasonStore


@dataclass(frozen=True, slots=True)
class Scored:
    """What a player made in a match."""

    user_id: str
    username: str
    score: int


class ResultFeed:
    """Feeds leaderboards in the transaction that takes a match in."""

    def __init__(self, boards: LeaderboardStore, seasons: SeasonStore, entries: EntryStore) -> None:
        self._boards = boards
        self._seasons = seasons
        self._entries = entries

    async def count(
        self, connection: Connection, game_id: str, finish_time: datetime, players: Sequence[Scored]
    ) -> None:
        """Scores that a leaderboard does not take, for its caps or attempts, are left out."""
        submissions = [
            Submission(board, board.schedule.window_at(finish_time), one.user_id, one.username, one.score, 0, "",
                       finish_time)
            for board in await self._boards.fed_by_results(connection, game_id)
            for one in players
            if within_caps(board, one.score)
        ]  # fmt: skip
        if not submissions:
            return
        await self._seasons.played(connection, {(one.board.leaderboard_id, one.window) for one in submissions})
        outcomes = await self._entries.submit(connection, submissions)
        moved = {key_of(one) for one, outcome in zip(submissions, outcomes, strict=True) if outcome.changed}
        if moved:
            await self._entries.note(connection, moved, 0.0)
            await announce(connection)
