"""Who is calling, as the verified token says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pkg.errors import PermissionDenied, Reason


class CallerRole(StrEnum):
    """What a caller is. `SERVICE` is one of our own processes; nobody else can be it."""

    PLAYER = "player"
    DEVELOPER = "developer"
    ADMIN = "admin"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified caller. `game_id` is empty for a console login; `login_id` is what a revocation names.

    `display_name` is what the account wants to be called, as of its token; empty where it is the username.
    """

    user_id: str
    username: str
    role: CallerRole
    game_id: str
    login_id: str
    display_name: str = ""

    def require_game(self, game_id: str) -> None:
        """Raises PermissionDenied(WRONG_GAME) unless the token is for this game."""
        if self.game_id != game_id:
            raise PermissionDenied(
                Reason.WRONG_GAME,
                f"This token is not for game {game_id}. Log in with this game's id."
                if self.game_id
                else f"This is a console token. Log in with game id {game_id} to act in the game.",
                game_id=game_id,
            )

    @property
    def is_api_key(self) -> bool:
        """Whether the token was exchanged for an API key: it acts for a game, not for the person who owns it."""
        return self.role is CallerRole.DEVELOPER and bool(self.game_id)

    def require_person(self) -> None:
        """Raises PermissionDenied(ACCESS_DENIED) for an API key's token."""
        if self.is_api_key:
            raise PermissionDenied(
                Reason.ACCESS_DENIED, "This token is an API key's; it has no login and no account. Log in instead."
            )

    def require_console(self) -> None:
        """Raises PermissionDenied(WRONG_GAME) unless the token is of a console login."""
        if self.game_id:
            raise PermissionDenied(
                Reason.WRONG_GAME,
                "This token is for one game. Log in without a game id to act on the account.",
                game_id=self.game_id,
            )
