"""Who won: what a result means for each participant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Outcome(StrEnum):
    """How a match went for one participant."""

    WIN = "win"
    LOSS = "loss"
    DRAW = "draw"


class ResultState(StrEnum):
    """How a result came about."""

    AGREED = "agreed"
    DISPUTED = "disputed"
    STATED = "stated"


@dataclass(frozen=True, slots=True)
class RatingView:
    """A rating as it is shown."""

    mu: float
    sigma: float
    matches: int
    provisional: bool


@dataclass(frozen=True, slots=True)
class RatingShift:
    """What a match did to a participant's rating."""

    before: RatingView
    after: RatingView


@dataclass(frozen=True, slots=True)
class Participant:
    """One player of a match. `placement` counts from 1, `team` is 0 where there are none."""

    seat: int
    user_id: str
    username: str
    team: int
    placement: int
    score: int
    outcome: Outcome | None = None
    rating: RatingShift | None = None
    stats: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match:
    """A finished match. The outcomes of its participants are None when it is disputed."""

    match_id: str
    game_id: str
    result_state: ResultState
    participants: tuple[Participant, ...]
    label: str
    attributes: dict[str, str]
    start_time: datetime | None
    finish_time: datetime
    queue: str = ""


@dataclass(frozen=True, slots=True)
class MatchFilter:
    """Which matches. None filters nothing; `opponent_id` and `outcome` belong to `user_id`."""

    user_id: str | None = None
    opponent_id: str | None = None
    outcome: Outcome | None = None
    result_state: ResultState | None = None
    queue: str | None = None
    label: str | None = None
    from_time: datetime | None = None
    until_time: datetime | None = None


def outcomes(participants: Sequence[Participant]) -> list[Outcome]:
    """The outcome of each: first place alone, or with one's team alone, wins; a shared first place is a draw."""
    first = [p for p in participants if p.placement == 1]
    sides = {(p.team, None) if p.team else (0, p.seat) for p in first}
    at_the_top = Outcome.WIN if len(sides) == 1 else Outcome.DRAW
    return [at_the_top if p.placement == 1 else Outcome.LOSS for p in participants]
