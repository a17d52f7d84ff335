"""Queues as their developers define them, in PostgreSQL.

Methods that take a connection run in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from pkg.db.database import Connection, Database
from pkg.errors import AlreadyExists, Reason, ResourceExhausted

_MOST_QUEUES: Final = 100
_COLUMNS: Final = "name, version, definition, create_time, update_time"


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue as it is kept; `definition` is an encoded `oofgg.v1.Queue`."""

    name: str
    version: int
    definition: bytes
    create_time: datetime
    update_time: datetime


class QueueStore:
    """Queues by game and name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, connection: Connection, game_id: str, row: QueueRow) -> None:
        """Raises AlreadyExists(QUEUE_NAME_TAKEN), ResourceExhausted(QUOTA_EXCEEDED)."""
        await connection.execute("select pg_advisory_xact_lock(hashtextextended($1, 1))", game_id)
        if await connection.fetchval("select count(*) from queue where game_id = $1", game_id) >= _MOST_QUEUES:
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED, f"A game has at most {_MOST_QUEUES} queues. Delete one first.", quota="queues"
            )
        try:
            async with connection.transaction():
                await connection.execute(
                    f"insert into queue (game_id, {_COLUMNS}) values ($1, $2, $3, $4, $5, $6)",  # noqa: S608
                    game_id, row.name, row.version, row.definition, row.create_time, row.update_time,
                )  # fmt: skip
        except asyncpg.UniqueViolationError:
            raise AlreadyExists(
                Reason.QUEUE_NAME_TAKEN, f"This game has a queue “{row.name}” already.", queue=row.name
            ) from None

    async def update(self, connection: Connection, game_id: str, row: QueueRow) -> None:
        """Writes version, definition and time."""
        await connection.execute(
            "update queue set version = $3, definition = $4, update_time = $5 where game_id = $1 and name = $2",
            game_id, row.name, row.version, row.definition, row.update_time,
        )  # fmt: skip

    async def delete(self, connection: Connection, game_id: str, name: str) -> bool:
        """Whether there was one."""
        told: str = await connection.execute("delete from queue where game_id = $1 and name = $2", game_id, name)
        return told != "DELETE 0"

    async def lock(self, connection: Connection, game_id: str, name: str) -> QueueRow | None:
        """A queue that nobody else changes until the transaction ends."""
        row = await connection.fetchrow(
            f"select {_COLUMNS} from queue where game_id = $1 and name = $2 for update", game_id, name  # noqa: S608
        )  # fmt: skip
        return QueueRow(**row) if row else None

    async def some(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], QueueRow]:
        """Queues by (game, name)."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select game_id, {_COLUMNS} from queue "  # noqa: S608
                "where (game_id, name) in (select * from unnest($1::uuid[], $2::text[]))",
                [game_id for game_id, _ in keys], [name for _, name in keys],
            )  # fmt: skip
        return {
            (str(row["game_id"]), row["name"]): QueueRow(
                row["name"], row["version"], row["definition"], row["create_time"], row["update_time"]
            )
            for row in rows
        }

    async def page(self, game_id: str, after: str, count: int) -> list[QueueRow]:
        """Queues of a game by name, from the first after a name."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select {_COLUMNS} from queue where game_id = $1 and name > $2 order by name limit $3",  # noqa: S608
                game_id, after, count,
            )  # fmt: skip
        return [QueueRow(**row) for row in rows]
