"""What can be broken, and how that is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Promise(StrEnum):
    """What can be broken."""

    NO_GAP = "RELIABLE events come without gap or repeat"
    SAME_ORDER = "everybody sees the same RELIABLE events in the same order"
    ONCE = "a RELIABLE command is seen once"
    COMMAND_ORDER = "RELIABLE commands of a seat keep their order"
    ACKNOWLEDGED = "an acknowledged RELIABLE command is seen by everybody"
    LATEST_FORWARD = "LATEST values never go backwards"
    LATEST_ARRIVES = "the newest LATEST value arrives"
    VOLATILE_ONCE = "a VOLATILE command is seen at most once"
    NO_RESET = "no RELIABLE event is taken back"
    STAYS = "whoever stays or resumes is served"
    OUTAGE = "nobody waits longer than --max-outage"


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was not held."""

    promise: Promise
    session: str
    seat: int
    """Who saw it; negative for a spectator."""
    seq: int
    """The event's number; 0 where there is none."""
    evidence: str

    def __str__(self) -> str:
        return f"{self.promise}: session {self.session}, seat {self.seat}, seq {self.seq}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class What:
    """What a RELIABLE event is, as far as participants must agree."""

    label: str
    by: int = 0
    """Seat that caused it."""
    number: int = 0
    """The command; 0 for what is not a bot's command."""

    def __str__(self) -> str:
        return f"{self.label} {self.number} of seat {self.by}" if self.number else f"{self.label} of seat {self.by}"
