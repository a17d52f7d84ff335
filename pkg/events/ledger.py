"""The relay's view of an outbox, through the one connection that holds its election."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from pkg.db.database import Connection
from pkg.events.outbox import Event

_WAITING: Final = "select distinct topic from outbox where number is null"
_RECENT: Final = "select distinct topic from outbox where occur_time > $1"
_NUMBER: Final = """
    with chosen as (
        select event_id, insert_id from outbox where topic = $1 and number is null order by insert_id limit $3
    ), base as (
        select greatest($2::bigint, (select coalesce(max(number), 0) from outbox where topic = $1)) as number
    ), numbered as (
        select event_id, base.number + row_number() over (order by insert_id) as number from chosen, base
    )
    update outbox set number = numbered.number from numbered
    where outbox.topic = $1 and outbox.event_id = numbered.event_id
    returning outbox.event_id, outbox.number, key, type, payload, occur_time, trace_parent
"""
_NUMBERED: Final = """
    select event_id, number, key, type, payload, occur_time, trace_parent from outbox
    where topic = $1 and number > $2 and occur_time > $3 order by number limit $4
"""
_PRUNE: Final = """
    delete from outbox where (event_id, topic) in (
        select event_id, topic from outbox as old
        where number is not null and occur_time < $1
          and number < (select max(number) from outbox where topic = old.topic)
        limit $2)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A numbered event of one topic."""

    number: int
    event: Event


class Ledger:
    """Statements on the outbox, one at a time. They fail once the connection, and with it the election, is lost."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def waiting_topics(self) -> list[str]:
        """Topics with events that were never attempted."""
        async with self._turn:
            return [row["topic"] for row in await self._connection.fetch(_WAITING)]

    async def recent_topics(self, since: datetime) -> list[str]:
        """Topics with events since then."""
        async with self._turn:
            return [row["topic"] for row in await self._connection.fetch(_RECENT, since)]

    async def number_next(self, topic: str, above: int, limit: int) -> list[Entry]:
        """Numbers the next events of a topic, in the order of their insertion.

        The numbers go on from the highest the outbox or the topic itself (`above`) has.
        """
        async with self._turn:
            rows = await self._connection.fetch(_NUMBER, topic, above, limit)
        return sorted(_entries(rows), key=lambda entry: entry.number)

    async def numbered(self, topic: str, after: int, since: datetime, limit: int) -> list[Entry]:
        """Events with higher numbers than `after` that happened since then, in order."""
        async with self._turn:
            return _entries(await self._connection.fetch(_NUMBERED, topic, after, since, limit))

    async def prune(self, before: datetime, limit: int) -> int:
        """Forgets old published events, the newest of each topic excepted, and returns how many."""
        async with self._turn:
            status = await self._connection.execute(_PRUNE, before, limit)
        return int(status.rpartition(" ")[2])


def _entries(rows: Iterable[asyncpg.Record]) -> list[Entry]:
    return [
        Entry(
            row["number"],
            Event(
                str(row["event_id"]),
                row["type"],
                row["key"],
                row["payload"],
                row["occur_time"],
                row["trace_parent"] or "",
            ),
        )
        for row in rows
    ]
