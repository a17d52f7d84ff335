"""The entries of leaderboards in PostgreSQL: the truth.

Methods that take a connection run in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

import asyncpg

from pkg.db.database import Connection, Database
from pkg.errors import Reason
from services.scoring.leaderboards.rules import Entry, Outcome, Submission
from services.scoring.leaderboards.upsert import COLUMNS, upsert

Key = tuple[str, datetime, str]
"""Leaderboard, beginning of the window, player."""

_OF = "from leaderboard_entry where leaderboard_id = $1 and window_start = $2"
_BY_KEYS: Final = """
    select e.leaderboard_id, e.window_start, e.user_id, e.username, e.score, e.subscore, e.attempts, e.metadata,
        e.update_time, e.place
    from unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) as i (leaderboard_id, window_start, user_id)
    join leaderboard_entry e using (user_id, leaderboard_id, window_start)
"""
_NOTE: Final = """
    insert into leaderboard_change (due_time, leaderboard_ids, window_starts, user_ids)
    values (now() + make_interval(secs => $1), $2, $3, $4) returning change_id
"""


class EntryStore:
    """Entries by player and by place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(self, connection: Connection, submissions: Sequence[Submission]) -> list[Outcome]:
        """Takes scores in, in their order, and tells what became of each."""
        outcomes: list[Outcome | None] = [None] * len(submissions)
        waiting = list(range(len(submissions)))
        while waiting:
            # A statement may touch an entry once; whoever comes twice comes again in the next round.
            chosen: dict[Key, int] = {}
            later = []
            for index in waiting:
                key = key_of(submissions[index])
                if key in chosen:
                    later.append(index)
                else:
                    chosen[key] = index
            for index, outcome in (await self._round(connection, submissions, chosen)).items():
                outcomes[index] = outcome
            waiting = later
        return [outcome for outcome in outcomes if outcome is not None]

    async def _round(
        self, connection: Connection, submissions: Sequence[Submission], chosen: Mapping[Key, int]
    ) -> dict[int, Outcome]:
        found: dict[int, Outcome] = {}

        # Statements come in one order, so that two transactions cannot wait for each other.
        def kind(index: int) -> tuple[str, bool, int]:
            board = submissions[index].board
            return board.operator, board.ascending, board.max_attempts

        for (_, ascending, attempts), indices in groupby(sorted(chosen.values(), key=kind), kind):
            rows = [submissions[index] for index in indices]
            for row in await connection.fetch(
                upsert(rows[0].board.operator, ascending=ascending, many=len(rows) > 1),
                [one.user_id for one in rows],
                [one.board.leaderboard_id for one in rows],
                [one.window.start for one in rows],
                [one.submit_time for one in rows],
                [one.score for one in rows],
                [one.subscore for one in rows],
                [one.username for one in rows],
                attempts,
                ascending,
                [one.metadata for one in rows],
            ):
                key = (str(row["leaderboard_id"]), row["window_start"], str(row["user_id"]))
                found[chosen[key]] = Outcome(entry_of(row), changed=row["changed"])
        refused = [index for index in chosen.values() if index not in found]
        return {**found, **(await self._refusals(connection, submissions, refused) if refused else {})}

    async def _refusals(
        self, connection: Connection, submissions: Sequence[Submission], refused: Sequence[int]
    ) -> dict[int, Outcome]:
        users = [submissions[index].user_id for index in refused]
        rows = await connection.fetch("select user_id from forgotten where user_id = any($1::uuid[])", users)
        gone = {str(row["user_id"]) for row in rows}
        entries = await self._by_keys(connection, [key_of(submissions[index]) for index in refused])
        outcomes = {}
        for index in refused:
            one = submissions[index]
            entry, most = entries.get(key_of(one)), one.board.max_attempts
            if one.user_id in gone:
                refusal = Reason.ACCOUNT_NOT_FOUND
            elif entry is not None and most and entry.attempts >= most:
                refusal = Reason.ATTEMPTS_EXHAUSTED
            else:
                refusal = Reason.SCORE_OUT_OF_RANGE
            outcomes[index] = Outcome(None, refusal=refusal)
        return outcomes

    async def note(self, connection: Connection, keys: Iterable[Key], due_seconds: float) -> int:
        """Notes that Redis has to be told of these entries, by somebody else if it was not done in so many seconds."""
        listed = list(keys)
        change_id: int = await connection.fetchval(
            _NOTE, due_seconds, [key[0] for key in listed], [key[1] for key in listed], [key[2] for key in listed]
        )
        return change_id

    async def by_keys(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """The entries there are."""
        async with self._database.acquire() as connection:
            return await self._by_keys(connection, keys)

    async def _by_keys(self, connection: Connection, keys: Sequence[Key]) -> dict[Key, Entry]:
        rows = await connection.fetch(
            _BY_KEYS, [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]
        )
        return {(str(row["leaderboard_id"]), row["window_start"], str(row["user_id"])): entry_of(row) for row in rows}

    async def page(
        self, leaderboard_id: str, start: datetime, after: bytes | None, limit: int, *, upwards: bool = False
    ) -> list[Entry]:
        """Entries that come after this place, best first; with `upwards` those before it, nearest first."""
        condition = "" if after is None else f"and place {'<' if upwards else '>'} $4"
        order = "desc" if upwards else ""
        values = [] if after is None else [after]
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select {COLUMNS} {_OF} {condition} order by place {order} limit $3",
                leaderboard_id, start, limit, *values,
            )  # fmt: skip
        return [entry_of(row) for row in rows]

    async def before(self, leaderboard_id: str, start: datetime, places: Sequence[bytes]) -> list[int]:
        """How many entries come before each of these places."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"""
                select (select count(*) {_OF} and place < i.place) as before
                from unnest($3::bytea[]) with ordinality as i (place, number) order by number
                """,  # noqa: S608
                leaderboard_id, start, places,
            )  # fmt: skip
        return [row["before"] for row in rows]

    async def any(self, leaderboard_id: str, start: datetime) -> bool:
        """Whether a window has entries."""
        async with self._database.acquire() as connection:
            return bool(await connection.fetchval(f"select exists (select {_OF})", leaderboard_id, start))

    async def total(self, leaderboard_id: str, start: datetime) -> int:
        """How many entries a window has."""
        async with self._database.acquire() as connection:
            return int(await connection.fetchval(f"select count(*) {_OF}", leaderboard_id, start))


def key_of(submission: Submission) -> Key:
    """The entry that a submission is for."""
    return submission.board.leaderboard_id, submission.window.start, submission.user_id


def entry_of(row: asyncpg.Record) -> Entry:
    """An entry from its columns."""
    return Entry(
        str(row["user_id"]), row["username"], row["score"], row["subscore"], row["attempts"], row["metadata"],
        row["update_time"], row["place"],
    )  # fmt: skip
