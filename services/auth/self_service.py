"""What people do with their own account, and an admin with others'."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from oofgg.events.v1 import identity_pb2
from pkg.auth.caller import Caller, CallerRole
from pkg.db.database import Connection
from pkg.errors import FailedPrecondition, NotFound, Reason, invalid_field
from pkg.events.outbox import Event, append
from pkg.events.topics import ACCOUNTS
from pkg.internal.v1 import catalog_pb2, user_data_pb2
from pkg.rpc.call import Call
from pkg.rpc.channel import ServiceChannel
from services.auth.accounts import Account, Credentials, Origin, apply_update
from services.auth.audit import Kind
from services.auth.commonest import require_uncommon
from services.auth.identity import Identity, account_not_found
from services.auth.secrets import digest_of
from services.auth.usernames import clean_email, clean_username, fold

_EXPORT: Final = user_data_pb2.DESCRIPTOR.services_by_name["UserDataService"].methods_by_name["ExportUser"]
_COUNT_GAMES: Final = catalog_pb2.DESCRIPTOR.services_by_name["GameDirectoryService"].methods_by_name["CountGames"]
_DELETED: Final = identity_pb2.AccountDeleted.DESCRIPTOR.full_name
_WITHIN_SECONDS: Final = 5.0
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class SelfService:
    """The rules of accounts over their stores."""

    identity: Identity
    catalog: ServiceChannel
    holders: Sequence[tuple[str, str, ServiceChannel]]
    """Services that keep something about accounts: the name an export shows it under, the service, its channel."""

    async def account(self, caller: Caller) -> Account:
        """The caller's account.

        Raises NotFound(ACCOUNT_NOT_FOUND) when it was deleted meanwhile, PermissionDenied(ACCESS_DENIED) for an API
        key's token: whoever runs a game's server need not know the developer's address.
        """
        return (await self._credentials(caller)).account

    async def update(
        self, connection: Connection, caller: Caller, new: Account, paths: Sequence[str], origin: Origin
    ) -> Account:
        """Changes what the mask names. Raises InvalidArgument, AlreadyExists."""
        account = (await self._lock(connection, caller)).account
        changed = apply_update(account, new, paths)
        await self.identity.stores.accounts.update(connection, changed)
        await self._note_name(connection, account, changed)
        await self._note(connection, Kind.ACCOUNT_CHANGED, account, origin, ", ".join(paths))
        return changed

    async def change_password(self, caller: Caller, old: str, new: str, origin: Origin) -> None:
        """Changes the password and ends all other logins. Raises Unauthenticated(BAD_CREDENTIALS), InvalidArgument."""
        credentials = await self._credentials(caller)
        self._require_password(credentials)
        require_uncommon(new, credentials.account.username, "new_password")
        await self.identity.verify_owner(credentials, old, origin)
        new_hash = await self.identity.passwords.hash(new)
        stores, now = self.identity.stores, self.identity.clock.now()
        async with stores.database.transaction() as connection:
            if (await self._lock(connection, caller)).password_hash != credentials.password_hash:
                raise FailedPrecondition(Reason.CONFLICT, "The password was changed by somebody else meanwhile.")
            await stores.accounts.set_password(connection, caller.user_id, new_hash)
            others = await stores.logins.open_ids(connection, caller.user_id, now)
            await stores.logins.end(
                connection, [login for login in others if login != caller.login_id], Reason.TOKEN_REVOKED, now
            )
            await self._note(connection, Kind.PASSWORD_CHANGED, credentials.account, origin)
        self.identity.ended.hint()

    async def link_password(self, caller: Caller, username: str, email: str, password: str, origin: Origin) -> Account:
        """Makes a guest's account a full one. Raises FailedPrecondition(PASSWORD_SET), AlreadyExists, InvalidArgument.

        Its logins go on.
        """
        account = (await self._credentials(caller)).account
        if account.has_password:
            raise FailedPrecondition(Reason.PASSWORD_SET, "This account has a password already. Change it instead.")
        name, email = clean_username(username) if username else account.username, clean_email(email)
        require_uncommon(password, name, "password")
        password_hash = await self.identity.passwords.hash(password)
        stores = self.identity.stores
        async with stores.database.transaction() as connection:
            account = (await self._lock(connection, caller)).account
            if account.has_password:
                raise FailedPrecondition(Reason.PASSWORD_SET, "This account has a password already. Change it instead.")
            changed = replace(account, username=name, email=email, has_password=True)
            await stores.accounts.update(connection, changed)
            await self._note_name(connection, account, changed)
            await stores.accounts.set_password(connection, account.user_id, password_hash)
            await self._note(connection, Kind.CREDENTIAL_LINKED, account, origin, "password")
        self.identity.ended.hint()
        return changed

    async def unlink_password(self, caller: Caller, password: str, origin: Origin) -> Account:
        """Takes password and email address away. Raises FailedPrecondition(PASSWORD_MISSING or LAST_CREDENTIAL)."""
        credentials = await self._credentials(caller)
        self._require_password(credentials)
        credentials.account.require_another_way(without_password=True)
        await self.identity.verify_owner(credentials, password, origin)
        stores = self.identity.stores
        async with stores.database.transaction() as connection:
            account = (await self._lock(connection, caller)).account
            account.require_another_way(without_password=True)
            changed = replace(account, username=account.username, email="", has_password=False)
            await stores.accounts.update(connection, changed)
            await stores.accounts.set_password(connection, account.user_id, None)
            await self._note(connection, Kind.CREDENTIAL_UNLINKED, account, origin, "password")
        return changed

    async def link_device(self, caller: Caller, device_id: str, origin: Origin) -> Account:
        """Lets a device log in. Raises AlreadyExists(DEVICE_TAKEN), FailedPrecondition."""
        caller.require_person()
        stores = self.identity.stores
        async with stores.database.transaction() as connection:
            account = (await self._lock(connection, caller)).account
            await stores.devices.link(connection, account, digest_of(device_id), self.identity.clock.now())
            await self._note(connection, Kind.CREDENTIAL_LINKED, account, origin, "device")
            return (await self._lock(connection, caller)).account

    async def unlink_device(self, caller: Caller, device_id: str, origin: Origin) -> Account:
        """Takes a device away. Raises NotFound, FailedPrecondition(LAST_CREDENTIAL)."""
        caller.require_person()
        stores = self.identity.stores
        async with stores.database.transaction() as connection:
            account = (await self._lock(connection, caller)).account
            if not await stores.devices.unlink(connection, account.user_id, digest_of(device_id)):
                raise NotFound(Reason.ACCOUNT_NOT_FOUND, "This device does not log in to your account.")
            account.require_another_way(without_device=True)
            await self._note(connection, Kind.CREDENTIAL_UNLINKED, account, origin, "device")
            return (await self._lock(connection, caller)).account

    async def export(self, caller: Caller, call: Call, origin: Origin) -> AsyncIterator[str]:
        """All that is kept about the caller, as one JSON object in pieces of any size."""
        credentials = await self._credentials(caller)
        account, stores = credentials.account, self.identity.stores
        own: dict[str, Any] = {
            "user_id": account.user_id,
            "username": account.username,
            "email": account.email,
            "role": account.role.value,
            "create_time": _text(account.create_time),
            "display_name": account.display_name,
            "avatar_url": account.avatar_url,
            "language": account.language,
            "has_password": account.has_password,
            "devices": [
                {"link_time": _text(linked), "use_time": _text(used)}
                for linked, used in await stores.devices.times(account.user_id)
            ],
        }
        yield '{"account": ' + json.dumps(own)
        yield ', "logins": ['
        after: tuple[datetime, str] | None = None
        first = True
        while logins := await stores.logins.page(account.user_id, self.identity.clock.now(), after, _PAGE):
            for login in logins:
                told = {
                    "login_id": login.login_id,
                    "game_id": login.game_id,
                    "create_time": _text(login.create_time),
                    "address": login.origin.address,
                    "client": login.origin.client,
                }
                yield ("" if first else ", ") + json.dumps(told)
                first = False
            after = (logins[-1].create_time, logins[-1].login_id)
        yield "]"
        for name, service, channel in self.holders:
            yield f', "{name}": ['
            async for piece in self._held(service, channel, account.user_id, call):
                yield piece
            yield "]"
        yield "}"
        await self.identity.audit.alone(Kind.ACCOUNT_EXPORTED, user_id=account.user_id, origin=origin)

    async def delete(self, caller: Caller, username: str, password: str, call: Call, origin: Origin) -> None:
        """Deletes the caller's account. Raises InvalidArgument, Unauthenticated, FailedPrecondition."""
        credentials = await self._credentials(caller)
        account = credentials.account
        if fold(username) != fold(account.username):
            raise invalid_field("username", "is not the name of this account")
        if account.has_password:
            await self.identity.verify_owner(credentials, password, origin)
        if account.role is not CallerRole.PLAYER:
            owned = await self.catalog.call(
                _COUNT_GAMES,
                catalog_pb2.CountGamesRequest(owner_user_id=account.user_id),
                catalog_pb2.CountGamesResponse,
                within=_WITHIN_SECONDS,
                on_behalf_of=call,
            )
            if owned.games:
                raise FailedPrecondition(
                    Reason.ACCOUNT_OWNS_GAMES, f"This account owns {owned.games} games. Delete them first."
                )
        stores, now = self.identity.stores, self.identity.clock.now()
        async with stores.database.transaction() as connection:
            await self._lock(connection, caller)
            logins = await stores.logins.open_ids(connection, account.user_id, now)
            await stores.logins.end(connection, logins, Reason.TOKEN_REVOKED, now)
            for api_key_id in await stores.api_keys.end_all(connection, account.user_id, now):
                await stores.logins.revoke_key(connection, api_key_id, now)
            await stores.accounts.delete(connection, account.user_id, now)
            await self._note(connection, Kind.ACCOUNT_DELETED, account, origin)
            event = identity_pb2.AccountDeleted(user_id=account.user_id)
            event.delete_time.FromDatetime(now)
            await append(
                connection,
                Event(self.identity.new_id(), _DELETED, account.user_id, event.SerializeToString(), now),
                [ACCOUNTS],
            )
        self.identity.ended.hint()

    async def set_role(self, name: str, role: CallerRole, actor: str, origin: Origin) -> Account:
        """Gives an account a role and ends its console logins, and the API keys of one that is a player's from now on.

        Raises NotFound(ACCOUNT_NOT_FOUND).
        """
        stores, now = self.identity.stores, self.identity.clock.now()
        found = await stores.accounts.by_login_name(name)
        if found is None:
            raise NotFound(Reason.ACCOUNT_NOT_FOUND, "There is no account of this name.")
        account = found.account
        async with stores.database.transaction() as connection:
            await stores.accounts.set_role(connection, account.user_id, role)
            console = await stores.logins.open_ids(connection, account.user_id, now, game_id="")
            await stores.logins.end(connection, console, Reason.TOKEN_REVOKED, now)
            if role is CallerRole.PLAYER:  # keys act as a developer's
                for api_key_id in await stores.api_keys.end_all(connection, account.user_id, now):
                    await stores.logins.revoke_key(connection, api_key_id, now)
            await self.identity.audit.note(
                connection, Kind.ROLE_CHANGED, user_id=account.user_id, actor=actor, origin=origin, detail=role
            )
            changed = await stores.accounts.lock(connection, account.user_id)
        self.identity.ended.hint()
        if changed is None:
            raise account_not_found()
        return changed.account

    async def _held(self, service: str, channel: ServiceChannel, user_id: str, call: Call) -> AsyncIterator[str]:
        token, first = "", True
        while True:
            page = await channel.call(
                _EXPORT,
                user_data_pb2.ExportUserRequest(service=service, user_id=user_id, page_token=token),
                user_data_pb2.ExportUserResponse,
                within=_WITHIN_SECONDS,
                on_behalf_of=call,
            )
            for document in page.documents:
                yield ("" if first else ", ") + document
                first = False
            token = page.next_page_token
            if not token:
                return

    async def _credentials(self, caller: Caller) -> Credentials:
        caller.require_person()
        found = await self.identity.stores.accounts.by_id(caller.user_id)
        if found is None:
            raise account_not_found()
        return found

    async def _lock(self, connection: Connection, caller: Caller) -> Credentials:
        caller.require_person()
        found = await self.identity.stores.accounts.lock(connection, caller.user_id)
        if found is None:
            raise account_not_found()
        return found

    @staticmethod
    def _require_password(credentials: Credentials) -> None:
        if credentials.password_hash is None:
            raise FailedPrecondition(Reason.PASSWORD_MISSING, "This account has no password. Link one instead.")

    async def _note_name(self, connection: Connection, before: Account, after: Account) -> None:
        """Has every process call the account by its new name, though its tokens have the old one."""
        if before.username != after.username:
            now = self.identity.clock.now()
            await self.identity.stores.renames.note(connection, after.user_id, after.username, now)

    async def _note(
        self, connection: Connection, kind: Kind, account: Account, origin: Origin, detail: str = ""
    ) -> None:
        await self.identity.audit.note(connection, kind, user_id=account.user_id, origin=origin, detail=detail)


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
