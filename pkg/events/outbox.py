"""The outbox: events written in the transaction of their cause, published afterwards by the relay.

Each schema that publishes has the table:

    create table outbox (
        event_id uuid not null, topic text not null, number bigint, key text not null, type text not null,
        payload bytea not null, occur_time timestamptz not null, trace_parent text,
        insert_id bigint generated always as identity, primary key (event_id, topic), unique (topic, number));
    create index outbox_unnumbered on outbox (insert_id) where number is null;
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pkg.db.database import Connection
from pkg.telemetry.tracing import current_trace_parent

_APPEND: Final = """
    insert into outbox (event_id, topic, key, type, payload, occur_time, trace_parent)
    select $1, topic, $3, $4, $5, $6, $7 from unnest($2::text[]) as topic
    on conflict (event_id, topic) do nothing
"""
_APPEND_ALL: Final = """
    insert into outbox (event_id, topic, key, type, payload, occur_time)
    select event_id, $1, key, type, payload, occur_time
    from unnest($2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::timestamptz[])
        as new (event_id, key, type, payload, occur_time)
    on conflict (event_id, topic) do nothing
"""
_WAKE: Final = "select pg_notify('outbox_' || current_schema(), '')"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    `event_id` is a UUID, the same for every repeat; `type` the full name of the message in `payload`; records with
    equal `key` keep their order.
    """

    event_id: str
    type: str
    key: str
    payload: bytes
    occur_time: datetime
    trace_parent: str = ""
    """The span in which it happened, as W3C Trace Context writes it; empty where nothing is traced."""


def wake_channel(schema: str) -> str:
    """The PostgreSQL channel on which appends of this schema are told, at their commit."""
    return f"outbox_{schema}"


async def append_all(connection: Connection, events: Sequence[Event], topic: str) -> None:
    """As `append`, for many events of one topic in one statement."""
    if not events:
        return
    await connection.execute(
        _APPEND_ALL,
        topic,
        [event.event_id for event in events],
        [event.key for event in events],
        [event.type for event in events],
        [event.payload for event in events],
        [event.occur_time for event in events],
    )
    await connection.execute(_WAKE)


async def append(connection: Connection, event: Event, topics: Sequence[str]) -> None:
    """Publishes an event on these topics if, and once, the transaction of `connection` commits.

    Appending an event again does nothing.
    """
    trace_parent = event.trace_parent or current_trace_parent.get() or None
    await connection.execute(
        _APPEND, event.event_id, list(topics), event.key, event.type, event.payload, event.occur_time, trace_parent
    )
    await connection.execute(_WAKE)
