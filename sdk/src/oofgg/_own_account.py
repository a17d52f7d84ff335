"""The account that is logged in: what its owner does with it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from oofgg import _convert
from oofgg._calls import Caller, new_request_id
from oofgg._channel import Stubs
from oofgg._follow import stream
from oofgg._resources import paged
from oofgg._types import Account, LoginInfo
from oofgg.v1 import account_pb2, auth_pb2

_PAGE = 100


class OwnAccount:
    """The caller's own account. Made by `Client`; see `client.me`.

    What cannot be undone asks for the password as well.
    """

    def __init__(self, stubs: Stubs, caller: Caller) -> None:
        self._stubs = stubs
        self._caller = caller

    async def update(
        self,
        *,
        username: str | None = None,
        email: str | None = None,
        display_name: str | None = None,
        avatar_url: str | None = None,
        language: str | None = None,
    ) -> Account:
        """Changes what is given and leaves the rest.

        Raises AlreadyExists(USERNAME_TAKEN or EMAIL_TAKEN), InvalidArgument.
        """
        given: dict[str, Any] = {
            "username": username,
            "email": email,
            "display_name": display_name,
            "avatar_url": avatar_url,
            "language": language,
        }
        changed = {field: value for field, value in given.items() if value is not None}
        request = account_pb2.UpdateAccountRequest(
            account=auth_pb2.Account(**changed),
            update_mask=FieldMask(paths=list(changed)),
            request_id=new_request_id(),
        )
        response = await self._caller.call(self._stubs.accounts.UpdateAccount, request)
        return _convert.account(response.account)

    async def change_password(self, old: str, new: str) -> None:
        """Changes the password and ends all other logins. Raises Unauthenticated(BAD_CREDENTIALS), InvalidArgument."""
        request = account_pb2.ChangePasswordRequest(old_password=old, new_password=new)
        await self._caller.call(self._stubs.accounts.ChangePassword, request)

    async def link_password(self, email: str, password: str, *, username: str = "") -> Account:
        """Gives a guest a password to log in with, and a name of their own. Raises FailedPrecondition(PASSWORD_SET)."""
        request = account_pb2.LinkPasswordRequest(username=username, email=email, password=password)
        response = await self._caller.call(self._stubs.accounts.LinkPassword, request)
        return _convert.account(response.account)

    async def unlink_password(self, password: str) -> Account:
        """Takes password and email address away. Raises FailedPrecondition(LAST_CREDENTIAL)."""
        request = account_pb2.UnlinkPasswordRequest(password=password)
        response = await self._caller.call(self._stubs.accounts.UnlinkPassword, request)
        return _convert.account(response.account)

    async def link_device(self, device_id: str) -> Account:
        """Lets a device log in by `login_guest`. Raises AlreadyExists(DEVICE_TAKEN)."""
        request = account_pb2.LinkDeviceRequest(device_id=device_id)
        response = await self._caller.call(self._stubs.accounts.LinkDevice, request)
        return _convert.account(response.account)

    async def unlink_device(self, device_id: str) -> Account:
        """Takes that away. Raises FailedPrecondition(LAST_CREDENTIAL)."""
        request = account_pb2.UnlinkDeviceRequest(device_id=device_id)
        response = await self._caller.call(self._stubs.accounts.UnlinkDevice, request)
        return _convert.account(response.account)

    async def export(self) -> dict[str, Any]:
        """All that the platform keeps about the account, of all services."""
        answers = stream(self._caller, self._stubs.accounts.ExportAccount, account_pb2.ExportAccountRequest())
        pieces = [response.chunk async for response in answers]
        document: dict[str, Any] = json.loads(b"".join(pieces))
        return document

    async def delete(self, username: str, *, password: str = "") -> None:
        """Deletes the account for good; `username` is there so that nobody does it by mistake.

        Raises FailedPrecondition(ACCOUNT_OWNS_GAMES), Unauthenticated(BAD_CREDENTIALS), InvalidArgument.
        """
        request = account_pb2.DeleteAccountRequest(username=username, password=password)
        await self._caller.call(self._stubs.accounts.DeleteAccount, request)

    def logins(self) -> AsyncIterator[LoginInfo]:
        """The account's logins that have not ended, newest first."""

        async def page(token: str) -> tuple[Iterable[LoginInfo], str]:
            request = auth_pb2.ListLoginsRequest(page_size=_PAGE, page_token=token)
            response = await self._caller.call(self._stubs.auth.ListLogins, request)
            return map(_convert.login_info, response.logins), response.next_page_token

        return paged(page)

    async def revoke_login(self, login: str | LoginInfo) -> None:
        """Ends a login: its tokens stop working everywhere, its streams end. Raises NotFound(LOGIN_NOT_FOUND)."""
        login_id = login if isinstance(login, str) else login.login_id
        await self._caller.call(self._stubs.auth.RevokeLogin, auth_pb2.RevokeLoginRequest(login_id=login_id))

    async def revoke_all_logins(self, *, keep_current: bool = True) -> int:
        """Ends all logins, or all others; how many there were."""
        request = auth_pb2.RevokeAllLoginsRequest(keep_current=keep_current)
        return (await self._caller.call(self._stubs.auth.RevokeAllLogins, request)).ended
