"""Matches and who took part, in PostgreSQL. Methods that take a connection run in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from pkg.db.database import Connection, Database
from services.scoring.matches import Match, MatchFilter, Outcome, Participant, RatingShift, RatingView, ResultState
from services.scoring.ratings.rules import RatingRules

_MATCH = "m.match_id, m.game_id, m.result_state, m.label, m.attributes, m.start_time, m.finish_time, m.queue"

PageKey = tuple[datetime, str]


class MatchStore:
    """Finished matches and who took part."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, connection: Connection, match: Match, rules: RatingRules | None = None) -> bool:
        """Takes a match in, with the rules by which it is rated. False when it is there already."""
        new = await connection.fetchval(
            """
            insert into match (match_id, game_id, result_state, label, attributes, start_time, finish_time, queue,
                rating_rules)
            values ($1, $2, $3, $4, $5::jsonb, $6, $7, $8, $9) on conflict do nothing returning true
            """,
            match.match_id, match.game_id, match.result_state, match.label, json.dumps(match.attributes),
            match.start_time, match.finish_time, match.queue, rules.as_list() if rules else None,
        )  # fmt: skip
        if not new:
            return False
        await self.insert_participants(connection, match)
        return True

    async def insert_participants(self, connection: Connection, match: Match) -> None:
        """Writes who took part."""
        await connection.executemany(
            """
            insert into participant
                (match_id, seat, game_id, user_id, username, team, placement, score, outcome, finish_time, stats)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb)
            """,
            [
                (match.match_id, p.seat, match.game_id, p.user_id, p.username, p.team, p.placement, p.score,
                 p.outcome, match.finish_time, json.dumps(dict(p.stats)) if p.stats else None)
                for p in match.participants
            ],
        )  # fmt: skip

    async def by_id(self, match_id: str) -> Match | None:
        """One match."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(f"select {_MATCH} from match m where m.match_id = $1", match_id)  # noqa: S608
            matches = await _with_participants(connection, rows)
        return matches[0] if matches else None

    async def by_ids(self, match_ids: Sequence[str]) -> dict[str, Match]:
        """Several matches, by id."""
        async with self._database.acquire() as connection:
            return await matches_of(connection, match_ids)

    async def page(self, game_id: str, wanted: MatchFilter, after: PageKey | None, limit: int) -> list[Match]:
        """Matches of a game, latest first, that come after this (finish time, id)."""
        row, source = "m", "match m"
        if wanted.user_id is not None:
            row, source = "p", "participant p join match m using (match_id)"
        values: list[Any] = [game_id]

        def value(given: object) -> str:
            values.append(given)
            return f"${len(values)}"

        conditions = [f"{row}.game_id = $1"]
        if wanted.user_id is not None:
            conditions.append(f"p.user_id = {value(wanted.user_id)}")
        if wanted.opponent_id is not None:
            opponent = value(wanted.opponent_id)
            conditions.append(
                f"exists (select from participant o where o.match_id = m.match_id and o.user_id = {opponent})"
            )
        if wanted.outcome is not None:
            conditions.append(f"p.outcome = {value(wanted.outcome)}")
        if wanted.result_state is not None:
            conditions.append(f"m.result_state = {value(wanted.result_state)}")
        if wanted.queue is not None:
            conditions.append(f"m.queue = {value(wanted.queue)}")
        if wanted.label is not None:
            conditions.append(f"m.label = {value(wanted.label)}")
        if wanted.from_time is not None:
            conditions.append(f"{row}.finish_time >= {value(wanted.from_time)}")
        if wanted.until_time is not None:
            conditions.append(f"{row}.finish_time < {value(wanted.until_time)}")
        if after is not None:
            conditions.append(f"({row}.finish_time, {row}.match_id) < ({value(after[0])}, {value(after[1])}::uuid)")
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select {_MATCH} from {source} where {' and '.join(conditions)} "  # noqa: S608
                f"order by {row}.finish_time desc, {row}.match_id desc limit {value(limit)}",
                *values,
            )
            return await _with_participants(connection, rows)


async def matches_of(connection: Connection, match_ids: Sequence[str]) -> dict[str, Match]:
    """Several matches, by id, as the caller's transaction sees them."""
    rows = await connection.fetch(f"select {_MATCH} from match m where m.match_id = any($1)", match_ids)  # noqa: S608
    return {match.match_id: match for match in await _with_participants(connection, rows)}


async def _with_participants(connection: Connection, rows: Sequence[asyncpg.Record]) -> list[Match]:
    found: dict[Any, list[Participant]] = {row["match_id"]: [] for row in rows}
    for p in await connection.fetch(
        """
        select match_id, seat, user_id, username, team, placement, score, outcome, stats, mu_before, sigma_before,
            mu_after, sigma_after, matches_after, provisional_before, provisional_after
        from participant left join rating_change using (match_id, seat)
        where match_id = any($1) order by placement, seat
        """,
        list(found),
    ):
        found[p["match_id"]].append(_participant(p))
    return [
        Match(
            match_id=str(row["match_id"]),
            game_id=str(row["game_id"]),
            result_state=ResultState(row["result_state"]),
            participants=tuple(found[row["match_id"]]),
            label=row["label"],
            attributes=json.loads(row["attributes"]),
            start_time=row["start_time"],
            finish_time=row["finish_time"],
            queue=row["queue"],
        )
        for row in rows
    ]


def _participant(row: asyncpg.Record) -> Participant:
    return Participant(
        seat=row["seat"],
        user_id=str(row["user_id"]),
        username=row["username"],
        team=row["team"],
        placement=row["placement"],
        score=row["score"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        rating=_shift(row),
        stats=json.loads(row["stats"]) if row["stats"] else {},
    )


def _shift(row: asyncpg.Record) -> RatingShift | None:
    matches = row["matches_after"]
    if matches is None:
        return None
    return RatingShift(
        RatingView(row["mu_before"], row["sigma_before"], matches - 1, row["provisional_before"]),
        RatingView(row["mu_after"], row["sigma_after"], matches, row["provisional_after"]),
    )
