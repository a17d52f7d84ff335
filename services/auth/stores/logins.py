"""Logins, their refresh tokens, and what was ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pkg.db.database import Connection, Database
from pkg.errors import Reason
from services.auth.accounts import Login, LoginRecord, Origin
from services.auth.stores.accounts import COLUMNS, account_of

_INSERT: Final = """
    insert into login (login_id, user_id, game_id, create_time, expire_time, address, client)
    values ($1, $2, $3, $4, $5, $6, $7)
"""
_ISSUE: Final = "insert into refresh_token (token_hash, login_id, create_time) values ($1, $2, $3)"
# The login is locked first: whoever refreshes a login waits for whoever does at the same time.
_LOCK_FAMILY: Final = f"""
    select l.login_id, l.game_id, l.expire_time, l.end_time, {COLUMNS} from login l join account a using (user_id)
    where l.login_id = (select login_id from refresh_token where token_hash = $1) for update of l
"""  # noqa: S608
_STATE: Final = "select use_time, void from refresh_token where token_hash = $1"
_USE: Final = "update refresh_token set use_time = $2 where token_hash = $1"
# Its successor was used, so the reply that brought it was not lost.
_VOID_USED: Final = "update refresh_token set void = true where login_id = $1 and use_time is not null and not void"
_VOID_UNUSED: Final = "update refresh_token set void = true where login_id = $1 and use_time is null and not void"
_REFRESHED: Final = "update login set expire_time = $2, refresh_time = $3 where login_id = $1"
_END: Final = """
    with ended as (
        update login set end_time = $2, end_reason = $3
        where login_id = any($1::uuid[]) and end_time is null returning login_id
    )
    insert into revocation (login_id, end_time, reason) select login_id, $2, $3 from ended
    on conflict do nothing returning login_id
"""
_REVOKE: Final = """
    insert into revocation (login_id, end_time, reason) values ($1, $2, $3) on conflict do nothing
"""
_OPEN: Final = """
    select login_id from login where user_id = $1 and end_time is null and expire_time > $2
"""
_LIST: Final = """
    select login_id, game_id, create_time, refresh_time, expire_time, address, client from login
    where user_id = $1 and end_time is null and expire_time > $2
      and ($3::timestamptz is null or (create_time, login_id) < ($3, $4::uuid))
    order by create_time desc, login_id desc limit $5
"""


class Refusal(StrEnum):
    """Why a refresh token is not taken."""

    UNKNOWN = "unknown"
    """Unknown, expired, or of a login that has ended."""
    REUSED = "reused"
    """Used before: its login was ended."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """An ended login or API key, for every process to know; `reason` is what its callers are told."""

    login_id: str
    reason: str


class LoginStore:
    """Logins."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self, connection: Connection, login: Login, token: bytes, origin: Origin, now: datetime, until: datetime
    ) -> None:
        """A new login with its first refresh token, given as digest."""
        await connection.execute(
            _INSERT,
            login.login_id,
            login.account.user_id,
            login.game_id,
            now,
            until,
            origin.address,
            origin.client,
        )
        await connection.execute(_ISSUE, token, login.login_id, now)

    async def rotate(
        self, connection: Connection, old: bytes, new: bytes, now: datetime, until: datetime, grace: timedelta
    ) -> Login | Refusal | tuple[Refusal, Login]:
        """Uses up a refresh token and stores its successor, both given as digests.

        A token that was used before ends its login: somebody else has a copy. Except that within `grace` of its use,
        while its successor has not been used, it may be used again, for a client that lost the reply: then the
        successor is void, and whoever has it ends the login by using it. REUSED comes with the login that was ended.
        """
        row = await connection.fetchrow(_LOCK_FAMILY, old)
        if row is None or row["end_time"] is not None or row["expire_time"] <= now:
            return Refusal.UNKNOWN
        login = Login(str(row["login_id"]), account_of(row), row["game_id"])
        token = await connection.fetchrow(_STATE, old)
        if token is None:
            return Refusal.UNKNOWN
        if token["use_time"] is not None or token["void"]:
            lost = not token["void"] and now - token["use_time"] <= grace
            voided = lost and await connection.execute(_VOID_UNUSED, login.login_id) != "UPDATE 0"
            if not voided:
                await self.end(connection, [login.login_id], Reason.TOKEN_REVOKED, now)
                return Refusal.REUSED, login
        else:
            await connection.execute(_VOID_USED, login.login_id)
            await connection.execute(_USE, old, now)
        await connection.execute(_REFRESHED, login.login_id, until, now)
        await connection.execute(_ISSUE, new, login.login_id, now)
        return login

    async def end(self, connection: Connection, login_ids: list[str], reason: Reason, now: datetime) -> list[str]:
        """Ends logins and notes them for publishing; returns those that had not ended before."""
        rows = await connection.fetch(_END, login_ids, now, reason.value)
        return [str(row["login_id"]) for row in rows]

    async def revoke_key(self, connection: Connection, api_key_id: str, now: datetime) -> None:
        """Ends the tokens that an API key was exchanged for."""
        await connection.execute(_REVOKE, api_key_id, now, Reason.TOKEN_REVOKED.value)

    async def open_ids(
        self, connection: Connection, user_id: str, now: datetime, *, game_id: str | None = None
    ) -> list[str]:
        """Logins of an account that have not ended; of one game, or of the console for an empty id."""
        query = _OPEN + ("" if game_id is None else " and game_id = $3")
        arguments = (user_id, now) if game_id is None else (user_id, now, game_id)
        return [str(row["login_id"]) for row in await connection.fetch(query, *arguments)]

    async def page(
        self, user_id: str, now: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> list[LoginRecord]:
        """Logins of an account that have not ended, newest first."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_LIST, user_id, now, *(after or (None, None)), limit)
        return [
            LoginRecord(
                str(row["login_id"]),
                row["game_id"],
                row["create_time"],
                row["refresh_time"],
                row["expire_time"],
                Origin(row["address"], row["client"]),
            )
            for row in rows
        ]

    async def unpublished(self, limit: int) -> list[Revocation]:
        """What was ended and Redis has not heard of."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch("select login_id, reason from revocation where not published limit $1", limit)
        return [Revocation(str(row["login_id"]), row["reason"]) for row in rows]

    async def mark_published(self, login_ids: list[str]) -> None:
        """Notes that Redis has heard of these."""
        async with self._database.acquire() as connection:
            await connection.execute("update revocation set published = true where login_id = any($1)", login_ids)

    async def mark_unpublished_since(self, since: datetime) -> None:
        """Has everything ended since then published again, for a Redis that may have lost it."""
        async with self._database.acquire() as connection:
            await connection.execute("update revocation set published = false where end_time >= $1", since)

    async def forget(self, before: datetime) -> None:
        """Drops revocations whose last access token has expired, and logins that expired or ended before then."""
        async with self._database.acquire() as connection:
            await connection.execute("delete from revocation where published and end_time < $1", before)
            await connection.execute("delete from login where least(end_time, expire_time) < $1", before)
