"""Records that cannot be applied: put aside with their reason, told on a topic, and applied again on request.

A schema that projects events has the table, and an outbox:

    create table dead_letter (
        dead_letter_id bigint generated always as identity primary key, topic text not null, partition integer not null,
        record_offset bigint not null, key bytea, value bytea, headers jsonb not null, reason text not null,
        create_time timestamptz not null default now(), replay_time timestamptz);
    create index dead_letter_replay on dead_letter (topic, dead_letter_id) where replay_time is not null;

Being put aside, being told and the position of the projection are one transaction; being applied and being removed
are another. So a letter is applied once, however often it is asked for and whatever dies meanwhile.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiokafka import ConsumerRecord

from oofgg.events.v1 import dead_letter_pb2
from pkg.db.database import Connection, Database
from pkg.errors import Unavailable
from pkg.events.outbox import Event, append
from pkg.events.records import received
from pkg.events.topics import DEAD_LETTERS
from pkg.telemetry.logs import get_logger

_log = get_logger(__name__)

_TYPE: Final = dead_letter_pb2.DeadLetter.DESCRIPTOR.full_name
_REASON_CHARACTERS: Final = 2_000
_BURY: Final = """
    insert into dead_letter (topic, partition, record_offset, key, value, headers, reason)
    values ($1, $2, $3, $4, $5, $6, $7) returning dead_letter_id
"""
_MARKED: Final = """
    select dead_letter_id from dead_letter where topic = $1 and replay_time is not null
    order by dead_letter_id limit 100
"""
_TAKE: Final = """
    delete from dead_letter where dead_letter_id = (
        select dead_letter_id from dead_letter where dead_letter_id = $1 and replay_time is not null
        for update skip locked)
    returning key, value, headers
"""
_FAILED: Final = "update dead_letter set replay_time = null, reason = $2 where dead_letter_id = $1"
_LIST: Final = """
    select dead_letter_id, topic, partition, record_offset, reason, create_time, replay_time is not null as waiting
    from dead_letter where dead_letter_id > $1 order by dead_letter_id limit $2
"""
_MARK: Final = """
    update dead_letter set replay_time = now() where $1::bigint[] is null or dead_letter_id = any($1)
    returning dead_letter_id
"""
_DISCARD: Final = """
    delete from dead_letter where $1::bigint[] is null or dead_letter_id = any($1) returning dead_letter_id
"""

Apply = Callable[[Connection, Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that was put aside."""

    letter_id: int
    topic: str
    partition: int
    offset: int
    reason: str
    create_time: datetime
    waiting: bool
    """Whether it is to be applied again."""


async def bury(connection: Connection, record: ConsumerRecord[bytes, bytes], reason: str) -> None:
    """Puts a record aside and tells of it, in the caller's transaction."""
    reason = reason.replace("\0", "\\0")[:_REASON_CHARACTERS]
    headers = json.dumps([[key.replace("\0", "\\0"), _text(value)] for key, value in record.headers])
    letter_id = await connection.fetchval(
        _BURY, record.topic, record.partition, record.offset, record.key, record.value, headers, reason
    )
    letter = dead_letter_pb2.DeadLetter(
        dead_letter_id=letter_id, topic=record.topic, partition=record.partition, offset=record.offset, reason=reason,
        key=record.key or b"", value=record.value or b"",
        headers=[dead_letter_pb2.Header(key=key, value=value) for key, value in record.headers],
    )  # fmt: skip
    told = Event(str(uuid.uuid4()), _TYPE, record.topic, letter.SerializeToString(), datetime.now(UTC))
    await append(connection, told, [DEAD_LETTERS])


async def replay_marked(database: Database, topic: str, apply: Apply) -> None:
    """Applies the letters of a topic for which that was asked. One that fails again stays, with its new reason.

    Raises Unavailable: then it was only the moment.
    """
    async with database.acquire() as connection:
        marked = [row["dead_letter_id"] for row in await connection.fetch(_MARKED, topic)]
    for letter_id in marked:
        try:
            async with database.transaction() as connection:
                row = await connection.fetchrow(_TAKE, letter_id)
                if row is None:  # somebody else is at it
                    continue
                headers = [(key, _bytes(value)) for key, value in json.loads(row["headers"])]
                await apply(connection, received(row["key"], row["value"], headers))
            _log.info("a dead letter was applied", topic=topic, dead_letter_id=letter_id)
        except Unavailable:
            raise
        except Exception as error:
            _log.warning("a dead letter cannot be applied", topic=topic, dead_letter_id=letter_id, error=repr(error))
            async with database.acquire() as connection:
                await connection.execute(_FAILED, letter_id, repr(error)[:_REASON_CHARACTERS].replace("\0", "\\0"))


def _text(value: bytes) -> str:
    """As readable as can be stored, and read back: PostgreSQL knows no U+0000, and JSON no bytes."""
    return value.decode("latin-1").encode("unicode_escape").decode()


def _bytes(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1")


class DeadLetters:
    """What an operator does with them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, after: int, limit: int) -> list[Letter]:
        """Letters with higher numbers than `after`, in order."""
        async with self._database.acquire() as connection:
            return [Letter(*row) for row in await connection.fetch(_LIST, after, limit)]

    async def replay(self, letter_ids: Sequence[int] | None) -> list[int]:
        """Asks for these, or for all, to be applied again by whoever projects; returns those that there are."""
        return await self._change(_MARK, letter_ids)

    async def discard(self, letter_ids: Sequence[int] | None) -> list[int]:
        """Forgets these, or all, and returns those that there were."""
        return await self._change(_DISCARD, letter_ids)

    async def _change(self, statement: str, letter_ids: Sequence[int] | None) -> list[int]:
        wanted = None if letter_ids is None else list(letter_ids)
        async with self._database.acquire() as connection:
            return sorted(row["dead_letter_id"] for row in await connection.fetch(statement, wanted))
