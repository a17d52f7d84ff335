"""What `send` takes: checked before anything is queued."""

from __future__ import annotations

import re
from collections.abc import Iterable

from oofgg import _convert
from oofgg._types import Delivery

_MOST_PAYLOAD = 64 * 1024
_MOST_NAME = 64
_MOST_SEATS = 512
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def command(payload: object, kind: str, delivery: Delivery, key: str) -> tuple[bytes, str]:
    """What to send, and its kind. Raises ValueError for what is too large, TypeError for what cannot be sent."""
    if not isinstance(delivery, Delivery):
        raise TypeError(f"delivery is one of oofgg.Delivery, such as Delivery.LATEST; not {delivery!r}")
    data, own_kind = _convert.payload(payload)
    kind = kind or own_kind
    if len(data) > _MOST_PAYLOAD:
        raise ValueError(f"a payload has at most {_MOST_PAYLOAD} bytes; this one has {len(data)}")
    if len(kind) > _MOST_NAME or len(key) > _MOST_NAME:
        raise ValueError(f"kind and key have at most {_MOST_NAME} characters")
    for name, text in (("kind", kind), ("key", key)):
        if _CONTROL.search(text):
            raise ValueError(f"{name} has a control character, such as a line break: {text!r}")
    return data, kind


def receivers(to: int | Iterable[int]) -> list[int]:
    """The seats a command is for. Raises ValueError for what is no seat."""
    seats = [to] if isinstance(to, int) else list(to)
    if any(seat < 1 for seat in seats):
        raise ValueError("seats are numbered from 1")
    if len(seats) > _MOST_SEATS:
        raise ValueError(f"a command is for at most {_MOST_SEATS} seats, or for everybody; these are {len(seats)}")
    return seats
