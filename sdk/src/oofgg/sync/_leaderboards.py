"""Leaderboards, blocking: as in `oofgg._leaderboards`, which has the rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from oofgg import _leaderboards
from oofgg._leaderboard_types import (
    Around,
    Leaderboard,
    LeaderboardEntry,
    Rank,
    Score,
    ScoreOperator,
    ScoreOrder,
    Season,
    Submitted,
    Submitters,
    Window,
)
from oofgg.sync._loop import Portal


class Leaderboards:
    """Who is best. Every game has `wins` (then fewer losses) and `score`, from its results, and those it defines."""

    def __init__(self, portal: Portal, leaderboards: _leaderboards.Leaderboards) -> None:
        self._portal = portal
        self._leaderboards = leaderboards

    def create(
        self,
        name: str,
        *,
        description: str = "",
        order: ScoreOrder = ScoreOrder.DESCENDING,
        operator: ScoreOperator = ScoreOperator.BEST,
        window: Window | None = None,
        submitters: Submitters = Submitters.SERVERS,
        min_score: int | None = None,
        max_score: int | None = None,
        max_attempts: int = 0,
        kept_windows: int = 0,
        game_id: str | None = None,
    ) -> Leaderboard:
        """Defines a leaderboard; without a window, for all time. For the game's developer and its API keys.

        Raises AlreadyExists(LEADERBOARD_NAME_TAKEN), InvalidArgument.
        """
        return self._portal.call(
            self._leaderboards.create(
                name,
                description=description,
                order=order,
                operator=operator,
                window=window,
                submitters=submitters,
                min_score=min_score,
                max_score=max_score,
                max_attempts=max_attempts,
                kept_windows=kept_windows,
                game_id=game_id,
            )
        )

    def update(
        self,
        name: str,
        *,
        description: str | None = None,
        submitters: Submitters | None = None,
        min_score: int | None = None,
        max_score: int | None = None,
        max_attempts: int | None = None,
        kept_windows: int | None = None,
        lift_caps: bool = False,
        game_id: str | None = None,
    ) -> Leaderboard:
        """Changes what is given and leaves the rest; `lift_caps` takes away the caps that are not given.

        In force within ten seconds. Raises NotFound(LEADERBOARD_NOT_FOUND), InvalidArgument.
        """
        return self._portal.call(
            self._leaderboards.update(
                name,
                description=description,
                submitters=submitters,
                min_score=min_score,
                max_score=max_score,
                max_attempts=max_attempts,
                kept_windows=kept_windows,
                lift_caps=lift_caps,
                game_id=game_id,
            )
        )

    def delete(self, name: str, *, game_id: str | None = None) -> None:
        """Deletes a leaderboard with all of its entries."""
        self._portal.call(self._leaderboards.delete(name, game_id=game_id))

    def all(self, *, game_id: str | None = None) -> Iterator[Leaderboard]:
        """The leaderboards that the game has defined, by name."""
        return self._portal.iterate(self._leaderboards.all(game_id=game_id))

    def info(self, name: str, *, game_id: str | None = None) -> Leaderboard:
        """How a leaderboard is defined, and its current window. Raises NotFound(LEADERBOARD_NOT_FOUND)."""
        return self._portal.call(self._leaderboards.info(name, game_id=game_id))

    def submit(
        self,
        leaderboard: str,
        score: int,
        *,
        subscore: int = 0,
        metadata: Mapping[str, Any] | None = None,
        user_id: str = "",
        username: str = "",
        game_id: str | None = None,
    ) -> Submitted:
        """Submits the caller's score; a game's server names the player. Returns the entry as it is then, with its rank.

        Raises ResourceExhausted(ATTEMPTS_EXHAUSTED), PermissionDenied, InvalidArgument for a score beyond the caps.
        """
        return self._portal.call(
            self._leaderboards.submit(
                leaderboard,
                score,
                subscore=subscore,
                metadata=metadata,
                user_id=user_id,
                username=username,
                game_id=game_id,
            )
        )

    def submit_many(self, scores: Iterable[Score], *, game_id: str | None = None) -> list[Submitted]:
        """Submits scores, a hundred in a call, and tells what became of each. Of equal ones the first was earlier.

        A player without attempts does not keep the others out; what else is wrong with one refuses all of its call.
        """
        return self._portal.call(self._leaderboards.submit_many(scores, game_id=game_id))

    def remove(self, leaderboard: str, user_id: str, *, at: datetime | None = None, game_id: str | None = None) -> None:
        """Takes a player's entry off a leaderboard; the player may submit again. For the game's developer and its API
        keys.

        Raises NotFound(ENTRY_NOT_FOUND) where there is none.
        """
        self._portal.call(self._leaderboards.remove(leaderboard, user_id, at=at, game_id=game_id))

    def get(
        self, leaderboard: str = "wins", *, at: datetime | None = None, game_id: str | None = None
    ) -> Iterator[LeaderboardEntry]:
        """The entries, best first; with `at`, of the window in which that moment lies."""
        return self._portal.iterate(self._leaderboards.get(leaderboard, at=at, game_id=game_id))

    def around(
        self,
        leaderboard: str,
        user_id: str = "",
        *,
        size: int = 20,
        at: datetime | None = None,
        game_id: str | None = None,
    ) -> Around:
        """Up to `size` (100) entries around a player, the caller by default. Raises NotFound(ENTRY_NOT_FOUND)."""
        return self._portal.call(self._leaderboards.around(leaderboard, user_id, size=size, at=at, game_id=game_id))

    def rank(
        self,
        user_id: str = "",
        *,
        leaderboard: str = "wins",
        at: datetime | None = None,
        game_id: str | None = None,
    ) -> Rank:
        """A player's entry, the caller's by default. Raises NotFound(ENTRY_NOT_FOUND) where there is none."""
        return self._portal.call(self._leaderboards.rank(user_id, leaderboard=leaderboard, at=at, game_id=game_id))

    def entries(
        self,
        leaderboard: str,
        user_ids: Iterable[str],
        *,
        at: datetime | None = None,
        game_id: str | None = None,
    ) -> list[LeaderboardEntry]:
        """The entries of these players, such as friends, best first, with their ranks among all. 100 at most."""
        return self._portal.call(self._leaderboards.entries(leaderboard, user_ids, at=at, game_id=game_id))

    def seasons(self, leaderboard: str, *, game_id: str | None = None) -> Iterator[Season]:
        """The windows in which somebody has played, latest first. Read one with `get(…, at=season.start_time)`."""
        return self._portal.iterate(self._leaderboards.seasons(leaderboard, game_id=game_id))
