"""What a call can fail with: one class per gRPC code, with the reason to branch on.

    try:
        await client.sessions.join(session_id)
    except oofgg.errors.FailedPrecondition as error:
        if error.reason is oofgg.Reason.SESSION_FULL: ...

Branch on the class and the reason, never on the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from oofgg.v1 import errors_pb2

if TYPE_CHECKING:
    from oofgg._ticket_types import TicketStatus

_DETAILS_KEY = "grpc-status-details-bin"
_NANOSECONDS = 1_000_000_000
_M = TypeVar("_M", bound=Message)


class Reason(StrEnum):
    """Why a call failed: the names of `oofgg.v1.ErrorReason` without their prefix."""

    UNSPECIFIED = "UNSPECIFIED"
    INVALID_FIELD = "INVALID_FIELD"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"  # noqa: S105
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    PROTOCOL_VIOLATION = "PROTOCOL_VIOLATION"
    TOKEN_MISSING = "TOKEN_MISSING"  # noqa: S105
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105
    TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    REFRESH_TOKEN_INVALID = "REFRESH_TOKEN_INVALID"  # noqa: S105
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
    PASSWORD_SET = "PASSWORD_SET"  # noqa: S105
    PASSWORD_MISSING = "PASSWORD_MISSING"  # noqa: S105
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
    """A refused field: its path, such as `result.seats[1].placement`, and what is wrong with its value."""

    field: str
    description: str


class OofggError(Exception):
    """A call or a stream failed. Always one of the subclasses, each of which stands for a gRPC code.

    `reason` is UNSPECIFIED when the failure did not come from the platform, such as a dropped connection.
    `retry_after` is in seconds, or None. `request_id` is what to quote to the operator; empty when unknown.
    """

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str = "",
        *,
        reason: Reason = Reason.UNSPECIFIED,
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations: Sequence[FieldViolation] = tuple(violations)
        self.retry_after = retry_after

    @property
    def request_id(self) -> str:
        """What the platform logged this call under."""
        return self.metadata.get("request_id", "")

    def __str__(self) -> str:
        parts = [self.code.name if self.reason is Reason.UNSPECIFIED else f"{self.code.name} {self.reason}"]
        if self.message:
            parts.append(self.message)
        told = [f"{violation.field}: {violation.description}" for violation in self.violations]
        parts += [text for text in told if text not in self.message]
        text = ": ".join(parts)
        return f"{text} (request {self.request_id})" if self.request_id else text


class Cancelled(OofggError):
    """The call was given up."""

    code = grpc.StatusCode.CANCELLED


class Unknown(OofggError):
    """The call failed in a way that nobody explained."""

    code = grpc.StatusCode.UNKNOWN


class InvalidArgument(OofggError):
    """The request itself is wrong; `violations` name the fields."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(OofggError):
    """The call took longer than it was given. It may have had its effect."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(OofggError):
    """There is no such thing."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(OofggError):
    """There is one already."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(OofggError):
    """The caller is known and may not."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(OofggError):
    """Too much was asked for; see `retry_after`."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(OofggError):
    """The request is fine, but not in the state things are in."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class TicketError(FailedPrecondition):
    """A ticket ended without a match: CANCELLED, EXPIRED or FAILED. `status.reason` says why."""

    def __init__(self, status: TicketStatus) -> None:
        why = f": {status.reason}" if status.reason != "UNSPECIFIED" else ""
        super().__init__(
            f"the ticket is {status.state}{why}",
            reason=Reason.TICKET_STATE,
            metadata={"ticket_id": status.ticket_id, "state": status.state},
        )
        self.status = status


class Aborted(OofggError):
    """Something else came first."""

    code = grpc.StatusCode.ABORTED


class OutOfRange(OofggError):
    """Asked for what lies beyond what is kept."""

    code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(OofggError):
    """The platform does not offer this call."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(OofggError):
    """A fault of the platform; quote the request id."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(OofggError):
    """The platform could not be reached in time, although the call was repeated."""

    code = grpc.StatusCode.UNAVAILABLE


class DataLoss(OofggError):
    """Data was lost for good."""

    code = grpc.StatusCode.DATA_LOSS


class Unauthenticated(OofggError):
    """Nobody is logged in, or the login is over."""

    code = grpc.StatusCode.UNAUTHENTICATED


_CLASSES: dict[grpc.StatusCode, type[OofggError]] = {kind.code: kind for kind in OofggError.__subclasses__()}
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def from_rpc_error(error: grpc.RpcError) -> OofggError:
    """The typed error behind a failed gRPC call, for who uses `client.stubs`."""
    call: Any = error  # grpc's RpcError is a Call, but says so nowhere
    refined = _refine(call.code(), _status(call), call.details() or "")
    if "request_id" not in refined.metadata and (request_id := _header(call, "x-request-id")):
        # Envoy's own refusals name it there.
        refined.metadata = {**refined.metadata, "request_id": request_id}
    return refined


def from_status(status: errors_pb2.Status) -> OofggError:
    """The typed error that the last response of a stream announces."""
    return _refine(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status, "")


def _refine(code: grpc.StatusCode, status: errors_pb2.Status, details: str) -> OofggError:
    kind = _CLASSES.get(code, Unknown)
    info = _detail(status, "ErrorInfo", errors_pb2.ErrorInfo())
    bad = _detail(status, "BadRequest", errors_pb2.BadRequest())
    retry = _detail(status, "RetryInfo", errors_pb2.RetryInfo())
    return kind(
        status.message or details,
        reason=Reason(info.reason) if info and info.reason in Reason.__members__ else Reason.UNSPECIFIED,
        metadata=dict(info.metadata) if info else {},
        violations=[FieldViolation(found.field, found.description) for found in bad.field_violations] if bad else (),
        retry_after=retry.retry_delay.ToNanoseconds() / _NANOSECONDS if retry else None,
    )


def _header(call: Any, name: str) -> str:
    for metadata in (call.trailing_metadata(), call.initial_metadata()):
        for key, value in metadata or ():
            if key == name and isinstance(value, str):
                return value
    return ""


def _status(call: Any) -> errors_pb2.Status:
    status = errors_pb2.Status()
    # Who refuses a call before it begins sends headers only.
    for metadata in (call.trailing_metadata(), call.initial_metadata()):
        for key, value in metadata or ():
            if key == _DETAILS_KEY and isinstance(value, bytes):
                try:
                    status.ParseFromString(value)
                except DecodeError:
                    status.Clear()
                return status
    return status


def _detail(status: errors_pb2.Status, name: str, into: _M) -> _M | None:
    for detail in status.details:
        if detail.type_url.rpartition("/")[2] == f"google.rpc.{name}":
            try:
                into.ParseFromString(detail.value)
            except DecodeError:
                return None
            return into
    return None
