"""What a session has to say, kept once for all its receivers.

Three channels, one per delivery class. Receivers hold only positions in them (`delivery.Receiver`), so memory does not
grow with the number of receivers, nor with how slow they are. Pieces are opaque bytes: one encoded event each, such
that joined pieces are a valid message.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

RELIABLE: Final = 1
LATEST: Final = 2
VOLATILE: Final = 3


# Places from here on are those of the game's own servers: nothing is hidden from them.
FIRST_OVERSEER: Final = 1 << 24

Audience = frozenset[int]


class Private(NamedTuple):
    """Who an event is for, by place; the others get `hidden` instead, which has its number and nothing else."""

    audience: Audience
    hidden: bytes


class Tail:
    """The newest confirmed reliable events, numbered without gaps; the oldest go when a bound is passed."""

    __slots__ = (
        "_base",
        "_cached",
        "_ends",
        "_max_bytes",
        "_max_events",
        "_pieces",
        "_private",
        "_private_numbers",
        "_start",
        "head",
    )

    def __init__(self, head: int = 0, *, max_events: int = 10_000, max_bytes: int = 4 * 1024 * 1024) -> None:
        self.head = head  # number of the newest event
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._base = head  # number of the event before the oldest kept
        self._start = 0  # bytes ever appended before the oldest kept
        self._pieces: list[bytes] = []
        self._private: dict[int, Private] = {}  # by number
        self._private_numbers: list[int] = []  # in order
        self._ends: list[int] = []  # bytes ever appended up to and with each piece
        self._cached: tuple[int, int, bytes] = (-1, -1, b"")  # (after, last, joined)

    @property
    def first(self) -> int:
        """Number of the oldest event kept; `head` + 1 when none is."""
        return self._base + 1

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._ends[-1] - self._start if self._ends else 0

    def extend(self, pieces: Sequence[bytes], private: Mapping[int, Private] | None = None) -> None:
        """Appends the next events, and by their numbers those that are not for everybody."""
        if not pieces:
            return
        if private:
            self._private.update(private)
            self._private_numbers.extend(private)
        ends = self._ends
        total = ends[-1] if ends else self._start
        ends.extend(accumulate(map(len, pieces), initial=total))
        # `initial` itself comes first; it is not an event.
        del ends[-len(pieces) - 1]
        self._pieces.extend(pieces)
        self.head += len(pieces)
        surplus = max(len(self._pieces) - self._max_events, 0)
        if ends[-1] - self._start > self._max_bytes:
            surplus = max(surplus, bisect_right(ends, ends[-1] - self._max_bytes - 1) + 1)
        if surplus:
            self._start = ends[surplus - 1]
            self._base += surplus
            del self._pieces[:surplus]
            del ends[:surplus]
            gone = bisect_right(self._private_numbers, self._base)
            for number in self._private_numbers[:gone]:
                del self._private[number]
            del self._private_numbers[:gone]

    def holds(self, after: int) -> bool:
        """Whether everything after this number is still here, so that a receiver can go on from it."""
        return self._base <= after <= self.head

    def behind(self, after: int) -> tuple[int, int]:
        """Events and bytes after this number; `after` must be held."""
        index = after - self._base
        if index >= len(self._pieces):
            return 0, 0
        return self.head - after, self._ends[-1] - (self._ends[index - 1] if index else self._start)

    def pieces(self, after: int) -> list[bytes]:
        """The events after this number; `after` must be held."""
        return self._pieces[after - self._base :]

    def page(
        self,
        after: int,
        room: int,
        *,
        at_least_one: bool,
        place: int = 0,
        since: int = 0,
        until: int | None = None,
        everything: bool = False,
    ) -> tuple[bytes, int]:
        """Joined events after a number, at most `room` bytes of them, and the number of the last.

        With `at_least_one` an event larger than `room` comes alone. Receivers in step share the joined bytes.
        `place` is the receiver's, who has had it since the event `since`: what is for others, it gets hidden. `until`
        is the last event it may get. With `everything`, and for overseers, nothing is hidden.
        """
        everything = everything or place >= FIRST_OVERSEER
        head = self.head if until is None else min(until, self.head)
        cached_after, cached_last, joined = self._cached
        if cached_after == after and cached_last == head and len(joined) <= room:
            return joined, cached_last
        ends = self._ends
        index = after - self._base
        start = ends[index - 1] if index else self._start
        stop = len(ends) if ends[-1] - start <= room else bisect_right(ends, start + room, index)
        stop = min(stop, head - self._base)
        if stop == index:
            if not at_least_one:
                return b"", after
            stop = index + 1
        last = self._base + stop
        pieces = self._pieces[index:stop]
        numbers = self._private_numbers
        first = bisect_right(numbers, after)
        if first < len(numbers) and numbers[first] <= last:
            for number in numbers[first : bisect_right(numbers, last)]:
                audience, hidden = self._private[number]
                if not everything and (place not in audience or number <= since):
                    pieces[number - after - 1] = hidden
            return b"".join(pieces), last
        joined = b"".join(pieces)
        self._cached = (after, last, joined)
        return joined, last


class LatestBoard:
    """The newest value per sender and key. Each change gets the next version; a receiver asks for what is newer.

    A sender keeps at most `max_keys` keys and `max_bytes` bytes: beyond that its longest unchanged values go.
    """

    __slots__ = ("_by_seat", "_max_bytes", "_max_keys", "_values", "version")

    def __init__(self, *, max_keys: int = 256, max_bytes: int = 256 * 1024) -> None:
        self.version = 0
        self._max_keys = max_keys
        self._max_bytes = max_bytes
        # Ordered by version, because a change removes a key and adds it again at the end.
        self._values: dict[tuple[int, str], tuple[int, int, bytes, Audience | None]] = {}
        self._by_seat: dict[int, _Share] = {}

    def __len__(self) -> int:
        return len(self._values)

    def put(self, seat: int, key: str, piece: bytes, audience: Audience | None = None) -> None:
        """Replaces the value of a sender's key, for some places or for everybody."""
        self.version += 1
        name = (seat, key)
        share = self._by_seat.get(seat)
        if share is None:
            share = self._by_seat[seat] = _Share()
        old = self._values.pop(name, None)
        if old is None:
            share.keys += 1
            share.size += len(piece)
        else:
            share.size += len(piece) - len(old[2])
        self._values[name] = (self.version, seat, piece, audience)
        if share.keys > self._max_keys or (share.size > self._max_bytes and share.keys > 1):
            self._shrink(seat, share)

    def drop(self, seat: int) -> None:
        """Forgets all values of a sender, and that any was for it: its place may become someone else's."""
        if self._by_seat.pop(seat, None):
            for name in [name for name in self._values if name[0] == seat]:
                del self._values[name]
        for name, (version, sender, piece, audience) in self._values.items():
            if audience is not None and seat in audience:
                self._values[name] = (version, sender, piece, audience - {seat})

    def newer(self, version: int, *, place: int) -> list[tuple[int, bytes]]:
        """(version, piece) of what changed after `version` and is for this place, oldest first; its own is not."""
        found = []
        for changed, seat, piece, audience in reversed(self._values.values()):
            if changed <= version:
                break
            if seat != place and _is_for(place, audience):
                found.append((changed, piece))
        found.reverse()
        return found

    def _shrink(self, seat: int, share: _Share) -> None:
        for name in [name for name in self._values if name[0] == seat]:
            if share.keys <= self._max_keys and (share.size <= self._max_bytes or share.keys <= 1):
                break
            share.keys -= 1
            share.size -= len(self._values.pop(name)[2])


