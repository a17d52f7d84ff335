"""Domain errors, and their way over the wire and back."""

from __future__ import annotations

from urllib.parse import quote

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from hypothesis import given
from hypothesis import strategies as st

from oofgg.v1 import errors_pb2
from pkg import errors
from pkg.errors import FieldViolation, OofggError, Reason
from pkg.rpc import status

MANY = [FieldViolation(f"players[{index}].attributes.texts[{'k' * 300}]", "must be shorter") for index in range(512)]
CLASSES = [
    errors.InvalidArgument,
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.NotFound,
    errors.AlreadyExists,
    errors.FailedPrecondition,
    errors.ResourceExhausted,
    errors.OutOfRange,
    errors.Aborted,
    errors.Unavailable,
    errors.DeadlineExceeded,
    errors.Internal,
]


def over_the_wire(error: OofggError, request_id: str) -> OofggError:
    trailers = Metadata((status.DETAILS_KEY, status.to_details(error, request_id)))
    return status.from_rpc_error(AioRpcError(status.code_of(error), Metadata(), trailers, error.message))


def test_reasons_are_those_of_the_protos() -> None:
    declared = {name.removeprefix("ERROR_REASON_") for name in list(errors_pb2.ErrorReason.keys())}
    assert {reason.value for reason in Reason} == declared - {"UNSPECIFIED"}
    assert all(reason.name == reason.value for reason in Reason)


@given(
    kind=st.sampled_from(CLASSES),
    reason=st.sampled_from(list(Reason)),
    message=st.text(max_size=100),
    metadata=st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=4),
    violations=st.lists(st.builds(FieldViolation, st.text(max_size=20), st.text(max_size=20)), max_size=8),
    retry_after=st.none() | st.integers(0, 10_000).map(lambda ms: ms / 1000),
)
def test_errors_survive_the_wire(
    kind: type[OofggError],
    reason: Reason,
    message: str,
    metadata: dict[str, str],
    violations: list[FieldViolation],
    retry_after: float | None,
) -> None:
    error = kind(reason, message)
    error.metadata, error.violations, error.retry_after = metadata, violations, retry_after
    received = over_the_wire(error, "")
    assert type(received) is kind
    assert (received.reason, received.message, received.metadata) == (reason, message, metadata)
    assert list(received.violations) == violations
    # Unavailable always says when to come back.
    assert received.retry_after == (retry_after if retry_after is not None else kind(reason, "").retry_after)


@given(
    message=st.text(max_size=5_000),
    metadata=st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=5_000), max_size=4),
    violations=st.lists(st.builds(FieldViolation, st.text(), st.text()), max_size=100) | st.just(MANY),
)
def test_an_error_of_any_size_fits_into_the_trailers(
    message: str, metadata: dict[str, str], violations: list[FieldViolation]
) -> None:
    error = errors.InvalidArgument(Reason.INVALID_FIELD, message, violations=violations)
    error.metadata = metadata
    assert len(status.to_details(error, "x" * 64)) <= 4_000
    assert len(quote(status.short_message(error))) <= 1_500


@pytest.mark.parametrize("count", [1, 20, 21, 512])
def test_an_error_names_twenty_violations_and_counts_the_rest(count: int) -> None:
    violations = [FieldViolation(f"result.seats[{index}].seat", "nobody has this seat") for index in range(count)]
    received = over_the_wire(errors.InvalidArgument(Reason.INVALID_FIELD, "wrong", violations=violations), "")
    named = [violation for violation in received.violations if violation.field]
    assert named == violations[:20]
    counted = [violation.description for violation in received.violations if not violation.field]
    assert counted == ([f"and {count - 20} more"] if count > 20 else [])


def test_the_request_id_is_in_every_error() -> None:
    received = over_the_wire(errors.NotFound(Reason.GAME_NOT_FOUND, "none"), "request-0001")
    assert received.metadata == {"request_id": "request-0001"}


def test_details_travel_under_the_names_every_tool_knows() -> None:
    details = errors_pb2.Status.FromString(status.to_details(errors.backend_unavailable("Redis"), "x"))
    assert [detail.type_url for detail in details.details] == [
        "type.googleapis.com/google.rpc.ErrorInfo",
        "type.googleapis.com/google.rpc.RetryInfo",
    ]
    assert details.code == grpc.StatusCode.UNAVAILABLE.value[0]


@pytest.mark.parametrize(
    "trailers",
    [
        pytest.param((), id="none"),
        pytest.param(((status.DETAILS_KEY, b"\xff\xff"),), id="garbage"),
        pytest.param(((status.DETAILS_KEY, b""),), id="empty"),
    ],
)
def test_a_failure_without_details_is_a_service_that_does_not_answer(trailers: tuple[tuple[str, bytes], ...]) -> None:
    error = AioRpcError(grpc.StatusCode.INTERNAL, Metadata(), Metadata(*trailers), "broken")
    received = status.from_rpc_error(error)
    assert type(received) is errors.Unavailable
    assert received.reason is Reason.BACKEND_UNAVAILABLE
