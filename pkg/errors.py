"""Domain errors: what a rule raises when it refuses.

One class per gRPC code, one `Reason` per cause a client can branch on. The message is public: it says what is wrong
and what to do. Private causes are chained with `raise … from` and only logged. `pkg.rpc.status` maps these to the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Names of `oofgg.v1.ErrorReason` without their prefix; a test keeps the two equal."""

    INVALID_FIELD = "INVALID_FIELD"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    PROTOCOL_VIOLATION = "PROTOCOL_VIOLATION"
    TOKEN_MISSING = "TOKEN_MISSING"
    TOKEN_INVALID = "TOKEN_INVALID"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    TOKEN_REVOKED = "TOKEN_REVOKED"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    REFRESH_TOKEN_INVALID = "REFRESH_TOKEN_INVALID"
    API_KEY_INVALID = "API_KEY_INVALID"
    LOGGED_IN_ELSEWHERE = "LOGGED_IN_ELSEWHERE"
    ACCESS_DENIED = "ACCESS_DENIED"
    NOT_OWNER = "NOT_OWNER"
    WRONG_GAME = "WRONG_GAME"
    NOT_A_PARTICIPANT = "NOT_A_PARTICIPANT"
    KICKED = "KICKED"
    DEVELOPER_BY_OPERATOR = "DEVELOPER_BY_OPERATOR"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    GAME_NOT_FOUND = "GAME_NOT_FOUND"
    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    MATCH_NOT_FOUND = "MATCH_NOT_FOUND"
    LEADERBOARD_NOT_FOUND = "LEADERBOARD_NOT_FOUND"
    ENTRY_NOT_FOUND = "ENTRY_NOT_FOUND"
    LOGIN_NOT_FOUND = "LOGIN_NOT_FOUND"
    API_KEY_NOT_FOUND = "API_KEY_NOT_FOUND"
    REPLAY_NOT_FOUND = "REPLAY_NOT_FOUND"
    QUEUE_NOT_FOUND = "QUEUE_NOT_FOUND"
    TICKET_NOT_FOUND = "TICKET_NOT_FOUND"
    USERNAME_TAKEN = "USERNAME_TAKEN"
    EMAIL_TAKEN = "EMAIL_TAKEN"
    GAME_NAME_TAKEN = "GAME_NAME_TAKEN"
    DEVICE_TAKEN = "DEVICE_TAKEN"
    LEADERBOARD_NAME_TAKEN = "LEADERBOARD_NAME_TAKEN"
    QUEUE_NAME_TAKEN = "QUEUE_NAME_TAKEN"
    SESSION_FULL = "SESSION_FULL"
    SESSION_STATE = "SESSION_STATE"
    WRONG_NODE = "WRONG_NODE"
    GAME_IN_USE = "GAME_IN_USE"
    LAST_CREDENTIAL = "LAST_CREDENTIAL"
    PASSWORD_SET = "PASSWORD_SET"
    PASSWORD_MISSING = "PASSWORD_MISSING"
    ACCOUNT_OWNS_GAMES = "ACCOUNT_OWNS_GAMES"
    TICKET_ACTIVE = "TICKET_ACTIVE"
    TICKET_STATE = "TICKET_STATE"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    SLOW_CONSUMER = "SLOW_CONSUMER"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    LOCKED_OUT = "LOCKED_OUT"
    ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
    PENALISED = "PENALISED"
    RESUME_TOO_OLD = "RESUME_TOO_OLD"
    SCORE_OUT_OF_RANGE = "SCORE_OUT_OF_RANGE"
    REPLACED = "REPLACED"
    CONFLICT = "CONFLICT"
    BACKEND_UNAVAILABLE = "BACKEND_UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    DEADLINE = "DEADLINE"
    INTERNAL = "INTERNAL"
    UNIMPLEMENTED = "UNIMPLEMENTED"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A refused field: its path, and what is wrong with its value."""

    field: str
    description: str


class OofggError(Exception):
    """A refusal with a reason. Raise one of the subclasses: each stands for one gRPC code.

    `metadata` becomes that of `ErrorInfo`; `retry_after` (seconds) becomes `RetryInfo`.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after: float | None = None, **metadata: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.metadata = metadata
        self.violations: Sequence[FieldViolation] = ()


class InvalidArgument(OofggError):
    """The request itself is wrong, whatever the state."""

    def __init__(
        self, reason: Reason, message: str, *, violations: Sequence[FieldViolation] = (), **metadata: str
    ) -> None:
        super().__init__(reason, message)
        self.metadata = metadata
        self.violations = violations


class Unauthenticated(OofggError):
    """Nobody knows who is calling."""


class PermissionDenied(OofggError):
    """The caller is known and may not."""


class NotFound(OofggError):
    """There is no such thing."""


class AlreadyExists(OofggError):
    """There is one already."""


class FailedPrecondition(OofggError):
    """The state does not allow it; another call has to come first."""


class ResourceExhausted(OofggError):
    """Too much, too fast."""


class OutOfRange(OofggError):
    """Beyond what is kept."""


class Aborted(OofggError):
    """Something else won."""


class Unavailable(OofggError):
    """Not now; the same call may succeed after `retry_after` seconds."""

    def __init__(self, reason: Reason, message: str, *, retry_after: float | None = 1.0, **metadata: str) -> None:
        super().__init__(reason, message, retry_after=retry_after, **metadata)


class DeadlineExceeded(OofggError):
    """The caller's deadline left too little time."""


class Internal(OofggError):
    """A fault of ours."""


def invalid_field(field: str, description: str) -> InvalidArgument:
    """The error for one refused field, for rules that a field constraint in the proto cannot state."""
    return InvalidArgument(
        Reason.INVALID_FIELD, f"{field}: {description}", violations=[FieldViolation(field, description)]
    )


def backend_unavailable(backend: str, *, retry_after: float = 1.0) -> Unavailable:
    """The error for a backend (such as `PostgreSQL`) that does not answer."""
    return Unavailable(
        Reason.BACKEND_UNAVAILABLE,
        f"{backend} does not answer at the moment. Try again shortly.",
        retry_after=retry_after,
        backend=backend,
    )
