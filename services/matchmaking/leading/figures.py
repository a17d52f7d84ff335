"""How it goes in a queue, as its leader tells others through Redis."""

from __future__ import annotations

import json

from services.matchmaking.engine.estimates import Estimate, Waits


class Figures:
    """How long those waited who were matched lately, and how many players wait."""

    def __init__(self, data: bytes = b"") -> None:
        """From what `dump` gave."""
        told = json.loads(data) if data else {}
        self.players = int(told.get("players", 0))
        self._waits = Waits(told.get("waits", ()))
        self._changed = False

    def matched(self, waited: float, now: float, size: int) -> None:
        """A ticket of so many players was matched, after so many seconds."""
        self._waits.add(waited, now, size=size)
        self._changed = True

    def changed(self, players: int) -> bool:
        """Whether there is something to write, now that so many players wait."""
        changed = self._changed or players != self.players
        self.players = players
        return changed

    def dump(self, now: float) -> bytes:
        """For Redis."""
        self._changed = False
        return json.dumps({"players": self.players, "waits": self._waits.numbers(now)}).encode()

    def estimate(self, now: float, size: int | None = None) -> Estimate | None:
        """How long a party of this size waits. None when nobody was matched within the hour."""
        return self._waits.estimate(now, size=size)
