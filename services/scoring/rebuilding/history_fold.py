"""The history of a game, read from PostgreSQL into folds, and compared with what is served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import isclose
from typing import Any, Final

import asyncpg

from pkg.db.database import Connection
from services.scoring.forget import NAMELESS
from services.scoring.matches import Match, Outcome, Participant, ResultState
from services.scoring.ratings.rules import DEFAULT_RULES, Rating, RatingChange, RatingRules
from services.scoring.rebuilding.folds import RatingFold, Skill, StandingFold, Sums
from services.scoring.rebuilding.locks import STATEMENT_SECONDS

STANDINGS: Final = "standings"
RATINGS: Final = "ratings"

_PREFETCH: Final = 500
_BATCH: Final = 1_000
_SHOWN: Final = 10
# Of numbers that another machine computed.
_TOLERANCE: Final = 1e-9

# What is older than every transaction that is under way was seen by whoever looked when this was the horizon.
_HORIZON: Final = "select pg_snapshot_xmin(pg_current_snapshot())::text"
_HISTORY: Final = """
    select m.match_id::text, m.queue, m.finish_time, m.rating_rules,
        m.transaction >= $3::text::xid8 as young,
        array_agg(p.seat order by p.seat) as seats, array_agg(p.user_id::text order by p.seat) as users,
        array_agg(p.username order by p.seat) as names, array_agg(p.team order by p.seat) as teams,
        array_agg(p.placement order by p.seat) as placements, array_agg(p.score order by p.seat) as scores,
        array_agg(p.outcome order by p.seat) as outcomes,
        array_agg(c.mu_before order by p.seat) as mu_before, array_agg(c.sigma_before order by p.seat) as sigma_before,
        array_agg(c.mu_after order by p.seat) as mu_after, array_agg(c.sigma_after order by p.seat) as sigma_after,
        array_agg(c.matches_after order by p.seat) as matches_after,
        array_agg(c.provisional_before order by p.seat) as provisional_before,
        array_agg(c.provisional_after order by p.seat) as provisional_after
    from match m join participant p using (match_id) left join rating_change c using (match_id, seat)
    where m.game_id = $1 and m.transaction >= $2::text::xid8 and m.result_state <> 'disputed'
    group by m.match_id order by m.number
"""
_STANDINGS: Final = """
    select user_id::text, username, wins, losses, draws, score, update_time from standing where game_id = $1
"""
# Who began and was moved by no match yet has the rating of whoever has none.
_RATINGS: Final = """
    select queue, user_id::text, mu, sigma, matches, update_time from rating where game_id = $1 and matches > 0
"""
_RULES: Final = """
    select queue, mu, sigma, beta, tau, provisional_matches from rating_rules where game_id = $1
"""
_GONE: Final = "select user_id::text from forgotten where user_id = any($1::uuid[])"
_ALL_GONE: Final = "select user_id::text from forgotten"
_NOW_CALLED: Final = """
    select i.user_id, p.user_id::text as name
    from unnest($1::text[], $2::uuid[], $3::int[]) as i (user_id, match_id, seat)
    join participant p using (match_id, seat)
