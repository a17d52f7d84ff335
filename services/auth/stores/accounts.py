"""Accounts, the devices of guests, and the ids that were used."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg

from pkg.auth.caller import CallerRole
from pkg.db.database import Connection, Database
from pkg.db.lookups import Lookup
from pkg.errors import AlreadyExists, FailedPrecondition, Reason
from services.auth.accounts import MOST_DEVICES, Account, Credentials
from services.auth.usernames import fold

COLUMNS: Final = """
    a.user_id, a.username, a.email, a.role, a.create_time, a.display_name, a.avatar_url, a.language,
    a.password_hash is not null as has_password,
    (select count(*) from device d where d.user_id = a.user_id) as devices
"""
_INSERT: Final = """
    insert into account (user_id, username, username_key, email, email_key, password_hash, role, create_time)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_UPDATE: Final = """
    update account set username = $2, username_key = $3, email = $4, email_key = $5, display_name = $6,
        avatar_url = $7, language = $8 where user_id = $1
"""
_BY_NAME: Final = f"select {COLUMNS}, a.password_hash from account a where a.username_key = $1"  # noqa: S608
_BY_EMAIL: Final = f"select {COLUMNS}, a.password_hash from account a where a.email_key = $1"  # noqa: S608
# `(select $1)` keeps the planner from seeing the ids: it would plan anew for each list, for more than the list costs.
# Account by account (`offset 0` keeps it so): a plan from when there were few must not read all of them later.
_BY_IDS: Final = f"""
    select {COLUMNS}, a.password_hash from unnest((select $1::uuid[])) as i (user_id) cross join lateral (
        select found.* from account found where found.user_id = i.user_id offset 0
    ) a
"""  # noqa: S608
_LOCK: Final = f"select {COLUMNS}, a.password_hash from account a where a.user_id = $1 for update of a"  # noqa: S608
_BY_DEVICE: Final = f"""
    select {COLUMNS} from device found join account a using (user_id) where found.device_hash = $1
"""  # noqa: S608
_MAKE_DEVELOPER: Final = """
    update account set role = case role when 'player' then 'developer' else role end where user_id = $1
"""


def account_of(row: asyncpg.Record) -> Account:
    """The account in a row with `COLUMNS`."""
    return Account(
        user_id=str(row["user_id"]),
        username=row["username"],
        email=row["email"] or "",
        role=CallerRole(row["role"]),
        create_time=row["create_time"],
        display_name=row["display_name"],
        avatar_url=row["avatar_url"],
        language=row["language"],
        has_password=row["has_password"],
        devices=row["devices"],
    )


