"""Page tokens: where the next page of a list begins, opaque to the caller."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Final

from pkg.errors import InvalidArgument, Reason
from pkg.ids import is_id

DEFAULT_PAGE_SIZE: Final = 20
# What PostgreSQL's bigint holds.
_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1


def page_size(requested: int) -> int:
    """Entries per page: the default for 0."""
    return requested or DEFAULT_PAGE_SIZE


def encode_token(key: list[str | int]) -> str:
    """The token for the page that begins after the entry with this sort key."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_token(token: str, *types: type[str | int]) -> list[str | int] | None:
    """The sort key in a token, or None for the first page.

    `types` are those of the key's parts. Raises InvalidArgument(INVALID_PAGE_TOKEN) for anything else.
    """
    if not token:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(types) or not all(map(_is_storable, key)):
        raise foreign_token()
    return key


def _is_storable(part: str | int) -> bool:
    """Whether a statement can compare with it: JSON knows numbers and texts that PostgreSQL does not."""
    if isinstance(part, int):
        return _LEAST <= part <= _MOST
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in part)


def encode_time_token(time: datetime, entry_id: str) -> str:
    """The token of a list that is sorted by time, then id."""
    return encode_token([time.isoformat(), entry_id])


def decode_time_token(token: str) -> tuple[datetime, str] | None:
    """Time (aware) and id in a token of `encode_time_token`, or None for the first page.

    Raises InvalidArgument(INVALID_PAGE_TOKEN) for anything else.
    """
    key = decode_token(token, str, str)
    if key is None:
        return None
    try:
        time = datetime.fromisoformat(str(key[0]))
        if time.tzinfo is None or not is_id(str(key[1])):
            raise foreign_token()
        # In UTC: an offset may lead out of the years that there are.
        return time.astimezone(UTC), str(key[1])
    except (ValueError, OverflowError):
        raise foreign_token() from None


def foreign_token() -> InvalidArgument:
    """The error for a token that the list did not give out."""
    return InvalidArgument(
        Reason.INVALID_PAGE_TOKEN, "page_token: not a token this list gave out. Start again without one."
    )
