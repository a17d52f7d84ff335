"""Domain errors on the wire and back: one table, used in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import quote

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message

from oofgg.v1 import errors_pb2
from pkg import errors
from pkg.errors import FieldViolation, OofggError, Reason

DOMAIN = "oofgg"
DETAILS_KEY = "grpc-status-details-bin"
_TYPE_PREFIX = "type.googleapis.com/google.rpc."
_NANOSECONDS = 1_000_000_000
# Message and details travel in the trailers, for which clients and proxies have room for 8 KiB at least. Beyond that
# the call fails with a code that says nothing. In base64 the details take a third more.
_MAX_DETAILS_BYTES = 4_000
_MAX_MESSAGE_CHARACTERS = 500
_MAX_MESSAGE_BYTES = 1_500
_MAX_VIOLATIONS = 20
_MAX_TEXT_CHARACTERS = 200
M = TypeVar("M", bound=Message)

_CODES: dict[type[OofggError], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
_CLASSES = {code: kind for kind, code in _CODES.items()}


def code_of(error: OofggError) -> grpc.StatusCode:
    """The gRPC code of an error, by the nearest class in the table."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


def to_details(error: OofggError, request_id: str) -> bytes:
    """The encoded google.rpc.Status for the trailer `grpc-status-details-bin`: at most 4,000 bytes.

    At most 20 violations are named; the last entry says how many more there are.
    """
    metadata = {key: _cut(value, _MAX_TEXT_CHARACTERS) for key, value in error.metadata.items()}
    info = errors_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=metadata)
    if request_id:
        info.metadata["request_id"] = request_id
    details = [_pack("ErrorInfo", info)]
    if error.retry_after is not None:
        retry = errors_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after * _NANOSECONDS))
        details.append(_pack("RetryInfo", retry))
    status = errors_pb2.Status(code=code_of(error).value[0], message=short_message(error), details=details)
    if error.violations:
        room = _MAX_DETAILS_BYTES - status.ByteSize()
        status.details.insert(1, _pack("BadRequest", _named(error.violations, room)))
    return status.SerializeToString()


def short_message(error: OofggError) -> str:
    """The message of an error, cut where it is too long for a trailer."""
    characters = _MAX_MESSAGE_CHARACTERS
    message = _cut(error.message, characters)
    while len(quote(message)) > _MAX_MESSAGE_BYTES:  # how it travels: a character outside ASCII takes up to 12 bytes
        characters //= 2
        message = _cut(message, characters)
    return message


def _named(violations: Sequence[FieldViolation], room: int) -> errors_pb2.BadRequest:
    """The first violations, as many as fit, and how many more there are."""
    bad = errors_pb2.BadRequest()
    for count, violation in enumerate(violations):
        entry = errors_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field, _MAX_TEXT_CHARACTERS),
            description=_cut(violation.description, _MAX_TEXT_CHARACTERS),
        )
        # What is packed has a few bytes more, and the entry that counts the rest has to fit, too.
        if count == _MAX_VIOLATIONS or bad.ByteSize() + entry.ByteSize() + 200 > room:
            bad.field_violations.add(description=f"and {len(violations) - count} more")
            break
        bad.field_violations.append(entry)
    return bad


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def from_rpc_error(error: grpc.aio.AioRpcError) -> OofggError:
    """The domain error behind a failed call to another service; without details, the nearest there is."""
    raw = next((value for key, value in error.trailing_metadata() or () if key == DETAILS_KEY), b"")
    status = errors_pb2.Status()
    try:
        status.ParseFromString(raw if isinstance(raw, bytes) else b"")
    except DecodeError:
        status.Clear()
    return from_status(status, error.code())


def from_status(status: errors_pb2.Status, code: grpc.StatusCode) -> OofggError:
    """The domain error that a status describes; without a reason of ours, the nearest there is."""
    info = _unpack(status.details, "ErrorInfo", errors_pb2.ErrorInfo())
    if info is None or info.reason not in Reason.__members__:
        return errors.backend_unavailable("Another service")
    kind = _CLASSES.get(code, errors.Internal)
    refined = kind(Reason(info.reason), status.message)
    refined.metadata = dict(info.metadata)
    if retry := _unpack(status.details, "RetryInfo", errors_pb2.RetryInfo()):
        refined.retry_after = retry.retry_delay.ToNanoseconds() / _NANOSECONDS
    if bad := _unpack(status.details, "BadRequest", errors_pb2.BadRequest()):
        refined.violations = [FieldViolation(v.field, v.description) for v in bad.field_violations]
    return refined


def _pack(name: str, message: Message) -> Any:
    return Any(type_url=_TYPE_PREFIX + name, value=message.SerializeToString())


def _unpack(details: Sequence[Any], name: str, into: M) -> M | None:
    for detail in details:
        if detail.type_url == _TYPE_PREFIX + name:
            into.ParseFromString(detail.value)
            return into
    return None
