"""Signing keys, sealed."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pkg.auth.sealing import Sealer
from pkg.db.database import Connection, Database
from services.auth.keys import SigningKey, new_signing_key, signing_key_from_der

_ALL: Final = "select key_id, sealed_key, activate_time from signing_key order by activate_time, key_id"
_INSERT: Final = "insert into signing_key (key_id, sealed_key, create_time, activate_time) values ($1, $2, $3, $4)"
_LOCK: Final = "lock table signing_key in share row exclusive mode"


class SigningKeyStore:
    """Signing keys."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def load(self) -> list[SigningKey]:
        """All keys in the order in which they sign. Raises UnsealError for another master key."""
        async with self._database.acquire() as connection:
            return await self._read(connection)

    async def load_or_create(self, key_id: str, now: datetime) -> list[SigningKey]:
        """All keys; makes the first one, under `key_id`, when there is none. Raises UnsealError."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            return await self._read(connection) or [await self._insert(connection, key_id, now, now)]

    async def rotate(
        self, key_id: str, now: datetime, activate_time: datetime, *, unless_after: datetime
    ) -> SigningKey | None:
        """A new key that signs from `activate_time` on; None when there is one that signs after `unless_after`."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            newest = await connection.fetchval("select max(activate_time) from signing_key")
            if newest is not None and newest > unless_after:
                return None
            return await self._insert(connection, key_id, now, activate_time)

    async def forget(self, before: datetime) -> None:
        """Drops keys whose successor was signing before then, so that no token of theirs is left."""
        async with self._database.acquire() as connection:
            await connection.execute(
                "delete from signing_key old where exists (select from signing_key new "
                "where new.activate_time > old.activate_time and new.activate_time < $1)",
                before,
            )

    async def _read(self, connection: Connection) -> list[SigningKey]:
        return [
            signing_key_from_der(row["key_id"], self._sealer.unseal(row["sealed_key"]), row["activate_time"])
            for row in await connection.fetch(_ALL)
        ]

    async def _insert(self, connection: Connection, key_id: str, now: datetime, activate_time: datetime) -> SigningKey:
        key = new_signing_key(key_id, activate_time)
        await connection.execute(_INSERT, key_id, self._sealer.seal(key.to_der()), now, activate_time)
        return key
