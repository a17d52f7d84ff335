"""What bots write into their commands: which command it is, and when it left."""

from __future__ import annotations

import struct
from dataclasses import dataclass

KIND = "bot"
_HEAD = struct.Struct(">Qd")
SMALLEST = _HEAD.size


@dataclass(frozen=True, slots=True)
class Mark:
    """One command. Marks of a seat grow by one with each command of a delivery class (and of a key)."""

    number: int
    sent: float
    """By the monotonic clock of the process, in which all bots are."""

    def encode(self, size: int) -> bytes:
        """As so many bytes, at least SMALLEST."""
        return _HEAD.pack(self.number, self.sent).ljust(size, b".")


def decode(data: bytes) -> Mark:
    """What `encode` made. Raises ValueError."""
    try:
        return Mark(*_HEAD.unpack_from(data))
    except struct.error as error:
        raise ValueError(str(error)) from None
