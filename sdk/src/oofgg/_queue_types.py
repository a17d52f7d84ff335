"""What queues are made of, as frozen dataclasses. Times are aware and in UTC, spans in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class QueueBalance(StrEnum):
    """What teams are made equal in."""

    UNSPECIFIED = "UNSPECIFIED"
    NONE = "NONE"
    """Nothing: teams are filled in the order in which players came."""
    SKILL = "SKILL"
    """The sum of the ratings."""


@dataclass(frozen=True, slots=True)
class QueueRole:
    """A part that a player can have, and how many of it each team has."""

    name: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Expansion:
    """How a rule gives way for a ticket that has waited for `after_seconds`: to another limit, or it is dropped."""

    after_seconds: float
    limit: float = 0.0
    drop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRule:
    """What holds for all players of a match; one of the classes below. `name` is for "why not yet".

    A rule that gives way (`expansions`, by time) holds for a match as strictly as for any of its tickets.
    """

    name: str = ""
    expansions: Sequence[Expansion] = ()


@dataclass(frozen=True, slots=True)
class EqualRule(QueueRule):
    """All have the same value of a text attribute."""

    attribute: str


@dataclass(frozen=True, slots=True)
class OverlapRule(QueueRule):
    """All have a value in common, of an attribute that is a list of texts. Who has none takes any."""

    attribute: str


@dataclass(frozen=True, slots=True)
class DistanceRule(QueueRule):
    """No two are further apart than the limit, in a numeric attribute."""

    attribute: str
    limit: float


@dataclass(frozen=True, slots=True)
class SkillRule(QueueRule):
    """No two tickets are further apart than the limit in their rating in this queue (of a party: the mean)."""

    limit: float


@dataclass(frozen=True, slots=True)
class RegionRule(QueueRule):
    """There is a region from which nobody is further than the limit, in milliseconds, by measured latencies."""

    limit_ms: float


@dataclass(frozen=True, slots=True)
class QueueSession:
    """What the session of a match is like. An empty label is the queue's name; `flush_window_ms` None is 20."""

    label: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    flush_window_ms: int | None = None
    max_spectators: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as its developer defines it; the platform sets `version` and times.

    0 stands for what is usual: two teams, as many at most as at least; of one player, or as many as there are roles; a
    ticket expires after 300 s. `fill_seconds` is how long a match waits for more players than are necessary,
    `bots_after_seconds` after how long it begins with fewer (0: never), `acceptance_seconds` how long players have to
    accept a match (0: they are not asked). `backfill`: whether its sessions get new players for those who leave.
    """

    name: str
    description: str = ""
    min_teams: int = 0
    max_teams: int = 0
    min_team_size: int = 0
    max_team_size: int = 0
    roles: Sequence[QueueRole] = ()
    rules: Sequence[QueueRule] = ()
    balance: QueueBalance = QueueBalance.NONE
    fill_seconds: float = 0.0
    max_wait_seconds: float = 0.0
    bots_after_seconds: float = 0.0
    acceptance_seconds: float = 0.0
    backfill: bool = False
    session: QueueSession = field(default_factory=QueueSession)
    version: int = 0
    create_time: datetime | None = None
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How it goes in a queue. Waits are those of tickets that were matched lately, in seconds; None when none were."""

    waiting_tickets: int
    waiting_players: int
    median_wait: float | None
    p90_wait: float | None