class _Share:
    """How much of the board one sender uses."""

    __slots__ = ("keys", "size")

    def __init__(self) -> None:
        self.keys = 0
        self.size = 0


class VolatileRing:
    """The last fire-and-forget events. What falls out before a receiver came by is lost to it."""

    __slots__ = ("_base", "_entries", "_max_bytes", "_max_events", "_size")

    def __init__(self, *, max_events: int = 1_024, max_bytes: int = 256 * 1024) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._base = 0
        self._size = 0
        self._entries: list[tuple[int, bytes, Audience | None]] = []

    @property
    def end(self) -> int:
        """Events ever put."""
        return self._base + len(self._entries)

    def put(self, seat: int, piece: bytes, audience: Audience | None = None) -> None:
        """Adds an event, for some places or for everybody; the oldest go when a bound is passed."""
        self._entries.append((seat, piece, audience))
        self._size += len(piece)
        surplus = 0
        while len(self._entries) - surplus > self._max_events or self._size > self._max_bytes:
            self._size -= len(self._entries[surplus][1])
            surplus += 1
        if surplus:
            del self._entries[:surplus]
            self._base += surplus

    def since(self, position: int, *, place: int) -> tuple[list[bytes], int]:
        """What was put since a position, is for this place and still here (its own is not), and how many are gone."""
        index = position - self._base
        found = [
            piece
            for seat, piece, audience in self._entries[max(index, 0) :]
            if seat != place and _is_for(place, audience)
        ]
        return found, max(-index, 0)


def _is_for(place: int, audience: Audience | None) -> bool:
    return audience is None or place in audience or place >= FIRST_OVERSEER
