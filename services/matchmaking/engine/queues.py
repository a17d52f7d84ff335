"""What a queue's developer says of its matches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class RuleKind(StrEnum):
    """What a rule compares."""

    EQUAL = "equal"
    OVERLAP = "overlap"
    DISTANCE = "distance"
    SKILL = "skill"
    REGION = "region"


class Balance(StrEnum):
    """What teams are made equal in."""

    NONE = "NONE"
    SKILL = "SKILL"


@dataclass(frozen=True, slots=True)
class Step:
    """How a rule gives way to a ticket that has waited for `after` seconds."""

    after: float
    limit: float = 0.0
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds between all players of a match."""

    kind: RuleKind
    name: str
    attribute: str = ""
    limit: float = 0.0
    steps: tuple[Step, ...] = ()

    def limit_after(self, waited: float) -> float | None:
        """The limit for a ticket that has waited so long, in seconds; None when the rule does not count any more."""
        limit: float | None = self.limit
        for step in self.steps:
            if waited < step.after:
                break
            limit = None if step.drop else step.limit
        return limit


@dataclass(frozen=True, slots=True)
class Role:
    """A part in a team, and how many of it each team has."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class SessionTemplate:
    """What the sessions of a queue are like."""

    label: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    flush_window_ms: int = 20
    max_spectators: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue. Times are in seconds; 0 for `bots_after`, `fill` and `acceptance` means that there is no such thing."""

    name: str
    version: int = 1
    min_teams: int = 2
    max_teams: int = 2
    min_team_size: int = 1
    max_team_size: int = 1
    roles: tuple[Role, ...] = ()
    rules: tuple[Rule, ...] = ()
    balance: Balance = Balance.NONE
    fill: float = 0.0
    max_wait: float = 300.0
    bots_after: float = 0.0
    acceptance: float = 0.0
    backfill: bool = False
    session: SessionTemplate = field(default_factory=SessionTemplate)

    @property
    def most_players(self) -> int:
        """Players of the largest match."""
        return self.max_teams * self.max_team_size

    @property
    def rated(self) -> bool:
        """Whether ratings of players are needed."""
        return self.balance is Balance.SKILL or any(rule.kind is RuleKind.SKILL for rule in self.rules)
