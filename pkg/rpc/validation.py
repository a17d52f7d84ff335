"""Field constraints of the protos, enforced at the edge of a service.

Besides what a field declares, every field of a request has the default rules of `proto/defaults.py`: a value that is
accepted here fits whatever stores it. See docs/architecture/requests.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from protovalidate import Validator

from pkg.errors import FieldViolation, InvalidArgument, Reason

_TIMESTAMP: Final = "google.protobuf.Timestamp"
_MAX_NANOS: Final = 999_999_999
# What the default patterns of `proto/defaults.py` ask for, in words.
_PATTERNS: Final[Mapping[str, str]] = {
    r"^[^\x00-\x1f\x7f-\x9f]*$": "must not contain control characters",
    r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$": "must not contain control characters other than tabs and line breaks",
}


# From Envoy: fields of a JSON body that its message does not have (envoy/json_bodies.py). Clients cannot send it.
UNKNOWN_FIELDS_HEADER: Final = "x-oofgg-unknown-fields"


class Malformed:
    """Stands for bytes that are not a message of the expected type."""

    __slots__ = ("type_name",)

    def __init__(self, type_name: str) -> None:
        self.type_name = type_name


def parser_of(kind: type[Message]) -> Callable[[bytes], Message | Malformed]:
    """A parser that does not raise: the refusal belongs to the pipeline, where it becomes a typed error."""
    malformed = Malformed(kind.DESCRIPTOR.full_name)
    parse = kind.FromString

    def parse_or_mark(data: bytes) -> Message | Malformed:
        try:
            return parse(data)
        except DecodeError:
            return malformed

    return parse_or_mark


class MessageValidator:
    """Checks messages against the constraints in their protos (4 µs a message, 2 µs a command in it)."""

    def __init__(self) -> None:
        self._validator = Validator()

    def check(self, message: Message | Malformed) -> None:
        """Raises InvalidArgument naming every refused field."""
        if isinstance(message, Malformed):
            raise InvalidArgument(
                Reason.INVALID_FIELD,
                f"The bytes of this request are not a {message.type_name}. Texts must be UTF-8.",
                violations=[FieldViolation("", "not a message of this type")],
            )
        found = self._validator.collect_violations(message)
        times = _times_in(message.DESCRIPTOR)
        if not found and not times:
            return
        violations = [FieldViolation(_path(violation.proto.field), _description(violation)) for violation in found]
        violations += [
            FieldViolation(path, "nanos must be between 0 and 999,999,999")
            for path, time in _timestamps(message, times)
            if not 0 <= time.nanos <= _MAX_NANOS
        ]
        if violations:
            first = violations[0]
            raise InvalidArgument(Reason.INVALID_FIELD, f"{first.field}: {first.description}", violations=violations)


def unknown_fields(message: Any, told: str) -> InvalidArgument:
    """The error for fields of a JSON body that no field of the message stands for; `told` has their paths."""
    violations = [
        FieldViolation(path, f"is not a field of this request.{_hint(message.DESCRIPTOR, path)}")
        for path in told.split(",")
    ]
    first = violations[0]
    return InvalidArgument(Reason.INVALID_FIELD, f"{first.field}: {first.description}", violations=violations)


def _hint(kind: Descriptor, path: str) -> str:
    """Which field was probably meant."""
    *above, name = path.split(".")
    inner: Descriptor | None = kind
    for step in above:
        field = inner.fields_by_camelcase_name.get(step) or inner.fields_by_name.get(step) if inner else None
        inner = field.message_type if field is not None else None
    if inner is None:
        return ""
    plain = {field.name.replace("_", ""): field.name for field in inner.fields}
    close = get_close_matches(name.replace("_", "").lower(), plain, n=1)
    return (
        f" Did you mean `{plain[close[0]]}`?" if close else f" It has {', '.join(f'`{f.name}`' for f in inner.fields)}."
    )


@dataclass(frozen=True, slots=True)
class _TimeField:
    """A field that is a timestamp, or that has timestamps in it (`inner`)."""

    name: str
    is_repeated: bool
    inner: tuple[_TimeField, ...]


@cache
def _times_in(kind: Descriptor) -> tuple[_TimeField, ...]:
    """Where a message has timestamps; request messages do not nest in themselves. Maps of messages have none."""
    found = []
    for field in kind.fields:
        inner_kind = field.message_type
        if inner_kind is None or inner_kind.GetOptions().map_entry:
            continue
        inner = () if inner_kind.full_name == _TIMESTAMP else _times_in(inner_kind)
        if inner or inner_kind.full_name == _TIMESTAMP:
            found.append(_TimeField(field.name, field.is_repeated, inner))
    return tuple(found)


def _timestamps(message: Any, fields: tuple[_TimeField, ...], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The timestamps that are set in a message, with their paths."""
    for field in fields:
        if field.is_repeated:
            values = [
                (f"{prefix}{field.name}[{index}]", value) for index, value in enumerate(getattr(message, field.name))
            ]
        elif message.HasField(field.name):
            values = [(prefix + field.name, getattr(message, field.name))]
        else:
            continue
        for path, value in values:
            if field.inner:
                yield from _timestamps(value, field.inner, f"{path}.")
            else:
                yield path, value


def _description(violation: Any) -> str:
    """What is wrong with a value, in words where the rule is a pattern or a range of times."""
    told = violation.proto
    if told.rule_id == "string.pattern":
        return next((words for pattern, words in _PATTERNS.items() if f"`{pattern}`" in told.message), told.message)
    if told.rule_id.startswith("timestamp."):
        return "must be a time of the years 1 to 9999"
    return str(told.message)


def _path(path: object) -> str:
    """`result.seats[1].placement` for a protovalidate FieldPath."""
    parts = []
    for element in getattr(path, "elements", ()):
        subscript = element.subscript
        suffix = "" if subscript is None else f"[{subscript.value}]"
        parts.append(element.field_name + suffix)
    return ".".join(parts)
