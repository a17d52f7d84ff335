"""Applying the records of one partition: in order, each event once, and what cannot be applied put aside.

A batch is one transaction. Where it fails, its records are applied one by one, and those that fail again wait for their
next attempt behind the others: an event that cannot be applied costs itself its attempts, and nobody else the pauses
between them. How large a batch may be follows from how long the last one took, so that a slow PostgreSQL is given less
at a time, not the same again and again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

import asyncpg
from aiokafka import ConsumerRecord
from google.protobuf.message import DecodeError

from pkg.clock import Clock
from pkg.db.database import Connection, Database
from pkg.db.faults import would_fail_again
from pkg.errors import OofggError, Unavailable
from pkg.events.dead_letters import bury
from pkg.events.lag import ProjectionFigures
from pkg.events.outbox import Event
from pkg.events.positions import Position, PositionMoved, Positions
from pkg.events.records import MalformedRecord, numbers_of, received
from pkg.telemetry.logs import get_logger
from pkg.telemetry.tracing import Tracing

_log = get_logger(__name__)

_MOST_RECORDS: Final = 200
# A reader that begins knows nothing of PostgreSQL's pace, and a batch that does not get through costs seconds.
_FIRST_RECORDS: Final = 16
_ATTEMPTS: Final = 3
_ATTEMPT_PAUSE_SECONDS: Final = 0.2
# A batch that takes longer than this is followed by a smaller one, a much faster one by a larger one.
_LONG_SECONDS: Final = 1.0
_SHORT_SECONDS: Final = 0.25
# A single event may take much longer than a call of a client: nobody waits for it, and others go on.
_SINGLE_SECONDS: Final = 30.0
_SINGLES_AT_ONCE: Final = 2
# How often an event may run into time limits while PostgreSQL answers others: with the pauses, about a minute.
_HINDERED_ATTEMPTS: Final = 12
_FEW_RECORDS: Final = 8
_LONGEST_PAUSE_SECONDS: Final = 5.0
_TRACEBACK_SECONDS: Final = 60.0

Apply = Callable[[Connection, Event], Awaitable[None]]
Record = ConsumerRecord[bytes, bytes]


class Pace:
    """How many events fit into a transaction. All partitions of a projection share what one of them has found."""

    def __init__(self) -> None:
        self.most = _FIRST_RECORDS

    def took(self, records: int, seconds: float) -> None:
        """A batch got through."""
        if seconds > _LONG_SECONDS:
            self.most = max(1, min(self.most, records) // 2)
        elif seconds < _SHORT_SECONDS and records >= self.most:
            self.most = min(_MOST_RECORDS, self.most * 2)

    def failed(self, records: int) -> None:
        """A batch did not get through in time."""
        self.most = max(1, min(self.most, records // 4))


@dataclass(frozen=True, slots=True)
class Applying:
    """What the partitions of a projection share."""

    database: Database
    positions: Positions
    topic: str
    apply: Apply
    clock: Clock
    tracing: Tracing | None = None
    figures: ProjectionFigures | None = None
    pace: Pace = field(default_factory=Pace)
    batches: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held during a batch: two would lock the rows of the same players in different orders."""
    singles: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_SINGLES_AT_ONCE))

    traced: dict[type[BaseException], float] = field(default_factory=dict)
    """When a traceback of each kind of error was written last."""

    def is_news(self, error: BaseException) -> bool:
        """Whether a traceback is worth its cost: once a minute for each kind of error."""
        now = self.clock.monotonic()
        if now - self.traced.get(type(error), float("-inf")) < _TRACEBACK_SECONDS:
            return False
        self.traced[type(error)] = now
        return True


def _would_fail_again(error: Exception) -> bool:
    return isinstance(error, DecodeError) or would_fail_again(error)


