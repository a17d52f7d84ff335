"""What a run is to do."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oofgg import Delivery

DEFAULT_MIX = "reliable=6,latest=3,volatile=1"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that was asked for. Times are in seconds."""

    target: str
    players: int = 8
    session_size: int = 4
    spectators: int = 0
    """In all, spread over the sessions. They see everything and send nothing."""
    rate: float = 5.0
    """Commands a second and player."""
    seconds: float = 10.0
    mix: Mapping[Delivery, float] = field(default_factory=lambda: parse_mix(DEFAULT_MIX))
    payload: int = 64
    """Bytes of a command."""
    keys: int = 2
    """LATEST keys of each player."""
    flush_window_ms: int | None = None
    droppers: int = 0
    """Players that cut their stream now and then and come back to where they were."""
    slow: int = 0
    """Players that stop reading now and then."""
    reconnect_for: float = 60.0
    max_outage: float | None = None
    allow_reset: bool = False
    seed: int = 0
    game: str = ""
    """Game to play in; empty makes one."""
    developer: str = ""
    """Account that makes the game; empty registers one."""
    password: str = field(default="", repr=False)
    tls: bool = False
    tls_ca: Path | None = None
    report: Path | None = None

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return self.players // self.session_size

    def watched_by(self, session: int) -> int:
        """How many spectators the session of that number, from 0, has."""
        return len(range(session, self.spectators, self.sessions))

    @property
    def settle(self) -> float:
        """How long what was sent may take to be with everybody, once nothing more is sent."""
        return self.reconnect_for + 10.0


def parse_mix(text: str) -> Mapping[Delivery, float]:
    """Shares of the delivery classes, from `reliable=6,latest=3,volatile=1`. Raises ValueError."""
    shares: dict[Delivery, float] = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        shares[Delivery(name.strip().upper())] = float(share)
    if min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError("shares are not negative, and one is more than 0")
    return shares


def choose(mix: Mapping[Delivery, float], chance: random.Random) -> Delivery:
    """A class, as often as its share says."""
    return chance.choices(list(mix), weights=list(mix.values()))[0]
