"""Every RPC refuses what is missing, too large or of the wrong kind, and names the field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import protovalidate
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from oofgg.v1 import access_pb2
from pkg.embedded import Platform
from pkg.errors import Reason
from tests.e2e.callers import METHODS, Cast, Metadata, call, make_admin, make_cast, outcome, request_of

HUGE = "x" * 70_000
MOST = {FieldDescriptor.TYPE_UINT32: 2**32 - 1, FieldDescriptor.TYPE_UINT64: 2**64 - 1}


def spoiled(message: Message, path: str = "") -> Iterator[tuple[str, Any]]:
    """For each field, its path and a function that gives a request a value too large for it."""
    for field in message.DESCRIPTOR.fields:
        name = path + field.name
        if field.message_type is not None and not field.is_repeated and not path:
            if field.message_type.full_name.startswith("oofgg."):
                yield from spoiled(getattr(message, field.name), f"{name}.")
        elif field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            yield name, HUGE
        elif field.type in MOST and not field.is_repeated:
            yield name, MOST[field.type]
        elif field.type == FieldDescriptor.TYPE_ENUM and not field.is_repeated:
            yield name, 99


def with_value(method: MethodDescriptor, path: str, value: Any) -> Message:
    request = request_of(method)
    target = request
    *parents, last = path.split(".")
    for parent in parents:
        target = getattr(target, parent)
    setattr(target, last, value)
    return request


def refused_fields(request: Message) -> set[str]:
    return {
        ".".join(element.field_name for element in getattr(violation.proto.field, "elements", ()))
        for violation in protovalidate.Validator().collect_violations(request)
    }


def caller_of(method: MethodDescriptor, cast: Cast) -> Metadata:
    declared = set(method.GetOptions().Extensions[access_pb2.access])
    if access_pb2.ACCESS_PUBLIC in declared:
        return ()
    if declared == {access_pb2.ACCESS_ADMIN}:
        return cast.admin
    return cast.player if access_pb2.ACCESS_PLAYER in declared else cast.developer


CASES = [
    pytest.param(method, path, value, id=f"{method.containing_service.name}.{method.name} {path}")
    for method in METHODS
    for path, value in spoiled(request_of(method))
    if path in refused_fields(with_value(method, path, value))
]


@pytest.fixture(scope="session")
def known_cast() -> dict[str, Cast]:
    return {}


@pytest.fixture
async def cast(channel: grpc.aio.Channel, platform: Platform, known_cast: dict[str, Cast]) -> Cast:
    if "cast" not in known_cast:
        known_cast["cast"] = replace(await make_cast(channel), admin=await make_admin(channel, platform))
    return known_cast["cast"]


def test_there_is_a_bound_on_every_text() -> None:
    unbounded = [
        f"{method.full_name} {path}"
        for method in METHODS
        for path, value in spoiled(request_of(method))
        # `game.game_id` and the output-only fields of what is updated are looked up or ignored.
        if value is HUGE
        and not path.startswith(("game.", "account."))
        and path not in refused_fields(with_value(method, path, value))
    ]
    assert unbounded == []


@pytest.mark.parametrize(("method", "path", "value"), CASES)
async def test_too_much_is_refused_by_name(
    channel: grpc.aio.Channel, cast: Cast, method: MethodDescriptor, path: str, value: Any
) -> None:
    code, error = await outcome(call(channel, method, caller_of(method, cast), with_value(method, path, value)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert error is not None
    assert error.reason is Reason.INVALID_FIELD
    assert path in {violation.field for violation in error.violations}


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, id=f"{method.containing_service.name}.{method.name}")
        for method in METHODS
        if refused_fields(request_of(method))
    ],
)
async def test_what_is_missing_is_named(channel: grpc.aio.Channel, cast: Cast, method: MethodDescriptor) -> None:
    code, error = await outcome(call(channel, method, caller_of(method, cast)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert error is not None
    assert {violation.field for violation in error.violations} >= refused_fields(request_of(method))


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, id=f"{m.containing_service.name}.{m.name}") for m in METHODS if not m.client_streaming],
)
async def test_bytes_that_are_no_message_are_refused(
    channel: grpc.aio.Channel, cast: Cast, method: MethodDescriptor
) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"
    garbage = b"\xff\xff\xff"
    if method.server_streaming:
        attempt: Any = channel.unary_stream(path, bytes, bytes)(
            garbage, metadata=caller_of(method, cast), timeout=5
        ).read()
    else:
        attempt = channel.unary_unary(path, bytes, bytes)(garbage, metadata=caller_of(method, cast), timeout=5)
    code, error = await outcome(attempt)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert error is not None
    assert error.reason is Reason.INVALID_FIELD


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\u202e", "💥" * 8, "' or 1=1 --"])
async def test_strange_text_is_an_error_of_the_caller(channel: grpc.aio.Channel, cast: Cast, text: str) -> None:
    for method in METHODS:
        if method.client_streaming or method.server_streaming or method.name in ("Logout", "RevokeAllLogins"):
            continue  # the last two would end the login that the next calls need
        request = request_of(method)
        for field in method.input_type.fields:
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                setattr(request, field.name, text)
        code, _ = await outcome(call(channel, method, caller_of(method, cast), request))
        assert code not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), method.full_name
