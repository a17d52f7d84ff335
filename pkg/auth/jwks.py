"""The public keys of access tokens, read from the JWKS endpoint of `auth`."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from pkg.clock import Clock
from pkg.errors import backend_unavailable
from pkg.telemetry.logs import get_logger

_log = get_logger(__name__)

# A key is published before it signs, so this may be as slow as Envoy's own cache.
_REFRESH_SECONDS = 60.0
# An unknown key id asks again, but no more often than this, whoever sends it.
_LEAST_SECONDS_BETWEEN_FETCHES = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=3.0)


class JwksClient:
    """Keeps the keys of a JWKS endpoint. Keys it has once seen stay usable while the endpoint is away."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str, EllipticCurvePublicKey] = {}
        self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self, key_id: str) -> EllipticCurvePublicKey | None:
        """The key, fetching anew when it is unknown or the last look is old.

        Raises Unavailable when no keys were ever read and the endpoint does not answer.
        """
        age = self._clock.monotonic() - self._fetched_at
        if age > _REFRESH_SECONDS or (key_id not in self._keys and age > _LEAST_SECONDS_BETWEEN_FETCHES):
            await self._refresh()
        return self._keys.get(key_id)

    async def _refresh(self) -> None:
        before = self._fetched_at
        async with self._lock:
            if self._fetched_at != before:
                return
            try:
                keys = await self._fetch()
            except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as error:
                _log.warning("public keys could not be read", url=self._url, error=repr(error))
                if not self._keys:
                    raise backend_unavailable("The key service") from error
                self._fetched_at = self._clock.monotonic()
                return
            self._keys = keys
            self._fetched_at = self._clock.monotonic()

    async def _fetch(self) -> dict[str, EllipticCurvePublicKey]:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(self._url) as response:
            response.raise_for_status()
            document: dict[str, Any] = await response.json()
        keys = {}
        for key in jwt.PyJWKSet.from_dict(document).keys:
            if isinstance(key.key, EllipticCurvePublicKey) and key.key_id:
                keys[key.key_id] = key.key
        return keys
