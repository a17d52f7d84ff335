"""What a session is made of: states and the one table of their transitions, seats, facts, and what can happen to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.game.engine.results import Result, ResultState


class State(StrEnum):
    """Where a session is. FINISHING is internal: the result is decided and on its way to the database."""

    CREATED = "CREATED"
    WAITING = "WAITING"
    STARTED = "STARTED"
    PAUSED = "PAUSED"
    FINISHING = "FINISHING"
    FINISHED = "FINISHED"
    DELETED = "DELETED"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.CREATED: frozenset({State.WAITING, State.DELETED}),
    State.WAITING: frozenset({State.STARTED, State.DELETED}),
    State.STARTED: frozenset({State.PAUSED, State.FINISHING, State.DELETED}),
    State.PAUSED: frozenset({State.STARTED, State.FINISHING, State.DELETED}),
    State.FINISHING: frozenset({State.FINISHED}),
    State.FINISHED: frozenset(),
    State.DELETED: frozenset(),
}

OVER: Final = frozenset({State.FINISHED, State.DELETED})

MOST_ATTRIBUTES: Final = 32


class EndReason(StrEnum):
    """Why a session is over without a result."""

    NONE = ""
    CLOSED = "CLOSED"
    ABANDONED = "ABANDONED"
    IDLE = "IDLE"
    LIFETIME = "LIFETIME"


class PresenceKind(StrEnum):
    """What happened to a participant."""

    JOINED = "JOINED"
    DISCONNECTED = "DISCONNECTED"
    CONNECTED = "CONNECTED"
    RECONNECTED = "RECONNECTED"
    REPLACED = "REPLACED"
    LEFT = "LEFT"
    KICKED = "KICKED"


GONE: Final = frozenset({PresenceKind.LEFT, PresenceKind.KICKED})


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in a session.

    `leave_at`: when it is given up unless a stream opens before; None while one is open. `was_connected`: whether one
    ever was. `join_seq`: number of the event that told of it; what was said to this seat before was for someone else.
    `instance_id`: what the client that opened a stream last calls itself.
    """

    number: int
    user_id: str
    username: str
    team: int
    connected: bool
    join_time: float
    leave_at: float | None
    was_connected: bool = False
    join_seq: int = 0
    display_name: str = ""
    instance_id: str = ""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """An account that is to have a seat. Team 0: none."""

    user_id: str
    username: str
    team: int
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What never changes about a session. An empty `history_topic`: none is published besides the common one."""

    session_id: str
    game_id: str
    min_seats: int
    max_seats: int
    flush_window_ms: int
    create_time: float
    history_topic: str
    max_spectators: int = 0
    queue: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """What can be changed about a session. `version` grows with every change."""

    creator_user_id: str
    label: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """How long things may take, in seconds."""

    grace: float = 60.0
    ballot: float = 30.0
    abandoned: float = 300.0
    idle: float = 3600.0
    lifetime: float = 86_400.0


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Someone came or went."""

    kind: PresenceKind
    seat: Seat
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The session is in another state; FINISHING is told to nobody."""

    state: State
    reason: EndReason = EndReason.NONE


@dataclass(frozen=True, slots=True)
class ProfileChanged:
    """What can be changed about the session was changed."""

    profile: Profile


@dataclass(frozen=True, slots=True)
class ResultChanged:
    """A seat stated a result (PENDING), or it is decided (seat 0)."""

    state: ResultState
    result: Result | None
    seat: int = 0
    deadline: float | None = None


Change = PresenceChanged | StateChanged | ProfileChanged | ResultChanged
