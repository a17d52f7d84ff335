"""Requests that could be meant, and the same with extreme values in their fields, made from the protos alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

KIND = FieldDescriptor
TEXTS = ["\0", "a\0b", "\n", "\u202e", "\U0010ffff", "x" * 64, "é" * 32, "x" * 70_000, "' or 1=1 --", "%s{}", "-1"]
INT64 = [2**31, 2**53 + 1, 2**63 - 1, -(2**63), -1]
EXTREMES: dict[int, list[Any]] = {
    KIND.TYPE_STRING: TEXTS,
    KIND.TYPE_BYTES: [b"\0", b"\xff" * 64, b"x" * 70_000],
    KIND.TYPE_UINT32: [2**31 - 1, 2**31, 2**32 - 1],
    KIND.TYPE_UINT64: [2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1],
    KIND.TYPE_INT32: [2**31 - 1, -(2**31)],
    KIND.TYPE_INT64: INT64,
    KIND.TYPE_DOUBLE: [math.nan, math.inf, -math.inf, 1e-300, -1e-300, 1e308, -1e308, -0.0],
    KIND.TYPE_ENUM: [-1, 99, 2**31 - 1],
    KIND.TYPE_BOOL: [True, False],
}
TIMES = [
    (-62_135_596_800, 0), (-62_135_596_801, 0), (253_402_300_799, 999_999_999), (253_402_300_800, 0),
    (2**63 - 1, 0), (-(2**63), 0), (0, -1), (0, 2**31 - 1), (0, 0),
]  # fmt: skip


def plausible(kind: Descriptor, known: dict[str, Any], chosen: str = "", depth: int = 0) -> Any:
    """A message in which every field has a value that is usual for its name or kind.

    Of the fields of a oneof, the one named `chosen`, or the first.
    """
    message: Any = GetMessageClass(kind)()
    for field in kind.fields:
        choice = field.containing_oneof
        if choice is not None and len(choice.fields) > 1 and field.name != (chosen or choice.fields[0].name):
            continue
        put(message, field, usual(field, known, depth))
    return message


def usual(field: FieldDescriptor, known: dict[str, Any], depth: int) -> Any:
    inner = field.message_type
    if (field.name in known and known[field.name] is None) or depth > 4:
        return None
    if inner is not None:
        if inner.full_name == "google.protobuf.Timestamp":
            return (int(time.time()) + 3_600, 0)
        if inner.full_name.startswith("google."):
            return None
        if inner.GetOptions().map_entry:
            return {"map": usual(inner.fields_by_name["value"], known, depth + 1)}
        choices = [one.name for choice in inner.oneofs if len(choice.fields) > 1 for one in choice.fields]
        if field.is_repeated and choices:
            return [plausible(inner, known, chosen, depth + 1) for chosen in choices]
        return plausible(inner, known, "", depth + 1)
    type_of = {KIND.TYPE_STRING: str, KIND.TYPE_DOUBLE: float}.get(field.type, int)
    if type(known.get(field.name)) is type_of:
        return known[field.name]
    return {KIND.TYPE_STRING: "x" * 16, KIND.TYPE_BYTES: b"x", KIND.TYPE_DOUBLE: 1.0, KIND.TYPE_BOOL: False}.get(
        field.type, 1
    )


def put(message: Any, field: FieldDescriptor, value: Any) -> None:
    if value is None:
        return
    target = getattr(message, field.name)
    inner = field.message_type
    if isinstance(value, list):
        target.extend(value)
        return
    if isinstance(value, dict):
        for key, one in value.items():
            if inner is not None and inner.fields_by_name["value"].message_type is not None:
                target[key].CopyFrom(one)
            else:
                target[key] = one
    elif inner is not None and inner.full_name == "google.protobuf.Timestamp":
        time_of = target.add() if field.is_repeated else target
        time_of.seconds, time_of.nanos = value
    elif inner is not None:
        (target.add() if field.is_repeated else target).CopyFrom(value)
    elif field.is_repeated:
        target.append(value)
    else:
        setattr(message, field.name, value)


def extremes(request: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The request with one extreme value at a time, in each of the fields it has, and where that was."""
    root = type(request)

    def walk(message: Any, here: str, rebuild: Any) -> Iterator[tuple[str, Any]]:
        for field in message.DESCRIPTOR.fields:
            name = f"{here}{field.name}"
            inner = field.message_type

            def changed(change: Any, field: FieldDescriptor = field) -> Any:
                copy = type(message)()
                copy.CopyFrom(message)
                change(copy, field)
                return rebuild(copy)

            if inner is not None and inner.full_name == "google.protobuf.Timestamp":
                for moment in TIMES:
                    yield name, changed(lambda copy, field, moment=moment: put(copy, field, moment))
            elif inner is not None and inner.full_name == "google.protobuf.FieldMask":
                for text in (*TEXTS, "game.name", ".", "a.b.c"):
                    yield name, changed(lambda copy, field, text=text: getattr(copy, field.name).paths.append(text))
            elif inner is not None and inner.GetOptions().map_entry:
                yield from walk_map(name, field, changed)
            elif inner is not None:
                values = list(getattr(message, field.name)) if field.is_repeated else [getattr(message, field.name)]
                if field.is_repeated and values:
                    yield name, changed(lambda copy, field, v=values: getattr(copy, field.name).extend(v * 1_100))
                for index, value in enumerate(values):

                    def nested(
                        new: Any, field: FieldDescriptor = field, changed: Any = changed, index: int = index
                    ) -> Any:
                        def replace(copy: Any, field: FieldDescriptor) -> None:
                            place = getattr(copy, field.name)
                            (place[index] if field.is_repeated else place).CopyFrom(new)

                        return changed(replace)

                    if field.is_repeated or message.HasField(field.name):
                        yield from walk(value, f"{name}.", nested)
            elif field.is_repeated:
                for value in EXTREMES[field.type]:
                    yield name, changed(lambda copy, field, value=value: getattr(copy, field.name).append(value))
                usual_one = list(getattr(message, field.name))[:1]
                yield name, changed(lambda copy, field, one=usual_one: getattr(copy, field.name).extend(one * 5_000))
            else:
                for value in EXTREMES[field.type]:
                    yield name, changed(lambda copy, field, value=value: setattr(copy, field.name, value))

    def walk_map(name: str, field: Any, changed: Any) -> Iterator[tuple[str, Any]]:
        value = field.message_type.fields_by_name["value"]
        for key in TEXTS:

            def add_key(copy: Any, field: FieldDescriptor, key: str = key) -> None:
                entries = getattr(copy, field.name)
                if value.message_type is not None:
                    entries[key].SetInParent()
                else:
                    entries[key] = {KIND.TYPE_STRING: "v"}.get(value.type, 1)

            yield f"{name} key", changed(add_key)
        if value.message_type is None:
            for extreme in EXTREMES[value.type]:

                def set_value(copy: Any, field: FieldDescriptor, extreme: Any = extreme) -> None:
                    getattr(copy, field.name)["k"] = extreme

                yield f"{name} value", changed(set_value)

    yield from walk(request, path, lambda new: new)
    assert isinstance(request, root)
