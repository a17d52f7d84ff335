"""Where a pool finds tickets: by age, and by nearness.

Both orders are sorted lists: what is new is sorted in when somebody looks, what is gone is skipped, and swept out when
it is the larger half. So a change costs a constant and its share of a merge (the lists are nearly sorted, which is what
Python's sort is made for: T. Peters, listsort.txt in CPython).
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from math import floor, inf
from operator import attrgetter
from typing import Final

from services.matchmaking.engine.terms import Entry, Terms

_FEWEST_SWEPT: Final = 64
_MOST_BUCKETS: Final = 16
_MOST_GIVEN_UP: Final = (
    2  # rules that may be given up, by which tickets are grouped: each doubles the groups of a ticket
)
_WHATEVER: Final = object()  # in the place of a value, among tickets that do not insist

_AGE = attrgetter("enter", "seq")

Key = tuple[object, ...]


class Line:
    """Tickets of a stage, oldest first."""

    __slots__ = ("_dead", "_entries", "_fresh")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._fresh: list[Entry] = []
        self._dead = 0

    def add(self, entry: Entry) -> None:
        """Adds a ticket."""
        self._fresh.append(entry)

    def lost(self) -> None:
        """One of them is gone."""
        self._dead += 1

    def entries(self) -> list[Entry]:
        """All of them, and a few that are gone."""
        if self._fresh:
            self._entries += self._fresh
            self._fresh = []
            self._entries.sort(key=_AGE)
        if self._dead > _FEWEST_SWEPT and self._dead * 2 > len(self._entries):
            self._entries = [entry for entry in self._entries if not entry.gone]
            self._dead = 0
        return self._entries

    def oldest(self) -> Entry | None:
        """The oldest that is not gone."""
        entries = self.entries()
        for place, entry in enumerate(entries):
            if not entry.gone:
                if place > _FEWEST_SWEPT:
                    del entries[:place]
                    self._dead -= place
                return entry
        entries.clear()
        self._dead = 0
        return None

    def take(self, until: float, after: float) -> list[Entry]:
        """Takes out those that have waited for `after` seconds at this moment."""
        entries = self.entries()
        count = 0
        while count < len(entries) and entries[count].enter + after <= until:
            count += 1
        taken = entries[:count]
        del entries[:count]
        alive = [entry for entry in taken if not entry.gone]
        self._dead -= count - len(alive)
        return alive


class Group:
    """Tickets with the same values, by their position in the first numeric rule. `width` is that of the buckets of
    which it knows when something changed in them last: `stamp`s grow with every change of the pool."""

    __slots__ = ("_buckets", "_dead", "_fresh", "_items", "_width", "changed")

    def __init__(self, width: float) -> None:
        self._items: list[tuple[float, float, int, Entry]] = []
        self._fresh: list[tuple[float, float, int, Entry]] = []
        self._dead = 0
        self._width = width
        self._buckets: dict[int, int] = {}
        self.changed = 0

    def __len__(self) -> int:
        return len(self._items) + len(self._fresh) - self._dead

    def add(self, entry: Entry, stamp: int) -> None:
        """Adds a ticket."""
        self._fresh.append((entry.position, entry.enter, entry.seq, entry))
        self.touch(entry, stamp)

    def lost(self) -> None:
        """One of them is gone."""
        self._dead += 1

    def touch(self, entry: Entry, stamp: int) -> None:
        """More is possible with this ticket than before."""
        self.changed = stamp
        if self._width:
            self._buckets[floor(entry.position / self._width)] = stamp

    def changed_near(self, position: float, reach: float) -> int:
        """Stamp of the last change within reach of a position, or of a later one."""
        width = self._width
        if not width or reach / width > _MOST_BUCKETS / 2:
            return self.changed
        buckets = self._buckets
        first, last = floor((position - reach) / width), floor((position + reach) / width)
        return max([buckets.get(bucket, 0) for bucket in range(first, last + 1)])

    def near(self, position: float, reach: float) -> Iterator[Entry]:
        """Tickets within reach, nearest first, the older of two that are as near on one side."""
        items = self._sorted()
        right = bisect_left(items, (position,))
        left = right - 1
        low, high = position - reach, position + reach
        end = len(items)
        while True:
            while right < end and items[right][3].gone:
                right += 1
            while left >= 0 and items[left][3].gone:
                left -= 1
            over = items[right][0] if right < end else inf
            under = items[left][0] if left >= 0 else -inf
            if over - position <= position - under:
                if over > high or right >= end:
                    return
                yield items[right][3]
                right += 1
            else:
                if under < low:
                    return
                yield items[left][3]
                left -= 1

    def beyond(self, position: float, reach: float) -> int:
        """About how many are out of reach."""
        if reach == inf:
            return 0
        items = self._sorted()
        inside = bisect_left(items, (position + reach, inf)) - bisect_left(items, (position - reach,))
        return max(len(items) - inside - self._dead, 0)

    def _sorted(self) -> list[tuple[float, float, int, Entry]]:
        if self._fresh:
            self._items += self._fresh
            self._fresh = []
            self._items.sort()
        if self._dead > _FEWEST_SWEPT and self._dead * 2 > len(self._items):
            self._items = [item for item in self._items if not item[3].gone]
            self._dead = 0
            if self._width:
                alive = {floor(item[0] / self._width) for item in self._items}
                self._buckets = {bucket: stamp for bucket, stamp in self._buckets.items() if bucket in alive}
        return self._items


class Index:
    """All tickets of a pool by their values in the `equal` rules.

    A ticket that does not insist on a rule any more is also in the group of those who do not, whatever their values:
    partners with other values, who do not insist either, are found there.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        last = terms.limits[-1]
        kept = [(slot, rule) for slot, rule in enumerate(terms.equal_rules) if last[rule] is not None]
        given_up = [(slot, rule) for slot, rule in enumerate(terms.equal_rules) if last[rule] is None]
        self._by = kept + given_up[:_MOST_GIVEN_UP]
        self._numeric = terms.first_numeric
        width = 0.0
        if self._numeric is not None:
            width = terms.limits[0][self._numeric] or 1.0
        self._width = width
        self._groups: dict[Key, Group] = {}
        self._values = [Counter[object]() for _ in self._by]
        self.tickets = 0
        self.stamp = 0
        """Counts changes."""

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, entry: Entry) -> None:
        """Adds a ticket."""
        self.stamp += 1
        entry.changed = self.stamp
        self.tickets += 1
        for (slot, _), values in zip(self._by, self._values, strict=True):
            values[entry.equals[slot]] += 1
        for key in self._keys(entry.equals, entry.stage):
            self._group(key).add(entry, self.stamp)

    def remove(self, entry: Entry) -> None:
        """Takes a ticket out that was marked as gone."""
        self.tickets -= 1
        for (slot, _), values in zip(self._by, self._values, strict=True):
            values[entry.equals[slot]] -= 1
            if not values[entry.equals[slot]]:
                del values[entry.equals[slot]]
        for key in self._keys(entry.equals, entry.stage):
            group = self._groups[key]
            group.lost()
            if not len(group):
                del self._groups[key]

    def advance(self, entry: Entry, stage: int) -> None:
        """A ticket has come to its next stage."""
        self.stamp += 1
        entry.changed = self.stamp
        before = self._keys(entry.equals, entry.stage)
        entry.stage = stage
        for key in self._keys(entry.equals, stage):
            if key in before:
                self._group(key).touch(entry, self.stamp)
            else:
                self._group(key).add(entry, self.stamp)

    def around(self, equals: Sequence[object], stage: int) -> list[Group]:
        """Where the partners of a ticket are."""
        groups = self._groups
        return [groups[key] for key in self._keys(equals, stage) if key in groups]

    def reach(self, stage: int) -> float:
        """How far partners may be, for a ticket at a stage."""
        if self._numeric is None:
            return inf
        limit = self._terms.limits[stage][self._numeric]
        return inf if limit is None else limit

    def elsewhere(self, groups: Sequence[Group], entry: Entry, reach: float) -> tuple[int, dict[int, int]]:
        """How many tickets are not within reach in these groups, and by place of the rule how many it keeps away. With
        several `equal` rules one ticket may count for each."""
        excluded: dict[int, int] = {}
        inside = 0
        for group in groups:
            beyond = group.beyond(entry.position, reach)
            inside += len(group) - beyond
            if beyond and self._numeric is not None:
                excluded[self._numeric] = excluded.get(self._numeric, 0) + beyond
        limits = self._terms.limits[entry.stage]
        for (slot, rule), values in zip(self._by, self._values, strict=True):
            others = self.tickets - values[entry.equals[slot]]
            if others and limits[rule] is not None:
                excluded[rule] = others
        return max(self.tickets - inside, 0), excluded

    def everything(self) -> list[Group]:
        """All groups; a ticket may be in several."""
        return list(self._groups.values())

    def _group(self, key: Key) -> Group:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(self._width)
        return group

    def _keys(self, equals: Sequence[object], stage: int) -> list[Key]:
        if not self._by:
            return [()]
        limits = self._terms.limits[stage]
        keys: list[Key] = [()]
        for slot, rule in self._by:
            values = (equals[slot],) if limits[rule] is not None else (equals[slot], _WHATEVER)
            keys = [(*key, value) for key in keys for value in values]
        return keys


def nearest(groups: Sequence[Group], position: float, reach: float) -> Iterator[Entry]:
    """Tickets of several groups, nearest first, each once."""
    if len(groups) == 1:
        yield from groups[0].near(position, reach)
        return
    seen: set[int] = set()
    streams = [group.near(position, reach) for group in groups]
    for entry in heapq.merge(*streams, key=lambda found: abs(found.position - position)):
        if entry.seq not in seen:
            seen.add(entry.seq)
            yield entry
