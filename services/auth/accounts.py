"""Accounts and logins: what they are and what follows from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkg.auth.caller import Caller, CallerRole
from pkg.errors import FailedPrecondition, Reason, invalid_field
from services.auth.usernames import clean_display_name, clean_email, clean_username

MOST_DEVICES: Final = 10
_PATHS: Final = ("username", "email", "display_name", "avatar_url", "language")
_URL: Final = re.compile(r"https://[^\s/]+(/\S*)?")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Account:
    """An account without its secrets."""

    user_id: str
    username: str
    email: str
    role: CallerRole
    create_time: datetime
    display_name: str = ""
    avatar_url: str = ""
    language: str = ""
    has_password: bool = True
    devices: int = 0

    @property
    def nickname(self) -> str:
        """The name to show to others."""
        return self.display_name or self.username

    def require_another_way(self, *, without_password: bool = False, without_device: bool = False) -> None:
        """Raises FailedPrecondition(LAST_CREDENTIAL) when nobody could log in any more."""
        left = (self.has_password and not without_password) + self.devices - without_device
        if left < 1:
            raise FailedPrecondition(
                Reason.LAST_CREDENTIAL, "This is the account's last way to log in. Link another one first."
            )


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account with the hash of its password; None for an account that has none."""

    account: Account
    password_hash: str | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call came from, as Envoy saw it."""

    address: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody logged in: as a player of `game_id`, or on the console when that is empty."""

    login_id: str
    account: Account
    game_id: str

    def caller(self) -> Caller:
        """Whom the tokens of this login stand for. In a game everybody is a player, whatever the account is."""
        return Caller(
            user_id=self.account.user_id,
            username=self.account.username,
            role=CallerRole.PLAYER if self.game_id else self.account.role,
            game_id=self.game_id,
            login_id=self.login_id,
            display_name=self.account.display_name,
        )


@dataclass(frozen=True, slots=True)
class LoginRecord:
    """A login as its owner sees it in a list."""

    login_id: str
    game_id: str
    create_time: datetime
    refresh_time: datetime | None
    expire_time: datetime
    origin: Origin


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a game; it acts for the game's developer, in that game only."""

    api_key_id: str
    user_id: str
    game_id: str
    name: str
    prefix: str
    create_time: datetime
    expire_time: datetime | None = None
    use_time: datetime | None = None

    def caller(self) -> Caller:
        """Whom the tokens of this key stand for."""
        return Caller(
            user_id=self.user_id,
            username=self.name,
            role=CallerRole.DEVELOPER,
            game_id=self.game_id,
            login_id=self.api_key_id,
        )


def apply_update(account: Account, new: Account, paths: Sequence[str]) -> Account:
    """The account with the fields that the mask names taken from `new`.

    Raises InvalidArgument for an empty mask, a path that cannot be changed, or a value that cannot be.
    """
    if not paths:
        raise invalid_field("update_mask", f"must name at least one of {', '.join(_PATHS)}")
    changed = account
    for path in paths:
        match path:
            case "username":
                changed = replace(changed, username=clean_username(new.username, "account.username"))
            case "email":
                if not account.has_password:
                    raise invalid_field("account.email", "belongs to a password; link one first")
                changed = replace(changed, email=clean_email(new.email, "account.email"))
            case "display_name":
                changed = replace(changed, display_name=clean_display_name(new.display_name, "account.display_name"))
            case "avatar_url":
                url = new.avatar_url and _matching(new.avatar_url, _URL, "account.avatar_url", "an https:// address")
                changed = replace(changed, avatar_url=url)
            case "language":
                tag = new.language and _matching(new.language, _LANGUAGE, "account.language", "a BCP 47 tag")
                changed = replace(changed, language=tag)
            case _:
                raise invalid_field("update_mask", f"`{path}` is not one of {', '.join(_PATHS)}")
    return changed


def _matching(text: str, form: re.Pattern[str], field: str, what: str) -> str:
    if not form.fullmatch(text):
        raise invalid_field(field, f"is not {what}")
    return text
