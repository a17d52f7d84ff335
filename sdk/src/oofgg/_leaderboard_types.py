"""What leaderboards are made of, as frozen dataclasses. Times are aware and in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from oofgg.errors import Reason


class ScoreOrder(StrEnum):
    """What is better."""

    UNSPECIFIED = "UNSPECIFIED"
    DESCENDING = "DESCENDING"
    """More."""
    ASCENDING = "ASCENDING"
    """Less."""


class ScoreOperator(StrEnum):
    """What becomes of an entry when its player submits again."""

    UNSPECIFIED = "UNSPECIFIED"
    BEST = "BEST"
    """The better pair (score, subscore) stays, with its metadata."""
    LAST = "LAST"
    SUM = "SUM"
    """Scores and subscores are added up."""
    INCREMENT = "INCREMENT"
    """The score is how often was submitted; subscores are added up."""


class Submitters(StrEnum):
    """Whose scores a leaderboard takes."""

    UNSPECIFIED = "UNSPECIFIED"
    PLAYERS = "PLAYERS"
    """Players for themselves; API keys and the game's developer for any player."""
    SERVERS = "SERVERS"
    """API keys and the game's developer."""
    RESULTS = "RESULTS"
    """Nobody: the scores in results that count."""


class WindowKind(StrEnum):
    """How often a leaderboard begins anew."""

    UNSPECIFIED = "UNSPECIFIED"
    ALL_TIME = "ALL_TIME"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"
    """On Mondays."""
    MONTHLY = "MONTHLY"
    CRON = "CRON"


@dataclass(frozen=True, slots=True)
class Window:
    """When a leaderboard begins anew, by the clock of a time zone such as `Europe/Berlin`."""

    kind: WindowKind = WindowKind.ALL_TIME
    time_zone: str = "UTC"
    cron: str = ""
    """Five fields (minute, hour, day of the month, month, day of the week), for WindowKind.CRON only."""

    @classmethod
    def seasons(cls, cron: str, time_zone: str = "UTC") -> Window:
        """Seasons that begin when a cron expression says."""
        return cls(WindowKind.CRON, time_zone, cron)


@dataclass(frozen=True, slots=True)
class Season:
    """A window of a leaderboard. `end_time` is None for one that never ends."""

    start_time: datetime | None
    end_time: datetime | None
    ended: bool
    archive_time: datetime | None
    """When its entries were counted, some time after its end."""
    entries: int
    """How many there were then."""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """A leaderboard as its developer defined it."""

    name: str
    description: str
    order: ScoreOrder
    operator: ScoreOperator
    window: Window
    submitters: Submitters
    min_score: int | None
    max_score: int | None
    max_attempts: int
    """How often a player may submit in a window. 0: any number of times."""
    kept_windows: int
    """How many windows that are over stay readable. 0: all."""
    version: int
    create_time: datetime | None
    update_time: datetime | None
    season: Season | None = None
    """The current window, where one leaderboard was asked for."""


@dataclass(frozen=True, slots=True)
class Score:
    """A score to submit. Only a game's server names the player, and may name them for others to see."""

    leaderboard: str
    score: int
    subscore: int = 0
    """Decides between equal scores."""
    user_id: str = ""
    username: str = ""
    metadata: Mapping[str, Any] | None = None
    """Anything JSON of up to 1 KiB, such as how it came about."""


@dataclass(frozen=True, slots=True)
class LeaderboardEntry:
    """A player's place on a leaderboard. Those that were defined have no wins, losses and draws."""

    rank: int
    """From 1; 0 where it is not known."""
    user_id: str
    username: str
    wins: int
    losses: int
    draws: int
    score: int
    update_time: datetime | None
    subscore: int = 0
    attempts: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a score. Of many, the entry is told in numbers alone, or was refused for a `refusal`."""

    entry: LeaderboardEntry | None
    changed: bool
    """Whether the entry has another value for it."""
    refusal: Reason | None = None


@dataclass(frozen=True, slots=True)
class Rank:
    """A player's entry, and how many players are on the leaderboard."""

    entry: LeaderboardEntry
    total: int


@dataclass(frozen=True, slots=True)
class Around:
    """The entries around a player, best first, and how many players are on the leaderboard."""

    entries: Sequence[LeaderboardEntry]
    total: int
    season: Season
