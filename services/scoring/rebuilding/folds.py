"""Standings and ratings as folds of the history: what they must be after these matches, in this order.

They say the same as what counts matches one by one in the database (`store`, `rating_store`), in another way. So each
can be compared with the other, and made again from the history alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from services.scoring.matches import Match, Outcome
from services.scoring.ratings.rules import Rating, RatingChange, RatingRules, beginning, rate


class Sums(NamedTuple):
    """A player's standing in a game."""

    username: str
    wins: int
    losses: int
    draws: int
    score: int
    update_time: datetime


class Skill(NamedTuple):
    """A player's rating in a queue."""

    rating: Rating
    update_time: datetime


Seat = tuple[str, int]
"""A match and a seat."""

# As `StandingStore.count` does.
_LEAST_SUM: Final = -(2**63)
_MOST_SUM: Final = 2**63 - 1


class StandingFold:
    """Sums per player of one game."""

    def __init__(self) -> None:
        self.sums: dict[str, Sums] = {}

    def take(self, match: Match, nameless: str) -> set[str]:
        """Adds a match that counts; players of this name are gone, and have no standing. Returns whose it moved."""
        moved = set()
        for one in match.participants:
            if one.username == nameless:
                continue
            had = self.sums.get(one.user_id)
            if had is None:
                had = Sums(one.username, 0, 0, 0, 0, match.finish_time)
            latest = match.finish_time >= had.update_time
            self.sums[one.user_id] = Sums(
                one.username if latest else had.username,
                had.wins + (one.outcome is Outcome.WIN),
                had.losses + (one.outcome is Outcome.LOSS),
                had.draws + (one.outcome is Outcome.DRAW),
                max(_LEAST_SUM, min(_MOST_SUM, had.score + one.score)),
                match.finish_time if latest else had.update_time,
            )
            moved.add(one.user_id)
        return moved


@dataclass(slots=True)
class _Player:
    """Whoever has a rating in a queue, and where it was moved last."""

    rating: Rating
    update_time: datetime | None
    seat: Seat | None


class RatingFold:
    """Ratings of one game, by queue and player.

    Accounts that are gone play on under the ids that stand for them in the history: they have the rating there that
    they had while they were here, and so others' ratings come out as they did.
    """

    def __init__(self) -> None:
        self._players: dict[tuple[str, str], _Player] = {}
        self.nameless: set[str] = set()
        """Ids that stand for accounts which are gone."""

    def take(self, match: Match, rules: RatingRules, nameless: str) -> Mapping[str, RatingChange]:
        """Rates a match that counts, by these rules; players of this name are gone. Returns what it did, by user id."""
        before = {}
        for one in match.participants:
            if one.username == nameless:
                self.nameless.add(one.user_id)
            player = self._players.get((match.queue, one.user_id))
            if player is None:
                player = self._players[match.queue, one.user_id] = _Player(beginning(rules), None, None)
            before[one.user_id] = player.rating
        changes = rate(match.participants, before, rules)
        for one in match.participants:
            player = self._players[match.queue, one.user_id]
            if (change := changes.get(one.user_id)) is not None:
                player.rating = change.after
                if player.update_time is None or match.finish_time > player.update_time:
                    player.update_time = match.finish_time
            player.seat = (match.match_id, one.seat)
        return changes

    def of(self, queue: str, user_id: str) -> Skill | None:
        """A player's rating; None for one whom no match has moved yet."""
        player = self._players.get((queue, user_id))
        return None if player is None or player.update_time is None else Skill(player.rating, player.update_time)

    def rated(self) -> set[tuple[str, str]]:
        """Queue and id of all whom a match has moved."""
        return {key for key, player in self._players.items() if player.update_time is not None}

    def seats_of(self, user_ids: set[str]) -> dict[str, Seat]:
        """A seat in the history for each of these players, in whatever queue."""
        return {
            user_id: player.seat
            for (_, user_id), player in self._players.items()
            if user_id in user_ids and player.seat is not None
        }

    def rename(self, names: Mapping[str, str]) -> None:
        """Goes on under other ids with some players: their accounts were deleted meanwhile."""
        for queue, user_id in [key for key in self._players if key[1] in names]:
            self._players[queue, names[user_id]] = self._players.pop((queue, user_id))
        self.nameless.update(names.values())
