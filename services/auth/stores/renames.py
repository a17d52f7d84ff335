"""Accounts whose name has changed lately, so that every process calls them by the new one."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from pkg.db.database import Connection, Database

_NOTE: Final = """
    insert into renamed (user_id, username, rename_time) values ($1, $2, $3)
    on conflict (user_id) do update set username = $2, rename_time = $3, published = false
"""
# Only what was published as it is now: the account may have been renamed once more meanwhile.
_PUBLISHED: Final = """
    update renamed r set published = true
    from unnest($1::uuid[], $2::timestamptz[]) as told (user_id, rename_time)
    where r.user_id = told.user_id and r.rename_time = told.rename_time
"""


class Rename(NamedTuple):
    """An account's new name."""

    user_id: str
    username: str
    rename_time: datetime


class RenameStore:
    """The table `renamed`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, connection: Connection, user_id: str, username: str, now: datetime) -> None:
        """Notes in the caller's transaction that an account has another name from now on."""
        await connection.execute(_NOTE, user_id, username, now)

    async def unpublished(self, limit: int) -> list[Rename]:
        """New names that Redis has not been told."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                "select user_id, username, rename_time from renamed where not published limit $1", limit
            )
        return [Rename(str(row["user_id"]), row["username"], row["rename_time"]) for row in rows]

    async def mark_published(self, renames: list[Rename]) -> None:
        """Notes that Redis has been told these."""
        async with self._database.acquire() as connection:
            await connection.execute(_PUBLISHED, [one.user_id for one in renames], [one.rename_time for one in renames])

    async def mark_unpublished_since(self, since: datetime) -> None:
        """Has every name that changed since then published again, for a Redis that may have lost it."""
        async with self._database.acquire() as connection:
            await connection.execute("update renamed set published = false where rename_time >= $1", since)

    async def forget(self, before: datetime) -> None:
        """Drops names that every token has by now."""
        async with self._database.acquire() as connection:
            await connection.execute("delete from renamed where published and rename_time < $1", before)