"""

ChangeRow = tuple[str, int, float | None, float | None, float | None, float | None, int | None, bool | None,
                  bool | None]  # fmt: skip
"""Of `rating_change`; without numbers where there must be none."""
Differing = Callable[[Sequence[ChangeRow]], Awaitable[None]]
"""Hears of changes of ratings that are served otherwise, or not at all."""


@dataclass(slots=True)
class Differences:
    """Where what is served is not what the history says."""

    count: int = 0
    lines: list[str] = field(default_factory=list)
    """The first of them, for people."""

    def add(self, line: str) -> None:
        """Notes one."""
        self.count += 1
        if len(self.lines) < _SHOWN:
            self.lines.append(line)


class HistoryFold:
    """The fold of one game's history, as far as it has come."""

    def __init__(
        self, game_id: str, projections: Collection[str], told: Callable[[int], None] = lambda _: None
    ) -> None:
        """`told` hears how many matches were taken in."""
        self.game_id = game_id
        self.standings = StandingFold() if STANDINGS in projections else None
        self.ratings = RatingFold() if RATINGS in projections else None
        self.matches = 0
        self.differences = Differences()
        self.moved_standings: set[str] = set()
        self.moved_ratings: set[tuple[str, str]] = set()
        self._told = told
        self._rules: dict[str, RatingRules] = {}
        self._gone: set[str] = set()
        # Of the matches that were taken in, those that are looked at again from the horizon on.
        self._young: set[str] = set()
        self._horizon = "0"

    async def take(self, connection: Connection, differing: Differing) -> int:
        """Takes in what the connection's transaction sees and was not taken in before. Returns how many matches.

        What one snapshot sees is closed: whoever moved a player's rating before any match in it is in it too.
        """
        first = self._horizon == "0"
        horizon: str = await connection.fetchval(_HORIZON, timeout=STATEMENT_SECONDS)
        if first:
            await self._prepare(connection)
        elif self.ratings is not None:
            await self._follow_deletions(connection, self.ratings)
        count = 0
        changes: list[ChangeRow] = []
        cursor = connection.cursor(
            _HISTORY, self.game_id, self._horizon, horizon, prefetch=_PREFETCH, timeout=STATEMENT_SECONDS
        )
        async for row in cursor:
            match = _match(self.game_id, row)
            if match.match_id in self._young:
                continue
            if row["young"]:
                self._young.add(match.match_id)
            if self.standings is not None:
                self.moved_standings |= self.standings.take(match, NAMELESS)
            if self.ratings is not None:
                changes += self._rate(self.ratings, match, row)
            count += 1
            if count % _BATCH == 0:
                self._told(self.matches + count)
            if len(changes) >= _BATCH:
                await differing(changes)
                changes = []
        if changes:
            await differing(changes)
        self._horizon = horizon
        self.matches += count
        return count

    async def compare(self, connection: Connection) -> None:
        """Finds where the served sums and ratings differ, as the connection's transaction sees them. Only these, and
        those that are moved from now on, have to be looked at again."""
        if self.standings is not None:
            wrong, unseen = set[str](), set(self.standings.sums)
            async for row in self._served(connection, _STANDINGS):
                user, served = row[0], Sums(*row[1:])
                unseen.discard(user)
                if served != self.standings.sums.get(user):
                    wrong.add(user)
                    self.differences.add(f"standing of {user}: {served}, not {self.standings.sums.get(user)}")
            for user in unseen:
                self.differences.add(f"standing of {user}: none, not {self.standings.sums[user]}")
            self.moved_standings = wrong | unseen
        if self.ratings is not None:
            unlike, missing = set[tuple[str, str]](), self._wanted_ratings(self.ratings)
            async for row in self._served(connection, _RATINGS):
                key = (row["queue"], row["user_id"])
                missing.discard(key)
                had = Skill(Rating(row["mu"], row["sigma"], row["matches"]), row["update_time"])
                wanted = self.ratings.of(*key)
                if wanted is None or not _same(had, wanted):
                    unlike.add(key)
                    self.differences.add(f"rating of {key[1]} in {key[0]!r}: {had}, not {wanted}")
            for key in missing:
                self.differences.add(f"rating of {key[1]} in {key[0]!r}: none, not {self.ratings.of(*key)}")
            self.moved_ratings = unlike | missing

    async def gone(self, connection: Connection, user_ids: Collection[str]) -> set[str]:
        """Which of these accounts were deleted."""
        rows = await connection.fetch(_GONE, list(user_ids), timeout=STATEMENT_SECONDS)
        return {row["user_id"] for row in rows}

    def _served(self, connection: Connection, statement: str) -> Any:
        return connection.cursor(statement, self.game_id, prefetch=_BATCH, timeout=STATEMENT_SECONDS)

    def _wanted_ratings(self, fold: RatingFold) -> set[tuple[str, str]]:
        return {(queue, user) for queue, user in fold.rated() if user not in fold.nameless}

    async def _prepare(self, connection: Connection) -> None:
        rows = await connection.fetch(_RULES, self.game_id, timeout=STATEMENT_SECONDS)
        self._rules = {row["queue"]: RatingRules(*list(row)[1:]) for row in rows}
        self._gone = {row["user_id"] for row in await connection.fetch(_ALL_GONE, timeout=STATEMENT_SECONDS)}

    async def _follow_deletions(self, connection: Connection, fold: RatingFold) -> None:
        """Those whose accounts were deleted since play on under the ids that stand for them."""
        rows = await connection.fetch(_ALL_GONE, timeout=STATEMENT_SECONDS)
        news = {row["user_id"] for row in rows} - self._gone
        self._gone |= news
        if seats := fold.seats_of(news):
            renamed = await connection.fetch(
                _NOW_CALLED, list(seats), [match_id for match_id, _ in seats.values()],
                [seat for _, seat in seats.values()], timeout=STATEMENT_SECONDS,
            )  # fmt: skip
            fold.rename({row["user_id"]: row["name"] for row in renamed})

    def _rate(self, fold: RatingFold, match: Match, row: asyncpg.Record) -> list[ChangeRow]:
        """Rates a match; returns what is served otherwise."""
        noted = row["rating_rules"]
        rules = RatingRules.from_list(noted) if noted else self._rules.get(match.queue, DEFAULT_RULES)
        changes = fold.take(match, rules, NAMELESS)
        differing: list[ChangeRow] = []
        for index, one in enumerate(match.participants):
            if one.username == NAMELESS:
                continue  # nobody's any more
            self.moved_ratings.add((match.queue, one.user_id))
            wanted = _change_row(match.match_id, one.seat, changes.get(one.user_id), rules)
            served = tuple(row[name][index] for name in _CHANGE_COLUMNS)
            if not _alike(wanted[2:], served):
                self.differences.add(
                    f"change of {one.user_id}'s rating by {match.match_id}: {served}, not {wanted[2:]}"
                )
                differing.append(wanted)
        return differing


