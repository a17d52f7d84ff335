"""Domain errors on the wire and back: one table, used in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

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
    """The encoded google.rpc.Status for the trailer `grpc-status-details-bin`."""
    info = errors_pb2.ErrorInfo(reason=error.reason.value, domain=DOMAIN, metadata=error.metadata)
    if request_id:
        info.metadata["request_id"] = request_id
    details = [_pack("ErrorInfo", info)]
    if error.violations:
        bad = errors_pb2.BadRequest()
        for violation in error.violations:
            bad.field_violations.add(field=violation.field, description=violation.description)
        details.append(_pack("BadRequest", bad))
    if error.retry_after is not None:
        retry = errors_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after * _NANOSECONDS))
        details.append(_pack("RetryInfo", retry))
    status = errors_pb2.Status(code=code_of(error).value[0], message=error.message, details=details)
    return status.SerializeToString()


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
