"""Standings and ratings made again from the history, while matches are taken in: docs/architecture/events.md.

The fold of a game's history is compared with what is served, in one snapshot. Where they differ, it catches up with
what has come since; then all projections are held for a moment, the last matches are taken in, and what differs is
written: in one transaction, which is all that readers see of it. Until then nothing is written, so a rebuild that
dies leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from pkg.db.database import Connection, Database
from services.scoring.rebuilding.folds import RatingFold, StandingFold
from services.scoring.rebuilding.history_fold import ChangeRow, Differences, HistoryFold
from services.scoring.rebuilding.locks import STATEMENT_SECONDS, alone, held, working

# So many matches may be left to take in when the projections are held; more are taken in before, in so many rounds.
_FEW: Final = 200
_ROUNDS: Final = 20
_PAGE: Final = 2_000

_GAMES: Final = "select distinct game_id::text from match order by 1"
_SHADOW: Final = """
    create temporary table rating_change_rebuilt (
        match_id uuid not null, seat integer not null, mu_before float8, sigma_before float8, mu_after float8,
        sigma_after float8, matches_after bigint, provisional_before boolean, provisional_after boolean)
"""
# Every projection moves its position before anything else, and every replay of a dead letter takes the letter: whoever
# holds both tables is alone with what is projected, and nobody waits for them while they wait.
_HOLD: Final = "lock table position, dead_letter in share row exclusive mode"
_DROP_CHANGES: Final = """
    delete from rating_change c using rating_change_rebuilt r
    where c.match_id = r.match_id and c.seat = r.seat and r.mu_after is null
"""
_PUT_CHANGES: Final = """
    insert into rating_change as c (match_id, seat, mu_before, sigma_before, mu_after, sigma_after, matches_after,
        provisional_before, provisional_after)
    select r.* from rating_change_rebuilt r join match using (match_id) where r.mu_after is not null
    on conflict (match_id, seat) do update set mu_before = excluded.mu_before, sigma_before = excluded.sigma_before,
        mu_after = excluded.mu_after, sigma_after = excluded.sigma_after, matches_after = excluded.matches_after,
        provisional_before = excluded.provisional_before, provisional_after = excluded.provisional_after
"""
_DROP_STANDINGS: Final = "delete from standing where game_id = $1 and user_id = any($2::uuid[])"
_PUT_STANDINGS: Final = """
    insert into standing as s (game_id, user_id, username, wins, losses, draws, score, update_time)
    select $1, * from unnest($2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
        $8::timestamptz[])
    on conflict (game_id, user_id) do update set username = excluded.username, wins = excluded.wins,
        losses = excluded.losses, draws = excluded.draws, score = excluded.score, update_time = excluded.update_time
"""
_DROP_RATINGS: Final = """
    delete from rating r using unnest($2::text[], $3::uuid[]) as i (queue, user_id)
    where r.game_id = $1 and r.queue = i.queue and r.user_id = i.user_id and r.matches > 0
"""
_PUT_RATINGS: Final = """
    insert into rating as r (game_id, queue, user_id, mu, sigma, matches, update_time)
    select $1, * from unnest($2::text[], $3::uuid[], $4::float8[], $5::float8[], $6::bigint[], $7::timestamptz[])
    on conflict (game_id, queue, user_id) do update set mu = excluded.mu, sigma = excluded.sigma,
        matches = excluded.matches, update_time = excluded.update_time
