"""How far a projection has read, kept in the database of its effects, and who reads which partition.

Each schema that projects events has the tables:

    create table position (
        topic text not null, partition integer not null, next_offset bigint not null default 0,
        seen_number bigint not null default 0, holder text, lease_until timestamptz, primary key (topic, partition));
    create table position_reader (
        topic text not null, holder text not null, seen_time timestamptz not null, primary key (topic, holder));
    create table applied_event (
        topic text not null, event_id uuid not null, apply_time timestamptz not null default now(),
        primary key (topic, event_id));
    create index applied_event_age on applied_event (apply_time);

A lease only keeps readers from doing the same work. What keeps the effects right is `advance`: it fails in every
transaction but one that started from the same offset.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pkg.db.database import Connection, Database

_CLAIM: Final = """
    update position set holder = $2, lease_until = now() + make_interval(secs => $3)
    where (topic, partition) in (
        select topic, partition from position
        where topic = $1 and (holder is null or holder = $2 or lease_until < now()) and not partition = any($5::int[])
        order by (holder = $2) desc nulls last, partition limit $4 for update skip locked)
    returning partition, next_offset, seen_number
"""
_RENEW: Final = """
    update position set lease_until = now() + make_interval(secs => $3) where (topic, partition) in (
        select topic, partition from position
        where topic = $1 and holder = $2 and partition = any($4::int[]) for update skip locked)
"""
_ADVANCE: Final = """
    update position set next_offset = $4, seen_number = greatest(seen_number, $5),
        lease_until = case when holder = $6 then greatest(lease_until, now() + make_interval(secs => $7))
            else lease_until end
    where topic = $1 and partition = $2 and next_offset = $3
"""
_FRESH: Final = """
    insert into applied_event (topic, event_id) select $1, unnest($2::uuid[]) on conflict do nothing
    returning event_id::text
"""
_FORGET_AT_ONCE: Final = 2_000
_FORGET: Final = """
    delete from applied_event where topic = $1 and event_id in (
        select event_id from applied_event
        where topic = $1 and apply_time < now() - make_interval(secs => $2) order by apply_time limit $3)
"""


class PositionMoved(Exception):
    """Somebody else has read on from here; the transaction must not commit."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where to read on in one partition. `seen_number` is the highest number applied from it."""

    next_offset: int
    seen_number: int


class Positions:
    """The positions of one topic."""

    def __init__(self, database: Database, topic: str, holder: str) -> None:
        self._database = database
        self._topic = topic
        self._holder = holder
        self._lease_seconds = 0.0

    async def claim(
        self, partitions: Sequence[int], lease_seconds: float, busy: Iterable[int] = ()
    ) -> dict[int, Position | None]:
        """Takes and renews leases on this reader's fair share of the partitions, and gives up what is beyond it.

        It works on the `busy` ones meanwhile, whose rows its own transactions may hold locked. They stay its own within
        the share, and None is returned for them.
        """
        self._lease_seconds = lease_seconds
        async with self._database.transaction() as connection:
            await connection.execute(
                "insert into position (topic, partition) select $1, unnest($2::int[]) on conflict do nothing",
                self._topic, list(partitions),
            )  # fmt: skip
            await connection.execute(
                "insert into position_reader (topic, holder, seen_time) values ($1, $2, now())"
                " on conflict (topic, holder) do update set seen_time = now()",
                self._topic, self._holder,
            )  # fmt: skip
            await connection.execute(
                "delete from position_reader where topic = $1 and seen_time < now() - make_interval(secs => $2)",
                self._topic, lease_seconds,
            )  # fmt: skip
            readers = await connection.fetchval("select count(*) from position_reader where topic = $1", self._topic)
            share = -(-len(partitions) // readers)
            kept = sorted(busy)[:share]
            rows = await connection.fetch(_CLAIM, self._topic, self._holder, lease_seconds, share - len(kept), kept)
            mine: dict[int, Position | None] = dict.fromkeys(kept)
            mine.update({row["partition"]: Position(row["next_offset"], row["seen_number"]) for row in rows})
            if kept:
                await connection.execute(_RENEW, self._topic, self._holder, lease_seconds, kept)
            await connection.execute(
                "update position set holder = null where topic = $1 and holder = $2 and not partition = any($3::int[])",
                self._topic, self._holder, list(mine),
            )  # fmt: skip
        return mine

    async def release(self) -> None:
        """Lets others take over at once."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "update position set holder = null where topic = $1 and holder = $2", self._topic, self._holder
            )
            await connection.execute(
                "delete from position_reader where topic = $1 and holder = $2", self._topic, self._holder
            )

    async def advance(self, connection: Connection, partition: int, start: Position, end: Position) -> None:
        """Moves a position in the caller's transaction, which also renews the lease on it.

        Raises PositionMoved when it is not at `start` any more.
        """
        status = await connection.execute(
            _ADVANCE, self._topic, partition, start.next_offset, end.next_offset, end.seen_number, self._holder,
            self._lease_seconds,
        )  # fmt: skip
        if status != "UPDATE 1":
            raise PositionMoved(f"{self._topic}/{partition} is not at {start.next_offset} any more")

    async def fresh(self, connection: Connection, event_ids: Iterable[str]) -> set[str]:
        """Those that were not applied before; notes them as applied in the caller's transaction."""
        return {row["event_id"] for row in await connection.fetch(_FRESH, self._topic, list(event_ids))}

    async def forget(self, older_than_seconds: float) -> None:
        """Forgets which events were applied long ago: longer than the topic keeps them."""
        found = full = f"DELETE {_FORGET_AT_ONCE}"
        while found == full:  # each with a time limit of its own: all of them may take long
            async with self._database.acquire() as connection:
                found = await connection.execute(_FORGET, self._topic, older_than_seconds, _FORGET_AT_ONCE)