_CHANGE_COLUMNS: Final = ("mu_before", "sigma_before", "mu_after", "sigma_after", "matches_after",
                          "provisional_before", "provisional_after")  # fmt: skip


def _match(game_id: str, row: asyncpg.Record) -> Match:
    columns = zip(row["seats"], row["users"], row["names"], row["teams"], row["placements"], row["scores"],
                  row["outcomes"], strict=True)  # fmt: skip
    participants = tuple(
        Participant(seat, user, name, team, placement, score, Outcome(outcome) if outcome else None)
        for seat, user, name, team, placement, score, outcome in columns
    )
    return Match(
        row["match_id"], game_id, ResultState.STATED, participants, "", {}, None, row["finish_time"], row["queue"]
    )


def _change_row(match_id: str, seat: int, change: RatingChange | None, rules: RatingRules) -> ChangeRow:
    if change is None:
        return (match_id, seat, None, None, None, None, None, None, None)
    before, after = change.before, change.after
    return (match_id, seat, before.mu, before.sigma, after.mu, after.sigma, after.matches,
            before.is_provisional(rules), after.is_provisional(rules))  # fmt: skip


def _same(had: Skill, wanted: Skill) -> bool:
    return had.update_time == wanted.update_time and _alike(
        (had.rating.mu, had.rating.sigma, had.rating.matches),
        (wanted.rating.mu, wanted.rating.sigma, wanted.rating.matches),
    )


def _alike(some: Sequence[float | None], others: Sequence[float | None]) -> bool:
    return all(
        one is other or (one is not None and other is not None and isclose(one, other, rel_tol=_TOLERANCE))
        for one, other in zip(some, others, strict=True)
    )
