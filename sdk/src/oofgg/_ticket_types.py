"""What tickets are made of, as frozen dataclasses. Times are aware and in UTC, spans in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Attribute = str | float | Sequence[str]
"""A text (for rules that ask for the same), a number (for distances), or texts (for what players have in common)."""


class TicketState(StrEnum):
    """Where a ticket is in its life."""

    UNSPECIFIED = "UNSPECIFIED"
    QUEUED = "QUEUED"
    PROPOSED = "PROPOSED"
    """A match is proposed: accept it before `answer_deadline_time`, where the queue asks for that."""
    ACCEPTED = "ACCEPTED"
    """The caller's side has accepted, or nobody has to; others may have to yet, and the session is being made."""
    MATCHED = "MATCHED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"

    @property
    def over(self) -> bool:
        """Whether nothing more can happen."""
        return self in (TicketState.MATCHED, TicketState.CANCELLED, TicketState.EXPIRED, TicketState.FAILED)


class TicketReason(StrEnum):
    """Why a ticket is over without a match, or back in its queues. UNSPECIFIED: there is nothing to say."""

    UNSPECIFIED = "UNSPECIFIED"
    CANCELLED_BY_PLAYER = "CANCELLED_BY_PLAYER"
    CANCELLED_BY_DEVELOPER = "CANCELLED_BY_DEVELOPER"
    DECLINED = "DECLINED"
    NOT_ANSWERED = "NOT_ANSWERED"
    ABANDONED = "ABANDONED"
    """Nobody watched it for too long."""
    WAITED_TOO_LONG = "WAITED_TOO_LONG"
    QUEUE_DELETED = "QUEUE_DELETED"
    DOES_NOT_FIT = "DOES_NOT_FIT"
    """The queue has changed, and has no place for this party or these roles any more."""
    OTHERS_DECLINED = "OTHERS_DECLINED"
    """It is back in its place: another player of its match declined, or did not answer."""
    SESSION_FAILED = "SESSION_FAILED"
    """It is back in its place: the session could not be made."""
    LEFT = "LEFT"
    """The caller has left it; the others of the party wait on."""


@dataclass(frozen=True, slots=True)
class TicketPlayer:
    """A player of a ticket, and what is known of the player beside the rating.

    `roles` are those that the player takes, best first (none: any); `latencies` measured milliseconds by region.
    """

    user_id: str
    username: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    roles: Sequence[str] = ()
    latencies: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """How many of the tickets that were looked at last a rule keeps away; `size` and `roles` stand for teams' shape."""

    rule: str
    tickets: int


@dataclass(frozen=True, slots=True)
class MatchPlayer:
    """Where a player of a match plays. `role` is empty where there are none, `ticket_id` for who was there before."""

    user_id: str
    username: str
    team: int
    role: str = ""
    ticket_id: str = ""


@dataclass(frozen=True, slots=True)
class FoundMatch:
    """A match that was made: what `client.play` takes. `bots` is how many players are missing, for the game to fill in.

    `attributes` are what rules had a say in, such as `region`, and the queue's own. A seat is kept until
    `join_deadline_time` for who has not begun to play.
    """

    session_id: str
    queue: str
    node: str
    players: Sequence[MatchPlayer]
    attributes: Mapping[str, str]
    bots: int
    join_deadline_time: datetime | None

    @property
    def teams(self) -> Mapping[int, Sequence[MatchPlayer]]:
        """The players by team."""
        teams: dict[int, list[MatchPlayer]] = {}
        for player in self.players:
            teams.setdefault(player.team, []).append(player)
        return dict(sorted(teams.items()))

    def player(self, user_id: str) -> MatchPlayer | None:
        """Where somebody plays; None for who is not in this match."""
        return next((player for player in self.players if player.user_id == user_id), None)


@dataclass(frozen=True, slots=True)
class TicketStatus:
    """A ticket as it was at one moment.

    `estimated_wait` is how long tickets like this one wait, from the start, in seconds; None where nobody knows.
    While it waits, `exclusions` tell what keeps the others away, of the `candidates` that were looked at last. While a
    match is proposed, `accepted_players` of `proposed_players` have accepted it.
    """

    ticket_id: str
    game_id: str
    queues: Sequence[str]
    players: Sequence[TicketPlayer]
    state: TicketState
    reason: TicketReason
    create_time: datetime | None
    expire_time: datetime | None
    estimated_wait: float | None
    exclusions: Sequence[Exclusion]
    candidates: int
    answer_deadline_time: datetime | None
    accepted_players: int
    proposed_players: int
    match: FoundMatch | None
    version: int
