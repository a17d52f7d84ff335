"""Who wants to play, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Player:
    """A player of a ticket. `rating` is `mu` in the queue; `latencies` are in milliseconds, by region; `roles` best
    first, none for any."""

    user_id: str
    username: str = ""
    rating: float = 0.0
    texts: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    latencies: Mapping[str, float] = field(default_factory=dict)
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ticket:
    """Players who play in one team. `enter_time` is in seconds since the epoch; the earliest is the oldest."""

    ticket_id: str
    players: tuple[Player, ...]
    enter_time: float


@dataclass(frozen=True, slots=True)
class OpenTeam:
    """Free seats of a team, and their roles where the queue has any."""

    team: int
    seats: int
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that looks for players: its free seats, and who is there. `attributes` are what rules chose for it."""

    session_id: str
    teams: tuple[OpenTeam, ...]
    present: tuple[Player, ...]
    enter_time: float
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a player of a match plays. Teams count from 1."""

    player: Player
    ticket_id: str
    team: int
    role: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A match as it could be. With an `opening`, its tickets fill up that session."""

    tickets: tuple[Ticket, ...]
    placed: tuple[Placed, ...]
    attributes: Mapping[str, str]
    bots: int = 0
    opening: Opening | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """What keeps a ticket waiting: how many it was compared with last, and which rule ruled out how many of them."""

    candidates: int
    exclusions: Mapping[str, int]
