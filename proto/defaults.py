"""Rules that hold for every field of a request unless its proto declares others.

A value of a request must fit whatever stores it: texts without control characters, numbers within PostgreSQL's types,
times of the calendar, lists of bounded length. These rules are written into the options of the fields when code is
generated, so that services, reflection and clients that validate by themselves see the same rules
(docs/architecture/requests.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

# Field options: buf.validate.field, and oofgg.v1.text with its value TEXT_MULTILINE.
VALIDATE: Final = "buf.validate.field"
TEXT: Final = "oofgg.v1.text"
MULTILINE: Final = 1

# Not even declared texts may contain NUL, which PostgreSQL cannot store.
SINGLE_LINE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
MANY_LINES: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
MOST_CHARACTERS: Final = 1_024
MOST_ITEMS: Final = 1_000
MOST_UINT32: Final = 2**31 - 1
MOST_UINT64: Final = 2**63 - 1
# Years 1 to 9999: what google.protobuf.Timestamp allows, and Python and PostgreSQL hold.
FIRST_SECOND: Final = -62_135_596_800
LAST_SECOND: Final = 253_402_300_799

_TYPES: Final = {
    FieldDescriptorProto.TYPE_STRING: "string",
    FieldDescriptorProto.TYPE_UINT32: "uint32",
    FieldDescriptorProto.TYPE_UINT64: "uint64",
    FieldDescriptorProto.TYPE_DOUBLE: "double",
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_ENUM: "enum",
}
_TIMESTAMP: Final = ".google.protobuf.Timestamp"


def add_default_rules(described: FileDescriptorSet) -> None:
    """Writes the rules into the options of all fields that a request can reach."""
    options_type = _options_type(described)
    messages = {name: message for file in described.file for name, message in _messages(f".{file.package}", file)}
    waiting = {method.input_type for file in described.file for service in file.service for method in service.method}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or not name.startswith((".oofgg.", ".pkg.")):
            continue
        seen.add(name)
        for field in messages[name].field:
            if field.type == FieldDescriptorProto.TYPE_MESSAGE:
                waiting.add(field.type_name)
            options = options_type.FromString(field.options.SerializeToString())
            # What one service tells another has passed a door before, where several lines may have been allowed.
            _complete(field, options, messages, internal=name.startswith(".pkg."))
            field.options.ParseFromString(options.SerializeToString(deterministic=True))


def _complete(
    field: FieldDescriptorProto, options: Any, messages: dict[str, DescriptorProto], *, internal: bool
) -> None:
    extensions = {
        extension.full_name: extension
        for extension in options.DESCRIPTOR.file.pool.FindAllExtensions(options.DESCRIPTOR)
    }
    rules = options.Extensions[extensions[VALIDATE]]
    multiline = internal or options.Extensions[extensions[TEXT]] == MULTILINE
    entry = messages.get(field.type_name)
    if entry is not None and entry.options.map_entry:
        if not rules.map.HasField("max_pairs"):
            rules.map.max_pairs = MOST_ITEMS
        key, value = entry.field
        _complete_value(key, rules.map.keys, multiline=internal)
        _complete_value(value, rules.map.values, multiline=multiline)
    elif field.label == FieldDescriptorProto.LABEL_REPEATED:
        if not rules.repeated.HasField("max_items"):
            rules.repeated.max_items = MOST_ITEMS
        _complete_value(field, rules.repeated.items, multiline=multiline)
    else:
        _complete_value(field, rules, multiline=multiline)


def _complete_value(field: FieldDescriptorProto, rules: Any, *, multiline: bool) -> None:
    """What holds for one value: the field's own, an item's, a key's or a map's value."""
    kind = _TYPES.get(field.type)
    if field.type == FieldDescriptorProto.TYPE_MESSAGE and field.type_name == _TIMESTAMP:
        own = rules.timestamp
        if not own.WhichOneof("less_than"):
            own.lte.seconds, own.lte.nanos = LAST_SECOND, 999_999_999
        if not own.WhichOneof("greater_than"):
            own.gte.seconds = FIRST_SECOND
        return
    if kind is None:
        return
    own = getattr(rules, kind)
    if own.HasField("const") or getattr(own, "in"):
        return
    if kind == "string":
        if not own.HasField("max_len") and not own.HasField("max_bytes") and not own.HasField("len"):
            own.max_len = MOST_CHARACTERS
        if not own.HasField("pattern"):
            own.pattern = MANY_LINES if multiline else SINGLE_LINE
    elif kind in ("uint32", "uint64"):
        if not own.WhichOneof("less_than"):
            own.lte = MOST_UINT32 if kind == "uint32" else MOST_UINT64
    elif kind == "enum":
        own.defined_only = True
    else:
        own.finite = True


def _messages(prefix: str, parent: Any) -> Iterator[tuple[str, DescriptorProto]]:
    for message in getattr(parent, "message_type", ()) or getattr(parent, "nested_type", ()):
        name = f"{prefix}.{message.name}"
        yield name, message
        yield from _messages(name, message)


def _options_type(described: FileDescriptorSet) -> Any:
    """google.protobuf.FieldOptions with the extensions of this set, in a pool of its own."""
    pool = DescriptorPool()
    for file in described.file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("google.protobuf.FieldOptions"))
