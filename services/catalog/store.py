"""The tables of `catalog`. Methods that take a connection run in the caller's transaction."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from pkg.db.database import Connection, Database
from pkg.errors import AlreadyExists, Reason
from pkg.games import Quotas
from services.catalog.games import Game

_COLUMNS = """
    game_id, name, description, owner_user_id, max_seats, match_history_topic_disabled, create_time, update_time,
    single_login, quota_players, quota_sessions, quota_calls_per_second
"""


def _game(row: asyncpg.Record) -> Game:
    return Game(
        game_id=str(row["game_id"]),
        name=row["name"],
        description=row["description"],
        owner_user_id=str(row["owner_user_id"]),
        max_seats=row["max_seats"],
        match_history_topic_disabled=row["match_history_topic_disabled"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        single_login=row["single_login"],
        quotas=Quotas(row["quota_players"], row["quota_sessions"], row["quota_calls_per_second"]),
    )


class GameStore:
    """Games and the topics that belong to them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, connection: Connection, game: Game) -> None:
        """Raises AlreadyExists(GAME_NAME_TAKEN)."""
        await self._write(
            connection,
            f"insert into game ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0)",  # noqa: S608
            game,
            game.game_id,
            game.name,
            game.description,
            game.owner_user_id,
            game.max_seats,
            game.match_history_topic_disabled,
            game.create_time,
            game.update_time,
            game.single_login,
        )

    async def update(self, connection: Connection, game: Game) -> None:
        """Writes what an update can change. Raises AlreadyExists(GAME_NAME_TAKEN)."""
        await self._write(
            connection,
            """
            update game set name = $2, description = $3, max_seats = $4, match_history_topic_disabled = $5,
                update_time = $6, single_login = $7
            where game_id = $1
            """,
            game,
            game.game_id,
            game.name,
            game.description,
            game.max_seats,
            game.match_history_topic_disabled,
            game.update_time,
            game.single_login,
        )

    async def set_quotas(self, connection: Connection, game_id: str, quotas: Quotas) -> None:
        """Writes what a game is allowed."""
        await connection.execute(
            """
            update game set quota_players = $2, quota_sessions = $3, quota_calls_per_second = $4 where game_id = $1
            """,
            game_id,
            quotas.players,
            quotas.sessions,
            quotas.calls_per_second,
        )

    async def count(self, owner_user_id: str) -> int:
        """How many games a developer has."""
        async with self._database.acquire() as connection:
            return int(
                await connection.fetchval(
                    "select count(*) from game where owner_user_id = $1 and delete_time is null", owner_user_id
                )
            )

    async def delete(self, connection: Connection, game_id: str, now: datetime) -> None:
        """Marks a game as deleted."""
        await connection.execute("update game set delete_time = $2 where game_id = $1", game_id, now)

    async def by_id(self, game_id: str) -> Game | None:
        """The game, unless it was deleted."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(
                f"select {_COLUMNS} from game where game_id = $1 and delete_time is null",  # noqa: S608
                game_id,
            )
        return _game(row) if row else None

    async def lock(self, connection: Connection, game_id: str) -> Game | None:
        """The game, locked until the transaction ends, unless it was deleted."""
        row = await connection.fetchrow(
            f"select {_COLUMNS} from game where game_id = $1 and delete_time is null for update",  # noqa: S608
            game_id,
        )
        return _game(row) if row else None

    async def page(self, owner_user_id: str | None, after: tuple[datetime, str] | None, limit: int) -> list[Game]:
        """Games, newest first, that come after this (create time, id); all developers' for None."""
        time, game_id = after or (None, None)
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"""
                select {_COLUMNS} from game
                where delete_time is null and ($1::uuid is null or owner_user_id = $1)
                  and ($2::timestamptz is null or (create_time, game_id) < ($2, $3::uuid))
                order by create_time desc, game_id desc limit $4
                """,  # noqa: S608
                owner_user_id,
                time,
                game_id,
                limit,
            )
        return [_game(row) for row in rows]

    async def want_topic(self, connection: Connection, game: Game) -> None:
        """Notes that a game needs its topic."""
        if game.match_history_topic:
            await connection.execute(
                "insert into topic (name, game_id) values ($1, $2) on conflict do nothing",
                game.match_history_topic,
                game.game_id,
            )

    async def missing_topics(self, limit: int) -> list[str]:
        """Topics that the broker does not have yet."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch("select name from topic where create_time is null limit $1", limit)
        return [row["name"] for row in rows]

    async def topic_created(self, name: str, now: datetime) -> None:
        """Notes that the broker has a topic."""
        async with self._database.acquire() as connection:
            await connection.execute("update topic set create_time = $2 where name = $1", name, now)

    @staticmethod
    async def _write(connection: Connection, sql: str, game: Game, *values: object) -> None:
        try:
            await connection.execute(sql, *values)
        except asyncpg.UniqueViolationError:
            raise AlreadyExists(Reason.GAME_NAME_TAKEN, f"You have a game named “{game.name}” already.") from None
