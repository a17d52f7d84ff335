"""The login of a client: tokens, renewed before they expire, by one call at a time."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from oofgg import _convert
from oofgg._calls import Caller, Metadata
from oofgg._channel import Stubs
from oofgg._types import Login, Role
from oofgg.errors import DeadlineExceeded, Unauthenticated, Unavailable
from oofgg.v1 import auth_pb2

logger = logging.getLogger("oofgg")

# A token is renewed when it has less than this left, or a fifth of its life if that is less.
_AHEAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Tokens:
    access: str
    refresh: str
    expires: float
    """By the event loop's clock."""
    renew_at: float


class LoginKeeper:
    """Holds the tokens of at most one login."""

    def __init__(self, stubs: Stubs, caller: Caller, api_key: str) -> None:
        self._stubs = stubs
        self._caller = caller
        self._api_key = api_key
        self._tokens: _Tokens | None = None
        self._renewal: asyncio.Task[None] | None = None
        self.login: Login | None = None
        caller.authorize = self.metadata
        caller.renew = self.renew

    @property
    def by_key(self) -> bool:
        """Whether an API key stands behind the tokens."""
        return bool(self._api_key)

    def accept(self, login: Login, access: str, refresh: str, expires_in: int) -> Login:
        """Takes the tokens of a new login."""
        self._keep(access, refresh, expires_in)
        self.login = login
        return login

    def replace_access(self, access: str, expires_in: int, role: Role) -> None:
        """Takes another access token of the same login."""
        if self._tokens is not None and self.login is not None:
            self._keep(access, self._tokens.refresh, expires_in)
            self.login = Login(self.login.user_id, role, self.login.game_id)

    def forget(self) -> None:
        """Nobody is logged in any more."""
        self._tokens = None
        self.login = None
        self._api_key = ""

    async def metadata(self) -> Metadata:
        """The header to send, with a token that is good for a while. Empty when nobody is logged in."""
        tokens = self._tokens
        if tokens is None and not self._api_key:
            return ()
        now = asyncio.get_running_loop().time()
        if tokens is None or now >= tokens.renew_at:
            try:
                await self.renew()
            except (Unavailable, DeadlineExceeded):
                if tokens is None or now >= tokens.expires:
                    raise
                logger.info("the access token could not be renewed yet")
        return self._header()

    async def renew(self, refused: Metadata | None = None) -> Metadata:
        """The header with a new token, after the platform refused the one in `refused`. Raises OofggError.

        One renewal is under way at a time, and it goes on when its caller is cancelled: a refresh token is good once.
        """
        if refused is not None and refused != self._header():
            return self._header()  # somebody else was quicker
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._renew(self._tokens))
            self._renewal.add_done_callback(_look_at)
        await asyncio.shield(self._renewal)
        return self._header()

    async def close(self) -> None:
        """Ends what is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    async def _renew(self, old: _Tokens | None) -> None:
        if self._api_key:
            await self._exchange(self._api_key)
        elif old is not None:
            await self._refresh(old)

    def _header(self) -> Metadata:
        return (("authorization", f"Bearer {self._tokens.access}"),) if self._tokens is not None else ()

    async def _refresh(self, old: _Tokens) -> None:
        request = auth_pb2.RefreshTokenRequest(refresh_token=old.refresh)
        try:
            response = await self._caller.call(self._stubs.auth.RefreshToken, request, authorized=False)
        except Unauthenticated:
            # The login is over; what is left of the access token does not outlive it.
            if self._tokens is old:
                self._tokens = None
            raise
        if self._tokens is old:  # not logged out meanwhile
            self._keep(response.access_token, response.refresh_token, response.expires_in)
            logger.debug("the access token was renewed")

    async def _exchange(self, api_key: str) -> None:
        request = auth_pb2.ExchangeApiKeyRequest(api_key=api_key)
        response = await self._caller.call(self._stubs.auth.ExchangeApiKey, request, authorized=False)
        login = Login("", _convert.role(auth_pb2.ROLE_DEVELOPER), response.game_id)
        self.accept(login, response.access_token, "", response.expires_in)

    def _keep(self, access: str, refresh: str, expires_in: int) -> None:
        now = asyncio.get_running_loop().time()
        ahead = min(_AHEAD_SECONDS, expires_in / 5)
        self._tokens = _Tokens(access, refresh, now + expires_in, now + expires_in - ahead)


def _look_at(renewal: asyncio.Task[None]) -> None:
    """Whoever waited has the error; if nobody waits any more, nobody needs it."""
    if not renewal.cancelled():
        renewal.exception()
