"""Failures: from the wire to classes and reasons, and what a broken stream does about them."""

from __future__ import annotations

import random
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

import oofgg
from oofgg import _convert, errors
from oofgg._backoff import Backoff
from oofgg._reconnect import ReconnectPolicy
from oofgg.v1 import errors_pb2, session_pb2


def failure(code: grpc.StatusCode, details: bytes | None = None, *, in_headers: bool = False) -> grpc.aio.AioRpcError:
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", details)) if details is not None else grpc.aio.Metadata()
    empty = grpc.aio.Metadata()
    initial, trailing = (metadata, empty) if in_headers else (empty, metadata)
    return grpc.aio.AioRpcError(code, initial, trailing, details="plain text")


def status(*details: Any, message: str = "told") -> bytes:
    packed = [
        AnyMessage(type_url=f"type.googleapis.com/google.rpc.{type(d).__name__}", value=d.SerializeToString())
        for d in details
    ]
    return errors_pb2.Status(message=message, details=packed).SerializeToString()


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_has_a_class(code: grpc.StatusCode) -> None:
    error = errors.from_rpc_error(failure(code))
    assert error.code is code
    assert type(error).__name__.upper() == code.name.replace("_", "")
    assert (error.reason, error.message) == (oofgg.Reason.UNSPECIFIED, "plain text")


@pytest.mark.parametrize("in_headers", [True, False])
def test_details(in_headers: bool) -> None:
    retry = errors_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    info = errors_pb2.ErrorInfo(reason="INVALID_FIELD", metadata={"request_id": "r1", "more": "x"})
    violation = errors_pb2.BadRequest.FieldViolation(field="name", description="is too long")
    bad = errors_pb2.BadRequest(field_violations=[violation])
    raw = failure(grpc.StatusCode.INVALID_ARGUMENT, status(info, bad, retry), in_headers=in_headers)
    error = errors.from_rpc_error(raw)
    assert isinstance(error, errors.InvalidArgument)
    assert error.reason is oofgg.Reason.INVALID_FIELD
    assert error.violations == (errors.FieldViolation("name", "is too long"),)
    assert error.retry_after == 1.5
    assert error.request_id == "r1"
    assert error.metadata["more"] == "x"
    assert str(error) == "INVALID_ARGUMENT INVALID_FIELD: told: name: is too long (request r1)"


@pytest.mark.parametrize("details", [b"", b"\xff\xff", status(errors_pb2.ErrorInfo(reason="OF_TOMORROW"))])
def test_what_is_not_understood_is_unspecified(details: bytes) -> None:
    assert errors.from_rpc_error(failure(grpc.StatusCode.ABORTED, details)).reason is oofgg.Reason.UNSPECIFIED


def test_what_envoy_refuses_is_quoted_by_the_id_in_the_header() -> None:
    headers = grpc.aio.Metadata(("x-request-id", "r-1"))
    details = status(errors_pb2.ErrorInfo(reason="TOKEN_MISSING", domain="oofgg"))
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", details))
    error = errors.from_rpc_error(grpc.aio.AioRpcError(grpc.StatusCode.UNAUTHENTICATED, headers, trailers))
    assert (error.reason, error.request_id) == (oofgg.Reason.TOKEN_MISSING, "r-1")
    named = status(errors_pb2.ErrorInfo(reason="TOKEN_MISSING", domain="oofgg", metadata={"request_id": "r-2"}))
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", named))
    error = errors.from_rpc_error(grpc.aio.AioRpcError(grpc.StatusCode.UNAUTHENTICATED, headers, trailers))
    assert error.request_id == "r-2"


