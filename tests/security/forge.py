"""Tokens as attackers make them: by hand, so that no library refuses to make a bad one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from pkg.auth.sealing import Sealer
from pkg.db.database import open_database
from pkg.embedded import Platform
from services.auth.keys import SigningKey
from services.auth.stores.signing_keys import SigningKeyStore

Claims = Mapping[str, Any]


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def part(document: object) -> str:
    return encoded(json.dumps(document).encode())


def header_of(token: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(decoded(token.split(".")[0]))
    return document


def claims_of(token: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(decoded(token.split(".")[1]))
    return document


def unsigned(header: Claims, claims: Claims, signature: bytes = b"") -> str:
    return f"{part(header)}.{part(claims)}.{encoded(signature)}"


def with_hmac(header: Claims, claims: Claims, secret: bytes) -> str:
    told = f"{part(header)}.{part(claims)}"
    return f"{told}.{encoded(hmac.new(secret, told.encode(), hashlib.sha256).digest())}"


def with_key(header: Claims, claims: Claims, key: ec.EllipticCurvePrivateKey) -> str:
    told = f"{part(header)}.{part(claims)}"
    r, s = decode_dss_signature(key.sign(told.encode(), ec.ECDSA(SHA256())))
    return f"{told}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


async def signing_keys(platform: Platform) -> list[SigningKey]:
    """The platform's own keys, as nobody outside has them: without them, no claim would ever be looked at."""
    master_key = (platform.data_dir / "secrets" / "master_key").read_text().strip()
    async with open_database(platform.endpoints.postgres_url, "auth", size=2) as database:
        return await SigningKeyStore(database, Sealer(master_key)).load()
