"""Secrets that we hand out: refresh tokens and API keys. They are random, so a plain SHA-256 is enough to store."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

API_KEY_PREFIX = "oofgg_"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret to give away and the digest to keep."""

    text: str
    digest: bytes


def new_refresh_token() -> Secret:
    """256 random bits."""
    text = secrets.token_urlsafe(_SECRET_BYTES)
    return Secret(text, digest_of(text))


def new_api_key() -> Secret:
    """256 random bits behind a prefix that scanners for leaked keys can look for."""
    text = API_KEY_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    return Secret(text, digest_of(text))


# What of a key may be shown, to tell keys apart.
PREFIX_LETTERS = len(API_KEY_PREFIX) + 6


def digest_of(text: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(text.encode()).digest()
