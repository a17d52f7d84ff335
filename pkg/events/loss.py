"""When a reader may conclude that records are lost, and from where it has to read again. Rules, without I/O.

Slowness is never loss. A record is missing only when the reader has passed the place where it should have been:
either a later record names a predecessor that was not seen (`gaps`), or the reader stands behind the last record of the
topic and has not seen that record's number (`passed_over`). A reader that has yet to come there concludes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from pkg.events.positions import Position
from pkg.events.records import Numbers

_FIRST_STEP: Final = 16
_STEP_FACTOR: Final = 4


@dataclass(frozen=True, slots=True)
class Spot:
    """A numbered record: its offset and its number."""

    offset: int
    number: int


class Partition(Protocol):
    """One partition that can be looked into. Only committed records with a number count."""

    async def first(self, start: int, stop: int) -> Spot | None:
        """The first record from `start` on, below `stop`."""
        ...

    async def last(self, stop: int) -> Spot | None:
        """The last record below `stop`."""
        ...


def passed_over(position: Position, last_offset: int, number: int) -> bool:
    """Whether a reader has passed the last record of a partition, which was at this offset, without seeing its number.

    That happens when a broker lost its newest records and they came back at lower offsets than before.
    """
    return position.next_offset > last_offset and position.seen_number < number


def gaps(seen_number: int, records: Iterable[Numbers]) -> list[int]:
    """The indexes of records before which something is missing, for a reader that has seen up to this number."""
    found = []
    for index, numbers in enumerate(records):
        if numbers.number > seen_number:
            if numbers.previous > seen_number:
                found.append(index)
            seen_number = numbers.number
    return found


async def resume_offset(partition: Partition, *, beginning: int, below: int, seen_number: int) -> int | None:
    """From where to read again so that no record below `below` with a number above `seen_number` is left out.

    None when the partition has no such record: retention has removed it, and reading again would bring nothing. Numbers
    grow with offsets, so looking back in growing steps finds the place; at most four times as many records are read
    again as are missing, and a few more.
    """
    last = await partition.last(below)
    if last is None or last.number <= seen_number:
        return None
    found = stop = last.offset
    step = _FIRST_STEP
    while stop > beginning:
        start = max(beginning, found - step)
        first = await partition.first(start, stop)
        if first is not None:
            if first.number <= seen_number:
                return first.offset
            found = first.offset
        stop = start
        step *= _STEP_FACTOR
    return found
