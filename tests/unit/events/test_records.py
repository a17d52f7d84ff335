"""Events as records, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pkg.events.outbox import Event
from pkg.events.records import MalformedRecord, Numbers, headers_of, numbers_of, partition_of, received

EVENT = Event(
    "01934b2c-0000-7000-8000-000000000001",
    "oofgg.events.v1.MatchFinished",
    "session",
    b"\x00payload",
    datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC),
)
HEADERS = headers_of(EVENT, "/oofgg/game", 7, 3, 2)


def test_an_event_survives_the_way() -> None:
    assert received(b"session", EVENT.payload, HEADERS) == EVENT
    assert numbers_of(HEADERS) == Numbers(7, 3, 2)


def test_time_is_told_in_utc() -> None:
    elsewhere = EVENT.occur_time.astimezone(timezone(timedelta(hours=5, minutes=30)))
    told = dict(headers_of(Event(EVENT.event_id, EVENT.type, EVENT.key, b"", elsewhere), "/s", 1, 0, 1))
    assert told["ce_time"] == b"2026-01-02T03:04:05.678901Z"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce_id", None),
        ("ce_type", None),
        ("ce_time", None),
        ("ce_id", b"not a uuid"),
        ("ce_time", b"yesterday"),
        ("ce_type", b"\xff"),
        ("content-type", b"application/json"),
    ],
)
def test_what_is_no_event_of_ours_is_refused(header: str, value: bytes | None) -> None:
    headers = [(name, told) for name, told in HEADERS if name != header]
    if value is not None:
        headers.append((header, value))
    with pytest.raises(MalformedRecord):
        received(b"session", b"", headers)


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(MalformedRecord):
        received(b"\xff", b"", HEADERS)


@pytest.mark.parametrize("value", [b"", b"-1", b"x", b"1.5"])
def test_a_number_that_is_none_counts_as_none(value: bytes) -> None:
    assert numbers_of([("oofgg-number", value)]) == Numbers(0, 0, 0)


@pytest.mark.parametrize(
    ("key", "partition"),  # from Kafka's own tests of its hash: murmur2 & 0x7fffffff
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536)],
)
def test_partitions_are_those_of_the_java_client(key: str, partition: int) -> None:
    assert partition_of(key, 8) == (partition & 0x7FFFFFFF) % 8
