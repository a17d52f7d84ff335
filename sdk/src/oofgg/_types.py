"""What the platform answers with, as frozen dataclasses. Times are aware and in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What an account may do."""

    UNSPECIFIED = "UNSPECIFIED"
    PLAYER = "PLAYER"
    DEVELOPER = "DEVELOPER"
    ADMIN = "ADMIN"


class SessionState(StrEnum):
    """Where a session is in its life. FINISHED (with a result) and DELETED (without) are the ends."""

    UNSPECIFIED = "UNSPECIFIED"
    CREATED = "CREATED"
    WAITING = "WAITING"
    STARTED = "STARTED"
    PAUSED = "PAUSED"
    FINISHED = "FINISHED"
    DELETED = "DELETED"

    @property
    def over(self) -> bool:
        """Whether nothing more can happen."""
        return self in (SessionState.FINISHED, SessionState.DELETED)


class EndReason(StrEnum):
    """Why a session is over without a result. UNSPECIFIED: it is not."""

    UNSPECIFIED = "UNSPECIFIED"
    CLOSED = "CLOSED"
    ABANDONED = "ABANDONED"
    """Nobody had a stream open for too long."""
    IDLE = "IDLE"
    """Nobody sent anything for too long."""
    LIFETIME = "LIFETIME"


class Delivery(StrEnum):
    """What becomes of a command on its way to somebody who does not keep up."""

    RELIABLE = "RELIABLE"
    """Everybody, the sender too, gets all of these in one order."""
    LATEST = "LATEST"
    """Only the newest per sender and key matters. Not sent back to the sender."""
    VOLATILE = "VOLATILE"
    """Sent once, dropped where there is no room. Not sent back to the sender."""


class PresenceChange(StrEnum):
    """What happened to a participant."""

    UNSPECIFIED = "UNSPECIFIED"
    JOINED = "JOINED"
    DISCONNECTED = "DISCONNECTED"
    CONNECTED = "CONNECTED"
    RECONNECTED = "RECONNECTED"
    REPLACED = "REPLACED"
    LEFT = "LEFT"
    KICKED = "KICKED"


class ResultState(StrEnum):
    """How a result came about. UNSPECIFIED: none was stated."""

    UNSPECIFIED = "UNSPECIFIED"
    PENDING = "PENDING"
    AGREED = "AGREED"
    DISPUTED = "DISPUTED"
    STATED = "STATED"


class MatchOutcome(StrEnum):
    """How a match went for one player. UNSPECIFIED: it was disputed and counts for nobody."""

    UNSPECIFIED = "UNSPECIFIED"
    WIN = "WIN"
    LOSS = "LOSS"
    DRAW = "DRAW"


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its owner sees it."""

    user_id: str
    username: str
    email: str
    role: Role
    create_time: datetime | None
    display_name: str = ""
    avatar_url: str = ""
    language: str = ""
    has_password: bool = True
    """Whether a password can be used to log in. False: a guest."""
    device_count: int = 0
    """How many devices can log in as guests."""


@dataclass(frozen=True, slots=True)
class LoginInfo:
    """Somebody logged in to the account, in a list of logins. `game_id` is empty for a console login."""

    login_id: str
    game_id: str
    create_time: datetime | None
    refresh_time: datetime | None
    expire_time: datetime | None
    address: str
    client: str
    current: bool
    """Whether it is the one that asks."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who is logged in. `game_id` is empty for a console login."""

    user_id: str
    role: Role
    game_id: str


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """Whose access token this is; everything but `is_valid` is empty when it is not valid."""

    is_valid: bool
    user_id: str
    username: str
    role: Role
    game_id: str
    expires_in: int
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A new API key. `api_key` is shown this once."""

    api_key_id: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """An API key in a list, without its secret. Times are None for never."""

    api_key_id: str
    game_id: str
    name: str
    prefix: str
    create_time: datetime | None
    expire_time: datetime | None
    use_time: datetime | None


@dataclass(frozen=True, slots=True)
class GameSettings:
    """What a developer decides about a game."""

    max_seats: int = 0
    """Most seats of a session, up to 512. 0 means 16."""
    match_history_topic_disabled: bool = False
    single_login: bool = False
    """Whether a player's new login to the game ends the older one, with LOGGED_IN_ELSEWHERE."""


