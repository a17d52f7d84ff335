"""API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg

from pkg.db.database import Connection, Database
from services.auth.accounts import ApiKey

_COLUMNS: Final = "api_key_id, user_id, game_id, name, prefix, create_time, expire_time, use_time"
_INSERT: Final = """
    insert into api_key (api_key_id, key_hash, user_id, game_id, name, prefix, create_time, expire_time)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_BY_DIGEST: Final = f"""
    select {_COLUMNS} from api_key
    where key_hash = $1 and end_time is null and (expire_time is null or expire_time > $2)
"""  # noqa: S608
# To the minute: a key that is exchanged all the time must not write all the time.
_USED: Final = """
    update api_key set use_time = $2
    where api_key_id = $1 and coalesce(use_time, '-infinity') < $2::timestamptz - interval '1 minute'
"""
_LIST: Final = f"""
    select {_COLUMNS} from api_key where game_id = $1 and end_time is null
      and ($2::timestamptz is null or (create_time, api_key_id) < ($2, $3::uuid))
    order by create_time desc, api_key_id desc limit $4
"""  # noqa: S608
_END: Final = f"""
    update api_key set end_time = $3 where api_key_id = $1 and user_id = $2 and end_time is null returning {_COLUMNS}
"""  # noqa: S608
_END_ALL: Final = "update api_key set end_time = $2 where user_id = $1 and end_time is null returning api_key_id"


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        str(row["api_key_id"]),
        str(row["user_id"]),
        row["game_id"],
        row["name"],
        row["prefix"],
        row["create_time"],
        row["expire_time"],
        row["use_time"],
    )


class ApiKeyStore:
    """API keys; their secrets are known by digest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, connection: Connection, key: ApiKey, digest: bytes) -> None:
        """A new key."""
        await connection.execute(
            _INSERT,
            key.api_key_id,
            digest,
            key.user_id,
            key.game_id,
            key.name,
            key.prefix,
            key.create_time,
            key.expire_time,
        )

    async def by_digest(self, digest: bytes, now: datetime) -> ApiKey | None:
        """The key with this secret, unless it has ended."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(_BY_DIGEST, digest, now)
        return _key(row) if row else None

    async def used(self, connection: Connection, api_key_id: str, now: datetime) -> None:
        """Notes that a key was exchanged."""
        await connection.execute(_USED, api_key_id, now)

    async def page(self, game_id: str, after: tuple[datetime, str] | None, limit: int) -> list[ApiKey]:
        """Keys of a game that were not revoked, newest first."""
        async with self._database.acquire() as connection:
            return [_key(row) for row in await connection.fetch(_LIST, game_id, *(after or (None, None)), limit)]

    async def end(self, connection: Connection, api_key_id: str, user_id: str, now: datetime) -> ApiKey | None:
        """Revokes a key of this developer; None when there is none."""
        row = await connection.fetchrow(_END, api_key_id, user_id, now)
        return _key(row) if row else None

    async def end_all(self, connection: Connection, user_id: str, now: datetime) -> list[str]:
        """Revokes all keys of a developer and returns their ids."""
        return [str(row["api_key_id"]) for row in await connection.fetch(_END_ALL, user_id, now)]