class PartitionReader:
    """One partition as this process reads it. One call at a time."""

    def __init__(self, shared: Applying, partition: int, position: Position) -> None:
        self.partition = partition
        self.position = position
        self.busy = False
        """Whether somebody works on it; set by who does."""
        self.retired = False
        """Whether others should go on from here: it is done after the batch it is at."""
        self.placed = False
        """Whether the consumer reads on from `position`."""
        self.caught_up_at = shared.clock.monotonic()
        """When it was last seen to have read what the topic held at the look before."""
        self.due = -1
        """The offset of the topic's last record at the last look."""
        self._shared = shared

    async def apply(self, records: Sequence[Record]) -> None:
        """Applies records or puts them aside, and moves the position behind them, unless it is retired meanwhile. Waits
        for PostgreSQL while it is away. Raises PositionMoved when another reader has this partition."""
        done = 0
        pauses = _Pauses()
        while done < len(records) and not self.retired:
            batch: Sequence[Record] = ()
            try:
                async with self._shared.batches:
                    batch = records[done : done + self._shared.pace.most]
                    began = self._shared.clock.monotonic()  # waiting for its turn says nothing of PostgreSQL
                    await self._commit(batch, self._after(batch))
                    self._shared.pace.took(len(batch), self._shared.clock.monotonic() - began)
            except PositionMoved:
                raise
            except Unavailable as error:
                # Less at a time, unless nobody gets an answer. So little, and it still fails: it may be one of them.
                answering = await self._is_answering()
                if answering:
                    self._shared.pace.failed(len(batch))
                if len(batch) > _FEW_RECORDS or not answering:
                    await pauses.rest(self._shared.topic, self.partition, error)
                    continue
                await self._apply_singly(batch)
            except Exception as error:
                _log.info("events are applied one by one", topic=self._shared.topic, error=repr(error))
                await self._apply_singly(batch)
            pauses = _Pauses()
            done += len(batch)

    async def move_to(self, offset: int) -> None:
        """Has reading go on from another offset. Raises PositionMoved or Unavailable."""
        end = Position(offset, self.position.seen_number)
        async with self._shared.database.transaction() as connection:
            await self._shared.positions.advance(connection, self.partition, self.position, end)
        self.position = end
        self.placed = False

    def _after(self, records: Sequence[Record]) -> Position:
        numbers = [numbers_of(record.headers).number for record in records]
        return Position(records[-1].offset + 1, max([self.position.seen_number, *numbers]))

    async def _apply_singly(self, records: Sequence[Record]) -> None:
        """Applies each record in a transaction of its own; those that fail take turns until their attempts are over.

        The position moves once all have been dealt with; until then, the ids of those that were applied say so.
        Records with the key of one that waits for its next attempt wait behind it.
        """
        attempts: Counter[int] = Counter()
        hindered: Counter[int] = Counter()
        left = [record for record in records if _is_event(record)]
        pauses = _Pauses()
        while left:
            again: list[Record] = []
            waiting: set[bytes | None] = set()
            hindrance: BaseException | None = None
            for record in left:
                if record.key in waiting:
                    again.append(record)
                    continue
                try:
                    await self._apply_single(record)
                except PositionMoved:
                    raise
                except Unavailable as error:
                    hindrance = error
                    hindered[record.offset] += await self._may_be_guilty(error)
                    if hindered[record.offset] < _HINDERED_ATTEMPTS:
                        waiting.add(record.key)
                        again.append(record)
                    else:
                        await self._put_aside(record, error)
                except Exception as error:
                    attempts[record.offset] += 1
                    if attempts[record.offset] < _ATTEMPTS and not _would_fail_again(error):
                        waiting.add(record.key)
                        again.append(record)
                    else:
                        await self._put_aside(record, error)
            left = again
            if hindrance is not None:
                await pauses.rest(self._shared.topic, self.partition, hindrance)
            elif left:
                await asyncio.sleep(_ATTEMPT_PAUSE_SECONDS)
        strange = [record for record in records if not _is_event(record)]
        await self._insist(strange, self._after(records))

    async def _apply_single(self, record: Record) -> None:
        async with self._shared.singles:
            await self._commit([record], self.position, seconds=_SINGLE_SECONDS)

    async def _put_aside(self, record: Record, error: BaseException) -> None:
        _log.error(
            "an event is put aside", topic=record.topic, partition=self.partition, offset=record.offset,
            error=repr(error), exc_info=error if self._shared.is_news(error) else None,
        )  # fmt: skip
        await self._insist([record], self.position, refusal=repr(error))

    async def _insist(self, records: Sequence[Record], end: Position, refusal: str | None = None) -> None:
        """As `_commit`, for what must come to pass, or an event would be lost. Raises PositionMoved."""
        pauses = _Pauses()
        while True:
            try:
                async with self._shared.singles:
                    return await self._commit(records, end, refusal, seconds=_SINGLE_SECONDS)
            except PositionMoved:
                raise
            except Exception as error:
                await pauses.rest(self._shared.topic, self.partition, error)

    async def _may_be_guilty(self, error: BaseException) -> bool:
        """Whether it may be the event's own fault that it ran into a limit."""
        return not isinstance(error.__cause__, asyncpg.InsufficientResourcesError) and await self._is_answering()

    async def _is_answering(self) -> bool:
        """Whether PostgreSQL answers others."""
        try:
            await self._shared.database.check()
        except (OofggError, OSError, TimeoutError):
            return False
        return True

    def _span(self, event: Event) -> AbstractContextManager[None]:
        if self._shared.tracing is None or not event.trace_parent:
            return nullcontext()
        return self._shared.tracing.apply(self._shared.topic, event.trace_parent)

    async def _commit(
        self, records: Sequence[Record], end: Position, refusal: str | None = None, *, seconds: float = 5.0
    ) -> None:
        """Applies records, or puts them aside with this refusal, and moves the position, in one transaction."""
        shared = self._shared
        readable: list[tuple[Record, Event]] = []
        malformed: list[tuple[Record, str]] = []
        for record in records:
            try:
                readable.append((record, received(record.key, record.value, record.headers)))
            except MalformedRecord as error:
                malformed.append((record, str(error)))
        buried = len(malformed)
        async with shared.database.transaction(seconds=seconds) as connection:
            await shared.positions.advance(connection, self.partition, self.position, end)
            fresh = await shared.positions.fresh(connection, [event.event_id for _, event in readable])
            for record, event in readable:
                if event.event_id not in fresh:
                    continue
                fresh.discard(event.event_id)
                if refusal is None:
                    with self._span(event):
                        await shared.apply(connection, event)
                else:
                    await bury(connection, record, refusal)
                    buried += 1
            for record, reason in malformed:
                await bury(connection, record, reason)
        self.position = end
        if buried and shared.figures:
            shared.figures.put_aside(buried)


class _Pauses:
    """Growing pauses while PostgreSQL is away or slow."""

    def __init__(self) -> None:
        self._next = _ATTEMPT_PAUSE_SECONDS

    async def rest(self, topic: str, partition: int, error: BaseException) -> None:
        cause = repr(error.__cause__ or error)
        _log.warning("a projection waits", topic=topic, partition=partition, cause=cause, retry_seconds=self._next)
        await asyncio.sleep(self._next)
        self._next = min(_LONGEST_PAUSE_SECONDS, self._next * 2)


def _is_event(record: Record) -> bool:
    try:
        received(record.key, record.value, record.headers)
    except MalformedRecord:
        return False
    return True