"""

Told = Callable[[int], None]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Folded:
    """What came out of one game."""

    matches: int
    differences: Differences
    held_seconds: float = 0.0
    """How long the projections waited."""


class Rebuilding:
    """Folds games, one at a time, over two connections of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def games(self) -> list[str]:
        """Games that have a history."""
        async with working(self._database) as connection:
            return [row["game_id"] for row in await connection.fetch(_GAMES, timeout=STATEMENT_SECONDS)]

    async def verify(self, game_id: str, projections: Collection[str], told: Told) -> Folded:
        """Compares what is served with the history, both as one moment sees them. Raises Unavailable."""
        fold = HistoryFold(game_id, projections, told)
        async with working(self._database) as reader, _snapshot(reader):
            await fold.take(reader, _ignored)
            await fold.compare(reader)
        return Folded(fold.matches, fold.differences)

    async def rebuild(self, game_id: str, projections: Collection[str], told: Told) -> Folded:
        """Makes what is served what the history says. Raises Unavailable, also when somebody else is at it."""
        fold = HistoryFold(game_id, projections, told)
        async with working(self._database) as reader, working(self._database) as writer:
            await alone(writer, "rebuilding")
            await writer.execute(_SHADOW, timeout=STATEMENT_SECONDS)

            async def put(rows: Sequence[ChangeRow]) -> None:
                await writer.copy_records_to_table("rating_change_rebuilt", records=rows, timeout=STATEMENT_SECONDS)

            async with _snapshot(reader):
                await fold.take(reader, put)
                await fold.compare(reader)
            if not fold.differences.count:
                return Folded(fold.matches, fold.differences)
            found = Differences(fold.differences.count, list(fold.differences.lines))
            for _ in range(_ROUNDS):
                async with _snapshot(reader):
                    if await fold.take(reader, put) <= _FEW:
                        break
            clock = asyncio.get_running_loop().time
            began = clock()
            async with held(writer, _HOLD):
                await fold.take(writer, put)
                await _switch(writer, fold)
            return Folded(fold.matches, found, clock() - began)


async def _ignored(_: Sequence[ChangeRow]) -> None:
    """Nobody writes what a comparison finds."""


async def _switch(connection: Connection, fold: HistoryFold) -> None:
    """Writes what may differ, as the fold has it, in the caller's transaction."""
    if fold.standings is not None:
        gone = await fold.gone(connection, fold.moved_standings)
        for users in _pages(fold.moved_standings):
            await _put_standings(connection, fold.game_id, fold.standings, users, gone)
    if fold.ratings is not None:
        await connection.execute(_DROP_CHANGES, timeout=STATEMENT_SECONDS)
        await connection.execute(_PUT_CHANGES, timeout=STATEMENT_SECONDS)
        gone = await fold.gone(connection, {user for _, user in fold.moved_ratings})
        for keys in _pages(fold.moved_ratings):
            await _put_ratings(connection, fold.game_id, fold.ratings, keys, gone)


async def _put_standings(
    connection: Connection, game_id: str, fold: StandingFold, users: Sequence[str], gone: set[str]
) -> None:
    kept = [(user, *fold.sums[user]) for user in users if user in fold.sums and user not in gone]
    known = {row[0] for row in kept}
    await connection.execute(
        _DROP_STANDINGS, game_id, [user for user in users if user not in known], timeout=STATEMENT_SECONDS
    )
    if kept:
        columns = [list(column) for column in zip(*kept, strict=True)]
        await connection.execute(_PUT_STANDINGS, game_id, *columns, timeout=STATEMENT_SECONDS)


async def _put_ratings(
    connection: Connection, game_id: str, fold: RatingFold, keys: Sequence[tuple[str, str]], gone: set[str]
) -> None:
    kept = [
        (queue, user, skill.rating.mu, skill.rating.sigma, skill.rating.matches, skill.update_time)
        for queue, user in keys
        if user not in gone and user not in fold.nameless and (skill := fold.of(queue, user)) is not None
    ]
    known = {row[:2] for row in kept}
    dropped = [key for key in keys if key not in known]
    await connection.execute(
        _DROP_RATINGS, game_id, [queue for queue, _ in dropped], [user for _, user in dropped],
        timeout=STATEMENT_SECONDS,
    )  # fmt: skip
    if kept:
        columns = [list(column) for column in zip(*kept, strict=True)]
        await connection.execute(_PUT_RATINGS, game_id, *columns, timeout=STATEMENT_SECONDS)


def _pages(items: Collection[_T]) -> list[list[_T]]:
    ordered = list(items)
    return [ordered[first : first + _PAGE] for first in range(0, len(ordered), _PAGE)]


@asynccontextmanager
async def _snapshot(connection: Connection) -> AsyncIterator[None]:
    """All statements see one moment. Without writes, so that nobody waits for the transaction's end."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield
