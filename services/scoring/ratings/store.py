"""Ratings in PostgreSQL. Methods that take a connection run in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkg.db.database import Connection, Database
from services.scoring.matches import Match
from services.scoring.ratings.rules import DEFAULT_RULES, Rating, RatingChange, RatingRules, beginning

_RULES: Final = """
    select mu, sigma, beta, tau, provisional_matches from rating_rules where game_id = $1 and queue = $2
"""
_SET_RULES: Final = """
    insert into rating_rules (game_id, queue, mu, sigma, beta, tau, provisional_matches)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (game_id, queue) do update set mu = excluded.mu, sigma = excluded.sigma, beta = excluded.beta,
        tau = excluded.tau, provisional_matches = excluded.provisional_matches
"""
# In the order of ids, so that two matches with the same players cannot wait for each other.
_BEGIN: Final = """
    insert into rating (game_id, queue, user_id, mu, sigma, matches)
    select $1, $2, user_id, $4, $5, 0 from unnest($3::uuid[]) as user_id order by user_id
    on conflict do nothing
"""
_LOCK: Final = """
    select user_id, mu, sigma, matches from rating
    where game_id = $1 and queue = $2 and user_id = any($3::uuid[]) order by user_id for update
"""
_WRITE: Final = """
    update rating set mu = new.mu, sigma = new.sigma, matches = new.matches,
        update_time = greatest(rating.update_time, $3)
    from unnest($4::uuid[], $5::float8[], $6::float8[], $7::bigint[]) as new (user_id, mu, sigma, matches)
    where rating.game_id = $1 and rating.queue = $2 and rating.user_id = new.user_id
"""
_NOTE: Final = """
    insert into rating_change (match_id, seat, mu_before, sigma_before, mu_after, sigma_after, matches_after,
        provisional_before, provisional_after)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
_READ: Final = """
    select user_id, mu, sigma, matches, update_time from rating
    where game_id = $1 and queue = $2 and user_id = any($3::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Rated:
    """A player's rating as it is kept."""

    rating: Rating
    update_time: datetime | None


class RatingStore:
    """Ratings, and how queues rate."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rules(self, game_id: str, queue: str, connection: Connection | None = None) -> RatingRules:
        """How a queue rates."""
        if connection is None:
            async with self._database.acquire() as own:
                row = await own.fetchrow(_RULES, game_id, queue)
        else:
            row = await connection.fetchrow(_RULES, game_id, queue)
        return RatingRules(**row) if row else DEFAULT_RULES

    async def set_rules(self, game_id: str, queue: str, rules: RatingRules) -> None:
        """Decides how a queue rates from now on."""
        async with self._database.acquire() as connection:
            await connection.execute(
                _SET_RULES, game_id, queue, rules.mu, rules.sigma, rules.beta, rules.tau, rules.provisional_matches
            )

    async def of_players(self, game_id: str, queue: str, user_ids: Collection[str]) -> dict[str, Rated]:
        """The ratings of those who have one."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_READ, game_id, queue, user_ids)
        return {
            str(row["user_id"]): Rated(Rating(row["mu"], row["sigma"], row["matches"]), row["update_time"])
            for row in rows
        }

    async def lock(
        self, connection: Connection, match: Match, user_ids: Collection[str], rules: RatingRules
    ) -> dict[str, Rating]:
        """The ratings of these players, begun where there were none, locked until the transaction ends."""
        first = beginning(rules)
        await connection.execute(_BEGIN, match.game_id, match.queue, user_ids, first.mu, first.sigma)
        rows = await connection.fetch(_LOCK, match.game_id, match.queue, user_ids)
        return {str(row["user_id"]): Rating(row["mu"], row["sigma"], row["matches"]) for row in rows}

    async def change(
        self, connection: Connection, match: Match, changes: Mapping[str, RatingChange], rules: RatingRules
    ) -> None:
        """Writes what a match did."""
        users = list(changes)
        after = [changes[user].after for user in users]
        await connection.execute(
            _WRITE, match.game_id, match.queue, match.finish_time, users,
            [rating.mu for rating in after], [rating.sigma for rating in after], [rating.matches for rating in after],
        )  # fmt: skip
        seats = {participant.user_id: participant.seat for participant in match.participants}
        await connection.executemany(
            _NOTE,
            [
                (match.match_id, seats[user], change.before.mu, change.before.sigma, change.after.mu,
                 change.after.sigma, change.after.matches, change.before.is_provisional(rules),
                 change.after.is_provisional(rules))
                for user, change in changes.items()
            ],
        )  # fmt: skip
