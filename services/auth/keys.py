"""The keys that sign access tokens: ES256, sealed in PostgreSQL, their public halves published as JWKS (RFC 7517)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from jwt.algorithms import ECAlgorithm

from pkg.auth.tokens import ALGORITHM
from pkg.clock import Clock


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair and the `kid` under which it is known."""

    key_id: str
    private: ec.EllipticCurvePrivateKey
    activate_time: datetime
    """It signs from then on; it is published before."""

    @property
    def jwk(self) -> Mapping[str, Any]:
        """The public half as a JSON Web Key."""
        public: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(self.private.public_key()))
        return {**public, "kid": self.key_id, "alg": ALGORITHM, "use": "sig"}

    def to_der(self) -> bytes:
        """PKCS #8, not encrypted: to be sealed."""
        return self.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def new_signing_key(key_id: str, activate_time: datetime) -> SigningKey:
    """A new P-256 pair."""
    return SigningKey(key_id, ec.generate_private_key(ec.SECP256R1()), activate_time)


def signing_key_from_der(key_id: str, der: bytes, activate_time: datetime) -> SigningKey:
    """A key that was stored. Raises ValueError for anything but an elliptic-curve key."""
    private = load_der_private_key(der, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError(f"signing key {key_id} is no elliptic-curve key")
    return SigningKey(key_id, private, activate_time)


class KeyRing:
    """All keys, in the order in which they sign; the last one whose time has come does."""

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        self._clock = clock
        self._keys: list[SigningKey] = []
        self._by_id: dict[str, ec.EllipticCurvePublicKey] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[SigningKey]) -> None:
        """Takes what is stored now."""
        if not keys:
            raise ValueError("a key ring needs at least one key")
        self._keys = list(keys)
        self._by_id = {key.key_id: key.private.public_key() for key in keys}

    @property
    def current(self) -> SigningKey:
        """The key that signs."""
        now = self._clock.now()
        return next((key for key in reversed(self._keys) if key.activate_time <= now), self._keys[0])

    async def get(self, key_id: str) -> ec.EllipticCurvePublicKey | None:
        """The public key with this `kid` (pkg.auth.tokens.PublicKeys)."""
        return self._by_id.get(key_id)

    def jwks(self) -> Mapping[str, Any]:
        """The document that Envoy and the services read."""
        return {"keys": [key.jwk for key in self._keys]}