class AccountStore:
    """Accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_id = Lookup(self._fetch)

    async def insert(self, connection: Connection, account: Account, password_hash: str | None) -> None:
        """Raises AlreadyExists with USERNAME_TAKEN or EMAIL_TAKEN."""
        try:
            await connection.execute(
                _INSERT,
                account.user_id,
                account.username,
                fold(account.username),
                account.email or None,
                fold(account.email) if account.email else None,
                password_hash,
                account.role,
                account.create_time,
            )
        except asyncpg.UniqueViolationError as error:
            raise _taken(error, account) from None

    async def update(self, connection: Connection, account: Account) -> None:
        """Stores what an owner may change. Raises AlreadyExists with USERNAME_TAKEN or EMAIL_TAKEN."""
        try:
            await connection.execute(
                _UPDATE,
                account.user_id,
                account.username,
                fold(account.username),
                account.email or None,
                fold(account.email) if account.email else None,
                account.display_name,
                account.avatar_url,
                account.language,
            )
        except asyncpg.UniqueViolationError as error:
            raise _taken(error, account) from None

    async def by_login_name(self, name: str) -> Credentials | None:
        """The account with this username or email address, without regard to case."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(_BY_EMAIL if "@" in name else _BY_NAME, fold(name))
        return Credentials(account_of(row), row["password_hash"]) if row else None

    async def by_id(self, user_id: str) -> Credentials | None:
        """The account of this id."""
        return await self._by_id.get(user_id)

    async def lock(self, connection: Connection, user_id: str) -> Credentials | None:
        """The account of this id, which nobody else changes until the transaction ends."""
        row = await connection.fetchrow(_LOCK, user_id)
        return Credentials(account_of(row), row["password_hash"]) if row else None

    async def set_password(self, connection: Connection, user_id: str, password_hash: str | None) -> None:
        """Replaces the hash of the password; None takes the password away."""
        await connection.execute("update account set password_hash = $2 where user_id = $1", user_id, password_hash)

    async def renew_hash(self, user_id: str, old: str, new: str) -> bool:
        """Replaces a hash by one of the same password; False when another is stored meanwhile."""
        async with self._database.acquire() as connection:
            status = await connection.execute(
                "update account set password_hash = $3 where user_id = $1 and password_hash = $2", user_id, old, new
            )
        return not status.endswith(" 0")

    async def set_role(self, connection: Connection, user_id: str, role: CallerRole) -> None:
        """Gives an account a role."""
        await connection.execute("update account set role = $2 where user_id = $1", user_id, role)

    async def make_developer(self, connection: Connection, user_id: str) -> None:
        """Gives a player's account the role developer; leaves others as they are."""
        await connection.execute(_MAKE_DEVELOPER, user_id)

    async def delete(self, connection: Connection, user_id: str, now: datetime) -> None:
        """Deletes an account with all that hangs on it, and notes that its id was used."""
        await connection.execute("insert into deleted_account (user_id, delete_time) values ($1, $2)", user_id, now)
        await connection.execute("update game_population p set players = players - 1 from game_player g "
                                 "where g.game_id = p.game_id and g.user_id = $1", user_id)  # fmt: skip
        # Replies that are kept for repeats tell of the account, too; that of Register is kept under its username.
        await connection.execute("delete from reply r using account a where a.user_id = $1 "
                                 "and r.caller in (a.user_id::text, a.username_key)", user_id)  # fmt: skip
        await connection.execute("delete from account where user_id = $1", user_id)

    async def _fetch(self, user_ids: list[str]) -> dict[str, Credentials]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_BY_IDS, user_ids)
        return {str(row["user_id"]): Credentials(account_of(row), row["password_hash"]) for row in rows}


class DeviceStore:
    """Devices that log in as guests, known by the digest of their secret."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account(self, digest: bytes) -> Account | None:
        """The account that a device logs in to."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(_BY_DEVICE, digest)
        return account_of(row) if row else None

    async def link(self, connection: Connection, account: Account, digest: bytes, now: datetime) -> None:
        """Lets a device log in. Nothing happens when it can already.

        Raises AlreadyExists(DEVICE_TAKEN) when it logs in to another account, FailedPrecondition when there are too
        many.
        """
        owner = await connection.fetchval("select user_id from device where device_hash = $1", digest)
        if owner is None:
            if account.devices >= MOST_DEVICES:
                raise FailedPrecondition(
                    Reason.QUOTA_EXCEEDED, f"An account has at most {MOST_DEVICES} devices. Unlink one first."
                )
            owner = await connection.fetchval(
                "insert into device (device_hash, user_id, create_time, use_time) values ($1, $2, $3, $3) "
                "on conflict (device_hash) do nothing returning user_id",
                digest,
                account.user_id,
                now,
            )
        if owner is None or str(owner) != account.user_id:
            raise AlreadyExists(Reason.DEVICE_TAKEN, "This device logs in to another account. Unlink it there first.")

    async def unlink(self, connection: Connection, user_id: str, digest: bytes) -> bool:
        """Takes a device away; whether it was the account's."""
        status = await connection.execute("delete from device where device_hash = $1 and user_id = $2", digest, user_id)
        return not status.endswith(" 0")

    async def used(self, connection: Connection, digest: bytes, now: datetime) -> None:
        """Notes that a device logged in."""
        await connection.execute("update device set use_time = $2 where device_hash = $1", digest, now)

    async def times(self, user_id: str) -> list[tuple[datetime, datetime]]:
        """When each device of an account was linked and last used."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                "select create_time, use_time from device where user_id = $1 order by create_time", user_id
            )
        return [(row["create_time"], row["use_time"]) for row in rows]


def _taken(error: asyncpg.UniqueViolationError, account: Account) -> AlreadyExists:
    if error.constraint_name == "account_email_key_key":
        return AlreadyExists(Reason.EMAIL_TAKEN, "An account with this email address exists. Log in to it.")
    return AlreadyExists(Reason.USERNAME_TAKEN, f"The username {account.username} is taken.")
