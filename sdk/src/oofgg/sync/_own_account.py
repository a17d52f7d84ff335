"""The account that is logged in, blocking: as in `oofgg._own_account`, which has the rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oofgg import _own_account
from oofgg._types import Account, LoginInfo
from oofgg.sync._loop import Portal


class OwnAccount:
    """The caller's own account. Made by `Client`; see `client.me`.

    What cannot be undone asks for the password as well.
    """

    def __init__(self, portal: Portal, account: _own_account.OwnAccount) -> None:
        self._portal = portal
        self._account = account

    def update(
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
        return self._portal.call(
            self._account.update(
                username=username, email=email, display_name=display_name, avatar_url=avatar_url, language=language
            )
        )

    def change_password(self, old: str, new: str) -> None:
        """Changes the password and ends all other logins. Raises Unauthenticated(BAD_CREDENTIALS), InvalidArgument."""
        self._portal.call(self._account.change_password(old, new))

    def link_password(self, email: str, password: str, *, username: str = "") -> Account:
        """Gives a guest a password to log in with, and a name of their own. Raises FailedPrecondition(PASSWORD_SET)."""
        return self._portal.call(self._account.link_password(email, password, username=username))

    def unlink_password(self, password: str) -> Account:
        """Takes password and email address away. Raises FailedPrecondition(LAST_CREDENTIAL)."""
        return self._portal.call(self._account.unlink_password(password))

    def link_device(self, device_id: str) -> Account:
        """Lets a device log in by `login_guest`. Raises AlreadyExists(DEVICE_TAKEN)."""
        return self._portal.call(self._account.link_device(device_id))

    def unlink_device(self, device_id: str) -> Account:
        """Takes that away. Raises FailedPrecondition(LAST_CREDENTIAL)."""
        return self._portal.call(self._account.unlink_device(device_id))

    def export(self) -> dict[str, Any]:
        """All that the platform keeps about the account, of all services."""
        return self._portal.call(self._account.export())

    def delete(self, username: str, *, password: str = "") -> None:
        """Deletes the account for good; `username` is there so that nobody does it by mistake.

        Raises FailedPrecondition(ACCOUNT_OWNS_GAMES), Unauthenticated(BAD_CREDENTIALS), InvalidArgument.
        """
        self._portal.call(self._account.delete(username, password=password))

    def logins(self) -> Iterator[LoginInfo]:
        """The account's logins that have not ended, newest first."""
        return self._portal.iterate(self._account.logins())

    def revoke_login(self, login: str | LoginInfo) -> None:
        """Ends a login: its tokens stop working everywhere, its streams end. Raises NotFound(LOGIN_NOT_FOUND)."""
        self._portal.call(self._account.revoke_login(login))

    def revoke_all_logins(self, *, keep_current: bool = True) -> int:
        """Ends all logins, or all others; how many there were."""
        return self._portal.call(self._account.revoke_all_logins(keep_current=keep_current))
