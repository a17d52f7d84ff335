"""Issues the tokens of a login."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pkg.auth.caller import Caller
from pkg.auth.tokens import sign_access_token
from pkg.clock import Clock
from pkg.ids import NewId
from services.auth.keys import KeyRing


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token and its life in seconds."""

    text: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Signs with the current key."""

    keys: KeyRing
    clock: Clock
    new_id: NewId
    access_seconds: int
    refresh_life: timedelta

    def access(self, caller: Caller, *, seconds: int | None = None) -> AccessToken:
        """A new access token for the caller, good for `seconds` where that is told."""
        key = self.keys.current
        life = self.access_seconds if seconds is None else seconds
        text = sign_access_token(
            caller,
            key=key.private,
            key_id=key.key_id,
            clock=self.clock,
            new_id=self.new_id,
            seconds=life,
        )
        return AccessToken(text, life)
