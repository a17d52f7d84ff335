"""Seals secrets that have to lie in a database: AES-256-GCM under the platform's master key (NIST SP 800-38D)."""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class UnsealError(Exception):
    """What was sealed was sealed with another master key, or changed. Set the master key that was used."""


class Sealer:
    """Seals and unseals under one key."""

    def __init__(self, master_key: str) -> None:
        """`master_key`: 32 bytes in base64."""
        self._cipher = AESGCM(base64.b64decode(master_key))

    def seal(self, plain: bytes) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, None)

    def unseal(self, sealed: bytes) -> bytes:
        """The plain bytes. Raises UnsealError."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
        except InvalidTag as error:
            raise UnsealError(
                "a sealed secret cannot be read: OOFGG_MASTER_KEY is not the key it was sealed with"
            ) from error
