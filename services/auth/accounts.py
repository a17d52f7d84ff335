"""Accounts and logins: what they are and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pkg.auth.caller import Caller, CallerRole


@dataclass(frozen=True, slots=True)
class Account:
    """An account without its secret."""

    user_id: str
    username: str
    email: str
    role: CallerRole
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account with the hash of its password."""

    account: Account
    password_hash: str


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
        )


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a game; it acts for the game's developer, in that game only."""

    api_key_id: str
    user_id: str
    game_id: str
    name: str

    def caller(self) -> Caller:
        """Whom the tokens of this key stand for."""
        return Caller(
            user_id=self.user_id,
            username=self.name,
            role=CallerRole.DEVELOPER,
            game_id=self.game_id,
            login_id=self.api_key_id,
        )


def fold(name: str) -> str:
    """What two usernames or email addresses have in common when they are the same but for case."""
    return name.casefold()
