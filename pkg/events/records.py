"""Events as Kafka records: CloudEvents in binary mode, and three numbers of ours.

`oofgg-number` counts the records of a topic, over all its partitions. `oofgg-previous` is the number of the record
before this one in the same partition, 0 for the first: whoever has seen that one has missed nothing in between.
`oofgg-writer` counts the producers that wrote to the topic; it is for the relay.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiokafka.partitioner import murmur2

from pkg.events.outbox import Event
from pkg.telemetry.tracing import sane_trace_parent

NUMBER: Final = "oofgg-number"
PREVIOUS: Final = "oofgg-previous"
WRITER: Final = "oofgg-writer"
TRACE_PARENT: Final = "ce_traceparent"
CONTENT_TYPE: Final = b"application/protobuf"

Headers = Sequence[tuple[str, bytes]]


class MalformedRecord(Exception):
    """A record is not an event of ours."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Where a record stands in its topic; 0 where the publisher did not say."""

    number: int
    previous: int
    writer: int


def partition_of(key: str, partitions: int) -> int:
    """The partition of a key, as every Kafka client computes it."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)


def headers_of(
    event: Event, source: str, number: int, previous: int, writer: int, trace_parent: str = ""
) -> list[tuple[str, bytes]]:
    """The headers of a published event. A trace is told as CloudEvents' extension for distributed tracing has it."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.event_id.encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", event.occur_time.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()),
        ("ce_subject", event.key.encode()),
        ("content-type", CONTENT_TYPE),
        (NUMBER, str(number).encode()),
        (PREVIOUS, str(previous).encode()),
        (WRITER, str(writer).encode()),
    ]
    if trace_parent:
        headers.append((TRACE_PARENT, trace_parent.encode()))
    return headers


def numbers_of(headers: Iterable[tuple[str, bytes]]) -> Numbers:
    """The numbers of a record."""
    told = dict(headers)
    return Numbers(_integer(told, NUMBER), _integer(told, PREVIOUS), _integer(told, WRITER))


def received(key: bytes | None, value: bytes | None, headers: Headers) -> Event:
    """The event in a record. Raises MalformedRecord."""
    told = dict(headers)
    try:
        event_id, kind, time = (told[name].decode() for name in ("ce_id", "ce_type", "ce_time"))
        event = Event(
            str(uuid.UUID(event_id)),
            kind,
            (key or b"").decode(),
            value or b"",
            datetime.fromisoformat(time),
            sane_trace_parent(told.get(TRACE_PARENT, b"").decode(errors="replace")),
        )
    except KeyError as missing:
        raise MalformedRecord(f"the header {missing.args[0]} is missing") from missing
    except ValueError as error:
        raise MalformedRecord(f"ce_id, another header or the key cannot be read: {error}") from error
    if told.get("content-type", CONTENT_TYPE) != CONTENT_TYPE:
        raise MalformedRecord("the content type is not protobuf")
    return event


def _integer(headers: dict[str, bytes], name: str) -> int:
    text = headers.get(name, b"0")
    return int(text) if text.isdigit() else 0
