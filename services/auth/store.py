"""The tables of `auth`, one class per aggregate. Methods that take a connection run in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import asyncpg

from pkg.auth.caller import CallerRole
from pkg.auth.sealing import Sealer
from pkg.db.database import Connection, Database
from pkg.db.lookups import Lookup
from pkg.errors import AlreadyExists, Reason
from services.auth.accounts import Account, ApiKey, Credentials, Login, fold
from services.auth.keys import SigningKey, new_signing_key, signing_key_from_der

_ACCOUNT = "a.user_id, a.username, a.email, a.role, a.create_time"


def _account(row: asyncpg.Record) -> Account:
    return Account(str(row["user_id"]), row["username"], row["email"], CallerRole(row["role"]), row["create_time"])


class AccountStore:
    """Accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_id = Lookup(self._fetch)

    async def insert(self, connection: Connection, account: Account, password_hash: str) -> None:
        """Raises AlreadyExists with USERNAME_TAKEN or EMAIL_TAKEN."""
        try:
            await connection.execute(
                """
                insert into account
                    (user_id, username, username_key, email, email_key, password_hash, role, create_time)
                values ($1, $2, $3, $4, $5, $6, $7, $8)
                """,
                account.user_id,
                account.username,
                fold(account.username),
                account.email,
                fold(account.email),
                password_hash,
                account.role,
                account.create_time,
            )
        except asyncpg.UniqueViolationError as error:
            if error.constraint_name == "account_email_key_key":
                raise AlreadyExists(
                    Reason.EMAIL_TAKEN, "An account with this email address exists. Log in to it."
                ) from None
            raise AlreadyExists(Reason.USERNAME_TAKEN, f"The username {account.username} is taken.") from None

    async def by_username(self, username: str) -> Credentials | None:
        """The account of this name, without regard to case."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(
                f"select {_ACCOUNT}, a.password_hash from account a where a.username_key = $1",  # noqa: S608
                fold(username),
            )
        return Credentials(_account(row), row["password_hash"]) if row else None

    async def by_id(self, user_id: str) -> Account | None:
        """The account of this id."""
        return await self._by_id.get(user_id)

    async def make_developer(self, user_id: str) -> Account | None:
        """Gives a player's account the role developer; leaves others as they are."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(
                f"""
                update account a set role = case a.role when 'player' then 'developer' else a.role end
                where a.user_id = $1 returning {_ACCOUNT}
                """,  # noqa: S608
                user_id,
            )
        return _account(row) if row else None

    async def _fetch(self, user_ids: list[str]) -> dict[str, Account]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select {_ACCOUNT} from account a where a.user_id = any($1)",  # noqa: S608
                user_ids,
            )
        return {account.user_id: account for account in map(_account, rows)}


class LoginStore:
    """Logins, their refresh tokens, and what was ended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, connection: Connection, login: Login, token: bytes, now: datetime, until: datetime) -> None:
        """A new login with its first refresh token, given as digest."""
        await connection.execute(
            "insert into login (login_id, user_id, game_id, create_time, expire_time) values ($1, $2, $3, $4, $5)",
            login.login_id,
            login.account.user_id,
            login.game_id,
            now,
            until,
        )
        await self._insert_token(connection, login.login_id, token, now)

    async def rotate(self, old: bytes, new: bytes, now: datetime, until: datetime) -> Login | None:
        """Uses up a refresh token and stores its successor, both given as digests.

        None when the token is unknown, expired or of an ended login. A token that was used before ends its login:
        somebody else has a copy.
        """
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(
                f"""
                select t.use_time, l.login_id, l.game_id, l.expire_time, l.end_time, {_ACCOUNT}
                from refresh_token t join login l using (login_id) join account a using (user_id)
                where t.token_hash = $1 for update of t, l
                """,  # noqa: S608
                old,
            )
            if row is None or row["end_time"] is not None or row["expire_time"] <= now:
                return None
            login = Login(str(row["login_id"]), _account(row), row["game_id"])
            if row["use_time"] is not None:
                await self.end(connection, login.login_id, "refresh token reused", now)
                return None
            await connection.execute("update refresh_token set use_time = $2 where token_hash = $1", old, now)
            await connection.execute("update login set expire_time = $2 where login_id = $1", login.login_id, until)
            await self._insert_token(connection, login.login_id, new, now)
            return login

    async def end_login(self, login_id: str, reason: str, now: datetime) -> None:
        """Ends a login; nothing happens when it has ended."""
        async with self._database.transaction() as connection:
            await self.end(connection, login_id, reason, now)

    async def end(self, connection: Connection, login_id: str, reason: str, now: datetime) -> None:
        """Ends a login or an API key's tokens and notes it for publishing."""
        await connection.execute(
            "update login set end_time = $2, end_reason = $3 where login_id = $1 and end_time is null",
            login_id,
            now,
            reason,
        )
        await connection.execute(
            "insert into revocation (login_id, end_time) values ($1, $2) on conflict do nothing", login_id, now
        )

    async def unpublished(self, limit: int) -> list[str]:
        """Ended logins that Redis has not heard of."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch("select login_id from revocation where not published limit $1", limit)
        return [str(row["login_id"]) for row in rows]

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

    @staticmethod
    async def _insert_token(connection: Connection, login_id: str, token: bytes, now: datetime) -> None:
        await connection.execute(
            "insert into refresh_token (token_hash, login_id, create_time) values ($1, $2, $3)", token, login_id, now
        )


class ApiKeyStore:
    """API keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, connection: Connection, key: ApiKey, digest: bytes, now: datetime) -> None:
        """A new key, its secret given as digest."""
        await connection.execute(
            """
            insert into api_key (api_key_id, key_hash, user_id, game_id, name, create_time)
            values ($1, $2, $3, $4, $5, $6)
            """,
            key.api_key_id,
            digest,
            key.user_id,
            key.game_id,
            key.name,
            now,
        )

    async def by_digest(self, digest: bytes) -> ApiKey | None:
        """The key with this secret, unless it was ended."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(
                "select api_key_id, user_id, game_id, name from api_key where key_hash = $1 and end_time is null",
                digest,
            )
        return ApiKey(str(row["api_key_id"]), str(row["user_id"]), row["game_id"], row["name"]) if row else None


class SigningKeyStore:
    """Signing keys, sealed."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def load_or_create(self, key_id: str, now: datetime) -> list[SigningKey]:
        """All keys, oldest first; makes the first one, under `key_id`, when there is none.

        Raises UnsealError when they were sealed with another master key.
        """
        async with self._database.transaction() as connection:
            await connection.execute("lock table signing_key in share row exclusive mode")
            rows: list[Any] = await connection.fetch(
                "select key_id, sealed_key from signing_key order by create_time, key_id"
            )
            if rows:
                return [signing_key_from_der(row["key_id"], self._sealer.unseal(row["sealed_key"])) for row in rows]
            key = new_signing_key(key_id)
            await connection.execute(
                "insert into signing_key (key_id, sealed_key, create_time) values ($1, $2, $3)",
                key_id,
                self._sealer.seal(key.to_der()),
                now,
            )
            return [key]
