"""Access tokens (ES256 JWTs of `auth`) and service tokens (HS256, between our processes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import jwt
from cachetools import LRUCache
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from pkg.auth.caller import Caller, CallerRole
from pkg.clock import Clock
from pkg.errors import Reason, Unauthenticated
from pkg.ids import NewId

ISSUER = "oofgg"
AUDIENCE = "oofgg"
ALGORITHM = "ES256"
_REQUIRED = ["iss", "aud", "sub", "role", "sid", "iat", "exp", "jti"]
# Clocks of our own processes may differ by this much when a token is new.
_LEEWAY_SECONDS = 5
# A verified token costs about 2 KiB here; a signature costs about 100 µs.
_REMEMBERED_TOKENS = 20_000

_SERVICE_AUDIENCE = "oofgg-service"
_SERVICE_ALGORITHM = "HS256"
_SERVICE_TOKEN_LIFE = timedelta(seconds=60)


class PublicKeys(Protocol):
    """Where the public halves of the signing keys come from."""

    async def get(self, key_id: str) -> EllipticCurvePublicKey | None:
        """The key with this `kid`, or None when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A token whose signature and claims hold."""

    caller: Caller
    expires_at: float  # Unix seconds


def sign_access_token(
    caller: Caller, *, key: EllipticCurvePrivateKey, key_id: str, clock: Clock, new_id: NewId, seconds: int
) -> str:
    """A new access token for the caller that expires in `seconds`."""
    now = int(clock.now().timestamp())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": caller.user_id,
        "name": caller.username,
        "role": caller.role.value,
        "game": caller.game_id,
        "sid": caller.login_id,
        "iat": now,
        "exp": now + seconds,
        "jti": new_id(),
    }
    if caller.display_name:
        claims["display"] = caller.display_name
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id})


class TokenVerifier:
    """Verifies access tokens; remembers those that passed, so that a signature is checked once per process."""

    def __init__(self, keys: PublicKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._passed: LRUCache[str, VerifiedToken] = LRUCache(_REMEMBERED_TOKENS)

    async def verify(self, token: str) -> VerifiedToken:
        """Raises Unauthenticated with TOKEN_INVALID or TOKEN_EXPIRED. Says nothing about revocation."""
        verified = self._passed.get(token)
        if verified is None:
            verified = self._passed[token] = await self._check(token)
        if verified.expires_at <= self._clock.now().timestamp():
            self._passed.pop(token, None)
            raise Unauthenticated(Reason.TOKEN_EXPIRED, "The access token has expired. Refresh it.")
        return verified

    async def _check(self, token: str) -> VerifiedToken:
        try:
            key = await self._keys.get(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                raise jwt.InvalidKeyError("unknown kid")
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=_LEEWAY_SECONDS,
                # Expiry is checked at every use, against the injected clock.
                options={"require": _REQUIRED, "verify_exp": False},
            )
            return VerifiedToken(_caller(claims), float(claims["exp"]))
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Unauthenticated(
                Reason.TOKEN_INVALID, "The access token is not one of this platform. Log in again."
            ) from error


def _caller(claims: Mapping[str, Any]) -> Caller:
    role = CallerRole(claims["role"])
    if role is CallerRole.SERVICE:
        raise ValueError("an access token cannot be a service's")
    return Caller(
        user_id=str(claims["sub"]),
        username=str(claims.get("name", "")),
        role=role,
        game_id=str(claims.get("game", "")),
        login_id=str(claims["sid"]),
        display_name=str(claims.get("display", "")),
    )


class ServiceTokens:
    """Tokens with which our processes call each other: signed with the shared secret, good for a minute."""

    def __init__(self, secret: str, service: str, clock: Clock) -> None:
        self._secret = secret
        self._service = service
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0

    def issue(self) -> str:
        """A token that is good for at least half a minute."""
        now = self._clock.now()
        if now.timestamp() >= self._renew_at:
            self._renew_at = (now + _SERVICE_TOKEN_LIFE / 2).timestamp()
            self._token = jwt.encode(
                {"iss": self._service, "aud": _SERVICE_AUDIENCE, "exp": now + _SERVICE_TOKEN_LIFE},
                self._secret,
                algorithm=_SERVICE_ALGORITHM,
            )
        return self._token

    def verify(self, token: str) -> Caller:
        """The service behind a token. Raises Unauthenticated(TOKEN_INVALID) for any other token."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_SERVICE_ALGORITHM],
                audience=_SERVICE_AUDIENCE,
                options={"require": ["iss", "aud", "exp"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(Reason.TOKEN_INVALID, "This RPC is for services only.") from error
        name = str(claims["iss"])
        return Caller(user_id="", username=name, role=CallerRole.SERVICE, game_id="", login_id="")
