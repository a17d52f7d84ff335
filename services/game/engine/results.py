"""How a result is agreed on when no host states it.

The first statement opens a ballot about its roster: the seats taken at that moment, and those that were given up since
the session started and not taken again. Each can state a result until
`deadline`; a restatement replaces one's own. It is decided when every seat of the roster that is still held has
spoken, or at the deadline. Silence abstains. Whoever spoke said the same: AGREED. Otherwise DISPUTED, without a result.

A seat that lost its stream is still held until its grace period is over: being cut off for a moment does not cost it
its say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from pkg.errors import invalid_field


class ResultState(StrEnum):
    """How far a result is, or how it came about."""

    PENDING = "PENDING"
    AGREED = "AGREED"
    DISPUTED = "DISPUTED"
    STATED = "STATED"


@dataclass(frozen=True, slots=True, order=True)
class SeatResult:
    """Result of one seat. Equal placements are a draw. `stats`: the game's own figures, by name."""

    seat: int
    team: int
    placement: int
    score: int
    stats: tuple[tuple[str, float], ...] = ()

    def as_list(self) -> list[Any]:
        """What `from_list` reads, of what JSON knows."""
        return [self.seat, self.team, self.placement, self.score, *([dict(self.stats)] if self.stats else [])]

    @classmethod
    def from_list(cls, entry: Sequence[Any]) -> SeatResult:
        """From what `as_list` gave."""
        seat, team, placement, score, *more = entry
        return cls(seat, team, placement, score, tuple(sorted(more[0].items())) if more else ())


Result = tuple[SeatResult, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """A decided result; without one when it is disputed."""

    state: ResultState
    result: Result | None


@dataclass(slots=True)
class Ballot:
    """Who may speak until when, and what was said."""

    roster: frozenset[int]
    deadline: float
    statements: dict[int, Result] = field(default_factory=dict)

    def decision(self, held: Collection[int], now: float) -> Decision | None:
        """What is decided, given the seats still held; None while others can still speak."""
        awaited = self.roster.intersection(held).difference(self.statements)
        if awaited and now < self.deadline:
            return None
        said = set(self.statements.values())
        if len(said) == 1:
            return Decision(ResultState.AGREED, said.pop())
        return Decision(ResultState.DISPUTED, None)


def normalised(entries: Collection[SeatResult], teams: dict[int, int], absent: Collection[int] = ()) -> Result:
    """A result in the one form that can be compared: by seat, with the teams of the seats where none is given.

    Seats in `absent` may be left out and are placed last then. Raises InvalidArgument unless there is exactly one entry
    for each of the other seats in `teams`.
    """
    seen: set[int] = set()
    for index, entry in enumerate(entries):
        if entry.seat not in teams:
            raise invalid_field(f"result.seats[{index}].seat", f"nobody has seat {entry.seat}")
        if entry.seat in seen:
            raise invalid_field(f"result.seats[{index}].seat", f"seat {entry.seat} is there twice")
        seen.add(entry.seat)
    left_out = sorted(set(teams) - seen)
    if missing := [seat for seat in left_out if seat not in absent]:
        raise invalid_field(
            "result.seats",
            f"seat {missing[0]} is missing; state one entry per seat, also for who has left since the first statement",
        )
    last = max(entry.placement for entry in entries) + 1 if entries else 1
    entries = [*entries, *(SeatResult(seat, 0, last, 0) for seat in left_out)]
    return tuple(sorted(replace(entry, team=entry.team or teams[entry.seat]) for entry in entries))
