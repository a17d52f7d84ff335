"""What becomes of a deleted account: its matches stay for those who played them, and lead to nobody any more.

Its standings and its entries on leaderboards go.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from oofgg.events.v1 import identity_pb2
from pkg.db.database import Connection, Database
from pkg.events.outbox import Event
from pkg.ids import NewId, is_id
from pkg.pagination import decode_time_token, encode_time_token
from services.scoring.leaderboards.entries import EntryStore
from services.scoring.leaderboards.removing import note_removal

ACCOUNT_DELETED: Final = identity_pb2.AccountDeleted.DESCRIPTOR.full_name
NAMELESS: Final = "deleted player"

_NOTE: Final = "insert into forgotten (user_id, delete_time) values ($1, $2) on conflict do nothing"
# Whoever takes a match or scores in has looked before whether an account is there: those who are at it are waited for,
# and whoever comes after sees the note. Each of them holds one of these tables from its beginning.
_HOLD: Final = "lock table position, dead_letter, leaderboard_entry in share row exclusive mode"
_MATCHES: Final = "update participant set user_id = $2, username = $3 where user_id = $1"
_STANDINGS: Final = "delete from standing where user_id = $1"
_RATINGS: Final = "delete from rating where user_id = $1"
_ENTRIES: Final = "delete from leaderboard_entry where user_id = $1 returning leaderboard_id, window_start"
_PAGE: Final = 100
_EXPORT_ENTRIES: Final = """
    select l.game_id, l.name as leaderboard, e.window_start, e.score, e.subscore, e.attempts, e.metadata, e.username,
        e.update_time, e.leaderboard_id
    from leaderboard_entry e join leaderboard l using (leaderboard_id)
    where e.user_id = $1 and ($2::timestamptz is null or (e.window_start, e.leaderboard_id) < ($2, $3::uuid))
    order by e.window_start desc, e.leaderboard_id desc limit $4
"""
_EXPORT: Final = """
    select m.match_id, m.game_id, m.result_state, m.label, m.start_time, p.seat, p.team, p.placement, p.score,
        p.outcome, p.username, p.finish_time
    from participant p join match m using (match_id)
    where p.user_id = $1 and ($2::timestamptz is null or (p.finish_time, p.match_id) < ($2, $3::uuid))
    order by p.finish_time desc, p.match_id desc limit $4
"""


class AccountConsumer:
    """Takes deletions of accounts in."""

    def __init__(self, entries: EntryStore, new_id: NewId) -> None:
        """`new_id` makes the ids that stand for accounts which are gone; nothing leads from one to the other."""
        self._entries = entries
        self._new_id = new_id

    async def apply(self, connection: Connection, event: Event) -> None:
        """Runs once per event, in the transaction that notes it. Raises ValueError or DecodeError for nonsense."""
        if event.type != ACCOUNT_DELETED:
            return
        deleted = identity_pb2.AccountDeleted.FromString(event.payload)
        if not is_id(deleted.user_id):
            raise ValueError(f"{deleted.user_id!r} is no id")
        await connection.execute(_NOTE, deleted.user_id, deleted.delete_time.ToDatetime(UTC))
        await connection.execute(_HOLD)
        await connection.execute(_MATCHES, deleted.user_id, self._new_id(), NAMELESS)
        await connection.execute(_STANDINGS, deleted.user_id)
        await connection.execute(_RATINGS, deleted.user_id)
        entries = await connection.fetch(_ENTRIES, deleted.user_id)
        if entries:
            keys = [(str(row["leaderboard_id"]), row["window_start"], deleted.user_id) for row in entries]
            await note_removal(connection, self._entries, keys, 0.0)


async def forgotten(connection: Connection, user_ids: Sequence[str]) -> set[str]:
    """Which of these accounts were deleted: a match that ended before may be taken in after."""
    rows = await connection.fetch("select user_id from forgotten where user_id = any($1::uuid[])", user_ids)
    return {str(row["user_id"]) for row in rows}


class Exporter:
    """What a statement finds of a person, newest first."""

    def __init__(self, database: Database, statement: str, time: str, key: str) -> None:
        """`time` and `key` are the columns by which it sorts."""
        self._database = database
        self._statement = statement
        self._time = time
        self._key = key

    async def __call__(self, user_id: str, page_token: str) -> tuple[Sequence[str], str]:
        """A page of it (pkg.runtime.user_data.ExportUser)."""
        if not is_id(user_id):
            return [], ""
        after: tuple[datetime | None, str | None] = decode_time_token(page_token) or (None, None)
        async with self._database.acquire() as connection:
            rows = await connection.fetch(self._statement, user_id, *after, _PAGE + 1)
        last = rows[_PAGE - 1] if rows[_PAGE:] else None
        more = encode_time_token(last[self._time], str(last[self._key])) if last else ""
        return [json.dumps(dict(row), default=str) for row in rows[:_PAGE]], more


def match_exporter(database: Database) -> Exporter:
    """The matches of a person."""
    return Exporter(database, _EXPORT, "finish_time", "match_id")


def score_exporter(database: Database) -> Exporter:
    """The entries of a person on leaderboards."""
    return Exporter(database, _EXPORT_ENTRIES, "window_start", "leaderboard_id")