@dataclass(frozen=True, slots=True)
class Game:
    """A game."""

    game_id: str
    name: str
    description: str
    owner_user_id: str
    settings: GameSettings
    create_time: datetime | None
    update_time: datetime | None
    match_history_topic: str
    """Kafka topic of its finished matches; empty when turned off."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in a session."""

    seat: int
    user_id: str
    username: str
    team: int
    connected: bool
    join_time: datetime | None
    display_name: str = ""
    """What the player wants to be called, as of the login it plays with; empty where that is the username."""

    @property
    def name(self) -> str:
        """The name to show: `display_name`, or else the username."""
        return self.display_name or self.username


@dataclass(frozen=True, slots=True)
class SeatResult:
    """Result of one seat. `placement` counts from 1; equal places are a draw."""

    seat: int
    placement: int
    score: int = 0
    team: int = 0
    stats: Mapping[str, float] = field(default_factory=dict)
    """The game's own figures, for the history: at most 16."""


@dataclass(frozen=True, slots=True)
class Session:
    """A game session, as it was when this was read."""

    session_id: str
    game_id: str
    state: SessionState
    label: str
    attributes: Mapping[str, str]
    min_seats: int
    max_seats: int
    seats: Mapping[int, Seat]
    """Taken seats by number."""
    creator_user_id: str
    """Who may change it: who opened it, or when that player left, who has had a seat for longest."""
    flush_window_ms: int
    create_time: datetime | None
    start_time: datetime | None
    finish_time: datetime | None
    result: Sequence[SeatResult]
    """Empty while there is none."""
    result_state: ResultState
    node: str = ""
    """The node that ran it then, a hint; empty when unknown."""
    version: int = 0
    """Grows with every change of label, attributes and creator."""
    max_spectators: int = 0
    queue: str = ""
    """The queue whose ratings its result moves."""
    end_reason: EndReason = EndReason.UNSPECIFIED
    departed: Mapping[int, Seat] = field(default_factory=dict)
    """Seats that were given up since it started, and that nobody has taken again: the result is about these too."""

    @property
    def roster(self) -> Mapping[int, Seat]:
        """Who a result is about, by seat: who has a seat, and who has left since it started and was not replaced."""
        return dict(sorted({**self.departed, **self.seats}.items()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a result is. `result` is empty and `deadline_time` set while it is PENDING."""

    state: ResultState
    result: Sequence[SeatResult]
    deadline_time: datetime | None


@dataclass(frozen=True, slots=True)
class Rating:
    """How good a player is in a queue, by what is known from matches."""

    user_id: str
    mu: float
    """Estimated skill."""
    sigma: float
    """Standard deviation of that estimate."""
    ordinal: float
    """mu - 3 sigma: the skill that the player very probably has at least. What to show and to order by."""
    matches: int
    provisional: bool
    """Whether it rests on too few matches to be believed."""
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class RatingChange:
    """What a match did to a rating."""

    before: Rating
    after: Rating


@dataclass(frozen=True, slots=True)
class RatingRules:
    """How a queue rates; 0 stands for the default of each."""

    mu: float = 0.0
    """Skill that everybody begins with."""
    sigma: float = 0.0
    """Standard deviation that everybody begins with."""
    beta: float = 0.0
    """How much chance there is in the game, as a difference in skill."""
    tau: float = 0.0
    """How much skill may drift from match to match."""
    provisional_matches: int = 0
    """Matches before a rating is believed."""


@dataclass(frozen=True, slots=True)
class MatchParticipant:
    """One player of a match."""

    seat: int
    user_id: str
    username: str
    team: int
    placement: int
    score: int
    outcome: MatchOutcome
    rating_change: RatingChange | None = None
    """None where it did nothing to the player's rating."""
    stats: Mapping[str, float] = field(default_factory=dict)
    """The game's own figures."""


@dataclass(frozen=True, slots=True)
class MatchNews:
    """A match that has finished, and where its watcher stands."""

    match: Match
    position: str
    """Go on from here: `client.history.watch(position=…)`."""


@dataclass(frozen=True, slots=True)
class Match:
    """A finished match; its id is that of its session."""

    match_id: str
    game_id: str
    result_state: ResultState
    participants: Sequence[MatchParticipant]
    label: str
    attributes: Mapping[str, str]
    start_time: datetime | None
    finish_time: datetime | None
    queue: str = ""
    """The queue whose ratings it moved."""
