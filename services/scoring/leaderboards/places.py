"""Places: bytes that sort as entries rank, in PostgreSQL and in a sorted set of Redis alike.

    place  = score (8) · subscore (8) · turn (8)
    member = place · user id (16)

Numbers are big-endian with the sign bit flipped, so that bytes compare as they do; where more is better all bits of
score and subscore are flipped too. The generated column `leaderboard_entry.place` says the same in SQL.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

PLACE_BYTES: Final = 24
MEMBER_BYTES: Final = 40
MOST: Final = 2**63 - 1
LEAST: Final = -(2**63)

_NUMBERS: Final = struct.Struct(">QQQ")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides a rank. `turn` counts the changes of all entries: who has a lower one was there earlier."""

    score: int
    subscore: int
    turn: int


def place_of(standing: Standing, *, ascending: bool) -> bytes:
    """The place of a standing: of two, the better one's is less."""
    flip = _SIGN if ascending else _SIGN ^ _ALL
    return _NUMBERS.pack(
        (standing.score & _ALL) ^ flip, (standing.subscore & _ALL) ^ flip, (standing.turn & _ALL) ^ _SIGN
    )


def standing_at(place: bytes, *, ascending: bool) -> Standing:
    """The standing of a place. Raises ValueError for bytes that are none."""
    if len(place) != PLACE_BYTES:
        raise ValueError("a place has 24 bytes")
    flip = _SIGN if ascending else _SIGN ^ _ALL
    score, subscore, turn = _NUMBERS.unpack(place)
    return Standing(_signed(score ^ flip), _signed(subscore ^ flip), _signed(turn ^ _SIGN))


def member_of(place: bytes, user_id: str) -> bytes:
    """The member of a sorted set that stands for a player at a place."""
    return place + user_bytes(user_id)


def user_bytes(user_id: str) -> bytes:
    """An id in 16 bytes."""
    return bytes.fromhex(user_id.replace("-", ""))


def users_in(joined: bytes) -> list[str]:
    """The players whose ids (16 bytes each) are joined."""
    digits = joined.hex()  # of all at once, which is a third of making UUIDs one by one
    return [
        f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}-{digits[at + 12 : at + 16]}-"
        f"{digits[at + 16 : at + 20]}-{digits[at + 20 : at + 32]}"
        for at in range(0, len(digits), 32)
    ]


def user_of(member: bytes) -> str:
    """The player that a member stands for."""
    return users_in(member[PLACE_BYTES:])[0]


def _signed(number: int) -> int:
    return number - (1 << 64) if number & _SIGN else number
