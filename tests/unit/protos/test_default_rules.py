"""Every field of every request has a rule, declared or by default: what is accepted fits what stores it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from oofgg.v1 import history_pb2, session_pb2
from pkg.errors import InvalidArgument
from pkg.internal.v1 import catalog_pb2, rating_pb2
from pkg.internal.v1 import session_pb2 as internal_session_pb2
from pkg.rpc.validation import MessageValidator
from tests.e2e.callers import MODULES

INTERNAL = (catalog_pb2, rating_pb2, internal_session_pb2)
REQUESTS = {
    method.input_type.full_name: method.input_type
    for module in (*MODULES, *INTERNAL)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
VALIDATOR = MessageValidator()
KIND = FieldDescriptor
TEXTS = ["\0", "a\0b", "\x07", "\x85", "\x7f", "x" * 70_000]
WHOLE: dict[int, list[Any]] = {
    KIND.TYPE_UINT32: [2**31, 2**32 - 1],
    KIND.TYPE_UINT64: [2**63, 2**64 - 1],
    KIND.TYPE_DOUBLE: [math.nan, math.inf, -math.inf],
    KIND.TYPE_ENUM: [99, -1],
    KIND.TYPE_STRING: TEXTS,
}
TIMES: list[Any] = [(-62_135_596_801, 0), (253_402_300_800, 0), (2**63 - 1, 0), (-(2**63), 0), (0, -1), (0, 10**9)]


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def in_map(field: FieldDescriptor) -> bool:
    """Whether it is the key or the value of a map."""
    return field.containing_type is not None and field.containing_type.GetOptions().map_entry


def fields(kind: Descriptor, above: tuple[FieldDescriptor, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """All fields that a message can have, each with the way that leads to it."""
    for field in kind.fields:
        way = (*above, field)
        yield way
        inner = field.message_type
        if inner is not None and not inner.full_name.startswith("google."):
            yield from fields(inner, way)


def ways(kind: Descriptor) -> Iterator[tuple[FieldDescriptor, ...]]:
    for way in fields(kind):
        last = way[-1]
        if last.type in WHOLE or (last.message_type and last.message_type.full_name == "google.protobuf.Timestamp"):
            yield way


def bad_values(field: FieldDescriptor) -> list[Any]:
    return TIMES if field.message_type is not None else WHOLE[field.type]


def spoilt(kind: Descriptor, way: tuple[FieldDescriptor, ...], value: Any) -> Message:
    """A request with this value at the end of this way, and nothing else."""
    request = GetMessageClass(kind)()
    target: Any = request
    for index, field in enumerate(way):
        last = index == len(way) - 1
        inner = field.message_type
        if inner is not None and is_map(field):
            entry = way[index + 1]
            key_value: Any = {KIND.TYPE_STRING: "k"}.get(inner.fields_by_name["key"].type, 1)
            found = getattr(target, field.name)
            if entry.name == "key":
                key_value = value
            if inner.fields_by_name["value"].message_type is not None:
                target = found[key_value]
                if entry.name == "key":
                    return request
                continue
            found[key_value] = value if entry.name == "value" else type(found[key_value])()
            return request
        if in_map(field):
            continue  # its value is a message, which is the target already
        if last and inner is not None:
            time = getattr(target, field.name)
            time = time.add() if field.is_repeated else time
            time.seconds, time.nanos = value
        elif last:
            if field.is_repeated:
                getattr(target, field.name).append(value)
            else:
                setattr(target, field.name, value)
        else:
            target = getattr(target, field.name).add() if field.is_repeated else getattr(target, field.name)
    return request


def refused(message: Message) -> list[str]:
    try:
        VALIDATOR.check(message)
    except InvalidArgument as error:
        return [violation.field.replace("]", "").replace("[", ".") for violation in error.violations]
    return []


CASES = [
    pytest.param(kind, way, id=f"{kind.name} {'.'.join(field.name for field in way)}")
    for kind in REQUESTS.values()
    for way in ways(kind)
]


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_a_value_that_nothing_could_store_is_refused_by_the_name_of_its_field(
    kind: Descriptor, way: tuple[FieldDescriptor, ...]
) -> None:
    names = [field.name for field in way if not in_map(field)]
    accepted = []
    for value in bad_values(way[-1]):
        found = refused(spoilt(kind, way, value))
        if not any(set(names) <= set(path.split(".")) for path in found):
            accepted.append(value)
    assert accepted == []


@pytest.mark.parametrize(
    "way",
    [
        pytest.param((kind, way), id=f"{kind.name} {'.'.join(field.name for field in way)}")
        for kind in REQUESTS.values()
        for way in fields(kind)
        if way[-1].is_repeated and not is_map(way[-1])
    ],
)
def test_no_list_is_endless(way: tuple[Descriptor, tuple[FieldDescriptor, ...]]) -> None:
    kind, path = way
    request = GetMessageClass(kind)()
    target: Any = request
    for field in path[:-1]:
        if in_map(field):
            continue
        if is_map(field):
            target = getattr(target, field.name)["k"]
        else:
            target = getattr(target, field.name).add() if field.is_repeated else getattr(target, field.name)
    items = getattr(target, path[-1].name)
    if path[-1].message_type is not None:
        for _ in range(1_025):
            items.add()
    else:
        items.extend([{KIND.TYPE_STRING: "x"}.get(path[-1].type, 1)] * 1_025)
    assert any(found.endswith(path[-1].name) for found in refused(request))


def test_violations_say_in_words_what_is_wrong() -> None:
    request = history_pb2.ListMatchesRequest(game_id="g\0")
    request.filter.from_time.seconds = 2**62
    request.filter.until_time.nanos = -1
    with pytest.raises(InvalidArgument) as caught:
        VALIDATOR.check(request)
    assert {violation.field: violation.description for violation in caught.value.violations} == {
        "game_id": "must not contain control characters",
        "filter.from_time": "must be a time of the years 1 to 9999",
        "filter.until_time": "nanos must be between 0 and 999,999,999",
    }


def test_a_text_that_declares_several_lines_may_have_them_and_still_no_nul() -> None:
    request = session_pb2.CreateSessionRequest(game_id="g", attributes={"map": "a\n\tb\r\n"})
    VALIDATOR.check(request)
    request.attributes["map"] = "a\0"
    with pytest.raises(InvalidArgument, match="tabs and line breaks"):
        VALIDATOR.check(request)