class TestReconnecting:
    def policy(self) -> ReconnectPolicy:
        return ReconnectPolicy(60.0, Backoff(random=random.Random(1)))

    @pytest.mark.parametrize(
        "error",
        [
            errors.Unavailable(),
            errors.Internal("RST_STREAM"),
            errors.Unknown(),
            errors.Cancelled(),
            errors.DeadlineExceeded(reason=oofgg.Reason.DEADLINE),
            errors.ResourceExhausted(reason=oofgg.Reason.SLOW_CONSUMER),
            errors.ResourceExhausted(reason=oofgg.Reason.RATE_LIMITED, retry_after=1.0),
        ],
        ids=repr,
    )
    def test_what_passes(self, error: oofgg.OofggError) -> None:
        retry = self.policy().next(error, 0.0)
        assert (error.retry_after or 0) < retry.delay < 0.2 + (error.retry_after or 0)
        assert not retry.renew
        assert not retry.restart

    @pytest.mark.parametrize(
        "error",
        [
            errors.Aborted(reason=oofgg.Reason.REPLACED),
            errors.Unauthenticated(reason=oofgg.Reason.TOKEN_REVOKED),
            errors.NotFound(reason=oofgg.Reason.SESSION_NOT_FOUND),
            errors.PermissionDenied(reason=oofgg.Reason.NOT_A_PARTICIPANT),
            errors.InvalidArgument(reason=oofgg.Reason.PROTOCOL_VIOLATION),
            errors.Internal(reason=oofgg.Reason.INTERNAL),
        ],
        ids=lambda error: error.reason,
    )
    def test_what_does_not(self, error: oofgg.OofggError) -> None:
        with pytest.raises(type(error)):
            self.policy().next(error, 0.0)

    def test_another_node_is_asked_at_once(self) -> None:
        policy = self.policy()
        moved = errors.FailedPrecondition(reason=oofgg.Reason.WRONG_NODE, metadata={"node": "b"})
        first = policy.next(moved, 0.0)
        assert (first.delay, first.node) == (0.0, "b")
        assert policy.next(moved, 0.0).delay > 0, "nodes that point at each other are not asked in a circle"

    def test_a_dead_node_is_forgotten(self) -> None:
        assert self.policy().next(errors.Unavailable(), 0.0).node == ""
        assert self.policy().next(errors.ResourceExhausted(), 0.0).node is None

    def test_tokens_are_renewed_but_not_for_ever(self) -> None:
        policy = self.policy()
        expired = errors.Unauthenticated(reason=oofgg.Reason.TOKEN_EXPIRED)
        assert policy.next(expired, 0.0).renew
        assert policy.next(expired, 0.0).renew
        with pytest.raises(errors.Unauthenticated):
            policy.next(expired, 0.0)

    def test_a_log_that_is_gone_means_beginning_again(self) -> None:
        assert self.policy().next(errors.OutOfRange(reason=oofgg.Reason.RESUME_TOO_OLD), 0.0).restart

    def test_patience_ends_and_a_stream_that_opened_renews_it(self) -> None:
        policy = self.policy()
        policy.next(errors.Unavailable(), 0.0)
        policy.next(errors.Unavailable(), 59.0)
        policy.worked(0.5)
        policy.next(errors.Unavailable(), 100.0)
        with pytest.raises(errors.Unavailable):
            policy.next(errors.Unavailable(), 161.0)

    def test_waits_grow_and_are_bounded(self) -> None:
        policy = self.policy()
        delays = [policy.next(errors.Unavailable(), 0.0).delay for _ in range(50)]
        assert max(delays[:2]) < 0.2
        assert all(0.5 <= delay <= 2.0 for delay in delays[10:])
        policy.worked(60.0)
        assert policy.next(errors.Unavailable(), 0.0).delay <= 0.1


@pytest.mark.parametrize(
    ("value", "data", "kind"),
    [
        (b"\x00", b"\x00", ""),
        (bytearray(b"a"), b"a", ""),
        ("ä", "ä".encode(), ""),
        ({"a": [1, None, "ä"]}, '{"a":[1,null,"ä"]}'.encode(), ""),
        (7, b"7", ""),
        (session_pb2.Placement(node="n"), b"\x0a\x01n", "oofgg.v1.Placement"),
    ],
    ids=["bytes", "bytearray", "text", "json", "number", "protobuf"],
)
def test_payloads(value: object, data: bytes, kind: str) -> None:
    assert _convert.payload(value) == (data, kind)
