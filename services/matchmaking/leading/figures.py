"""How it goes in a queue: how long those waited who were matched, and who waits."""

from __future__ import annotations

import json
from collections import deque
from typing import Final

_KEPT: Final = 256
_FORGET_SECONDS: Final = 3_600.0


class Figures:
    """The latest waits of a queue, in seconds."""

    def __init__(self) -> None:
        self._waits: deque[tuple[float, float]] = deque(maxlen=_KEPT)
        self.players = 0
        self._dirty = False

    def matched(self, now: float, waited: float) -> None:
        """A ticket was matched."""
        self._waits.append((now, waited))
        self._dirty = True

    def changed(self, players: int) -> bool:
        """Whether there is something to write, now that so many players wait."""
        dirty = self._dirty or players != self.players
        self.players = players
        return dirty

    def dump(self, now: float) -> bytes:
        """For Redis."""
        self._dirty = False
        waits = [[round(at), round(wait, 2)] for at, wait in self._waits if now - at < _FORGET_SECONDS]
        return json.dumps({"players": self.players, "waits": waits}).encode()

    def load(self, data: bytes) -> None:
        """What `dump` gave."""
        if data:
            told = json.loads(data)
            self.players = int(told["players"])
            self._waits.extend((float(at), float(wait)) for at, wait in told["waits"])

    def quantile(self, share: float, now: float) -> float | None:
        """The wait that this share of tickets did not exceed. None when nobody was matched within the hour."""
        waits = sorted(wait for at, wait in self._waits if now - at < _FORGET_SECONDS)
        return waits[min(len(waits) - 1, int(share * len(waits)))] if waits else None
