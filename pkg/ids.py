"""Ids: opaque strings to everybody else, UUIDv7 (RFC 9562 §5.7) inside, so that they sort by time in an index."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Final

NewId = Callable[[], str]

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# The digit that has the variant, with its two bits that are random.
_VARIANTS: Final = "89ab"


def new_id() -> str:
    """A new UUIDv7 in its 36-character text form: 48 bits of Unix milliseconds, 74 random bits."""
    value = (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-{_VARIANTS[value[8] >> 6]}{digits[17:20]}-{digits[20:]}"


def time_of(made_id: str) -> float:
    """When an id was made, in seconds since the epoch. Raises ValueError for what is none."""
    return int(made_id.replace("-", "")[:12], 16) / 1000


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id. An id of another form cannot exist, so asking a store is needless."""
    return _ID.fullmatch(text) is not None
