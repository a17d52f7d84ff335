"""What a queue's rules mean for tickets: compiled once per definition, so that comparing is cheap.

All tickets of a queue give way at the same waiting times, so a ticket is at a *stage*: how many of these times it has
waited for. Limits only grow from stage to stage (`checks`), and therefore the limits of a match, which are as strict as
for any of its tickets, are those of the stage of its youngest. What that means for each kind of rule:

- `distance`, `skill`: the largest value and the smallest differ by no more than that limit, whoever has them.
- `equal`: while any ticket insists, all players have the same value, those who do not insist any more too.
- `overlap`: while any ticket insists, one value is common to all players who name any.
- `region`: while any ticket insists, one region is within that limit for all players, and all have measured it.

A rule is off only in a match of which no ticket insists. A party is held to its own rules as well.

All of this is hereditary: what holds for a set holds for each part of it, so a search may stop at the first conflict.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from services.matchmaking.engine.queues import Queue, Rule, RuleKind
from services.matchmaking.engine.roles import Roles
from services.matchmaking.engine.tickets import Opening, Player, Ticket

REGION: Final = "region"
_ANY: Final = object()  # nobody has said anything yet
_MIXED: Final = None  # there is no single value
_NUMERIC: Final = (RuleKind.SKILL, RuleKind.DISTANCE)


class Joint(NamedTuple):
    """What tickets have in common, in the order of the rules of each kind."""

    stage: int
    equals: tuple[object, ...]
    ranges: tuple[float, ...]
    """Smallest and largest value, in turn."""
    lists: tuple[frozenset[str] | None, ...]
    """Values that all accept; None when all take any."""
    regions: Mapping[str, float] | None
    """Longest latency, by region that all have measured; None when nobody was asked."""


class Entry:
    """A ticket in a pool, with what the search needs of it at hand."""

    __slots__ = (
        "changed",
        "effort",
        "enter",
        "equals",
        "gone",
        "latencies",
        "lists",
        "looked",
        "masks",
        "position",
        "quick",
        "ranges",
        "rating",
        "seen",
        "seq",
        "stage",
        "ticket",
    )

    def __init__(self, ticket: Ticket, seq: int) -> None:
        self.ticket = ticket
        self.enter = ticket.enter_time
        self.seq = seq
        self.stage = 0
        self.gone = False
        self.effort = 0  # doublings of its budget
        self.changed = 0  # stamp of its arrival, or of its last stage
        self.seen = -1  # stamp of when it found nothing; -1: look again
        self.quick = 0  # looks since then at what was new only
        self.looked: tuple[int, ...] = ()  # candidates and exclusions of its last search
        self.equals: tuple[object, ...] = ()
        self.ranges: tuple[float, ...] = ()
        self.lists: tuple[frozenset[str] | None, ...] = ()
        self.latencies: Mapping[str, float] = {}
        self.masks: tuple[int, ...] = ()
        self.position = 0.0
        self.rating = 0.0

    @property
    def size(self) -> int:
        """Players."""
        return len(self.ticket.players)

    def __lt__(self, other: Entry) -> bool:
        return (self.enter, self.seq) < (other.enter, other.seq)


class Terms:
    """The rules of a queue, compiled."""

    def __init__(self, queue: Queue) -> None:
        self.rules: Sequence[Rule] = queue.rules
        self.roles = Roles(queue.roles)
        steps = {step.after for rule in queue.rules for step in rule.steps}
        self.times = sorted(steps | {time for time in (queue.fill, queue.bots_after) if time > 0})
        moments = [0.0, *self.times]
        self.limits = [tuple(rule.limit_after(moment) for rule in queue.rules) for moment in moments]
        self.filled = [moment >= queue.fill for moment in moments]
        self.bots = [queue.bots_after > 0 and moment >= queue.bots_after for moment in moments]
        self._equals = self._attributes(RuleKind.EQUAL)
        self._lists = self._attributes(RuleKind.OVERLAP)
        self._numeric = [rule for rule in queue.rules if rule.kind in _NUMERIC]
        # Places of rules, and where their values are in a `Joint`.
        self._numeric_plan = [(place, 2 * i) for i, place in enumerate(self._places(*_NUMERIC))]
        self._equal_plan = [(place, i) for i, place in enumerate(self._places(RuleKind.EQUAL))]
        self._list_plan = [(place, i) for i, place in enumerate(self._places(RuleKind.OVERLAP))]
        self._region = next(iter(self._places(RuleKind.REGION)), None)
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self.equal_rules = self._places(RuleKind.EQUAL)
        self.first_numeric = next(iter(self._places(*_NUMERIC)), None)

    def stage(self, enter: float, now: float) -> int:
        """How many of the queue's times have passed for who came then."""
        return bisect_right(self.times, now, key=lambda time: enter + time)

    def entry(self, ticket: Ticket, seq: int, now: float | None = None) -> Entry:
        """A ticket, ready to be compared."""
        entry = Entry(ticket, seq)
        players = ticket.players
        entry.equals = tuple(self._equal(players, attribute) for attribute in self._equals)
        entry.ranges = self._ranges(players)
        entry.lists = tuple(self._list(players, attribute) for attribute in self._lists)
        if self._region is not None:
            entry.latencies = _worst(players)
        entry.masks = tuple(map(self.roles.mask, players)) if self.roles else ()
        entry.rating = sum(player.rating for player in players)
        if self.first_numeric is not None:
            entry.position = (entry.ranges[0] + entry.ranges[1]) / 2
        if now is not None:
            entry.stage = self.stage(entry.enter, now)
        return entry

    def alone(self, entry: Entry) -> Joint | int:
        """What a ticket has in common with itself, or the place of the rule that its party does not keep."""
        return self.join(self.nobody(entry.stage), entry)

    def nobody(self, stage: int) -> Joint:
        """Where a set begins."""
        return Joint(stage, (_ANY,) * len(self._equals), (), (None,) * len(self._lists), None)

    def opening(self, opening: Opening, now: float) -> Joint:
        """What an opening asks of those who come: it counts as one ticket, of who is there, that has waited since it
        opened; what rules chose for its session stays as it is."""
        players, chosen = opening.present, opening.attributes
        equals = tuple(
            chosen[name] if name in chosen else self._equal(players, name) if players else _ANY for name in self._equals
        )
        lists = tuple(
            frozenset((chosen[name],)) if name in chosen else self._list(players, name) for name in self._lists
        )
        regions: Mapping[str, float] | None = None
        if REGION in chosen:
            regions = {chosen[REGION]: 0.0}
        elif players and self._region is not None:
            regions = _worst(players)
        return Joint(
            self.stage(opening.enter_time, now), equals, self._ranges(players) if players else (), lists, regions
        )

    def join(self, joint: Joint, entry: Entry) -> Joint | int:
        """What they have in common with one more, or the place of the rule that does not allow it."""
        stage = joint.stage if joint.stage < entry.stage else entry.stage
        limits = self.limits[stage]
        _, equals, ranges, lists, regions = joint
        theirs = entry.ranges
        if not ranges:
            ranges = theirs
        elif ranges != theirs:
            joined = list(ranges)
            for slot in range(0, len(joined), 2):
                if theirs[slot] < joined[slot]:
                    joined[slot] = theirs[slot]
                if theirs[slot + 1] > joined[slot + 1]:
                    joined[slot + 1] = theirs[slot + 1]
            ranges = tuple(joined)
        for place, slot in self._numeric_plan:
            limit = limits[place]
            if limit is not None and ranges[slot + 1] - ranges[slot] > limit:
                return place
        if equals and equals != entry.equals:
            equals = tuple(map(_same, equals, entry.equals))
        for place, slot in self._equal_plan:
            if equals[slot] is _MIXED and limits[place] is not None:
                return place
        if lists and lists != entry.lists:
            lists = tuple(map(_common, lists, entry.lists))
        for place, slot in self._list_plan:
            if lists[slot] is not None and not lists[slot] and limits[place] is not None:
                return place
        region = self._region
        if region is not None:
            latencies = entry.latencies
            limit = limits[region]
            if regions is None:
                regions = latencies
            else:
                regions = {
                    name: latencies[name] if latencies[name] > worst else worst
                    for name, worst in regions.items()
                    if name in latencies
                }
            if limit is not None and (not regions or min(regions.values()) > limit):
                return region
        return Joint(stage, equals, ranges, lists, regions)

    def chosen(self, joint: Joint, draw: float) -> dict[str, str]:
        """The attributes of a session of these players. `draw`, in [0, 1), picks among values that are as good."""
        same = zip(self._equals, joint.equals, strict=True)
        attributes = {name: value for name, value in same if isinstance(value, str) and value}
        for name, common in zip(self._lists, joint.lists, strict=True):
            if common:
                attributes[name] = sorted(common)[int(draw * len(common))]
        if joint.regions:
            attributes[REGION] = min(joint.regions.items(), key=lambda found: (found[1], found[0]))[0]
        return attributes

    def _attributes(self, kind: RuleKind) -> list[str]:
        return [rule.attribute for rule in self.rules if rule.kind is kind]

    def _places(self, *kinds: RuleKind) -> list[int]:
        return [place for place, rule in enumerate(self.rules) if rule.kind in kinds]

    def _equal(self, players: Sequence[Player], attribute: str) -> object:
        values = {player.texts.get(attribute, "") for player in players}
        return values.pop() if len(values) == 1 else _MIXED

    def _ranges(self, players: Sequence[Player]) -> tuple[float, ...]:
        found: list[float] = []
        for rule in self._numeric:
            if rule.kind is RuleKind.SKILL:
                mean = sum(player.rating for player in players) / len(players)
                found += (mean, mean)
            elif len(players) == 1:
                value = players[0].numbers.get(rule.attribute, 0.0)
                found += (value, value)
            else:
                values = [player.numbers.get(rule.attribute, 0.0) for player in players]
                found += (min(values), max(values))
        return tuple(found)

    def _list(self, players: Sequence[Player], attribute: str) -> frozenset[str] | None:
        common: frozenset[str] | None = None
        for player in players:
            values = player.lists.get(attribute, ())
            if values:
                common = frozenset(values) if common is None else common.intersection(values)
        if common is None:
            return None
        if len(self._sets) > 10_000:
            self._sets.clear()
        return self._sets.setdefault(common, common)


def _same(one: object, other: object) -> object:
    if one is _ANY or one == other:
        return other
    return _MIXED


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None:
        return other
    return one if other is None else one & other


def _worst(players: Sequence[Player]) -> Mapping[str, float]:
    first = players[0].latencies
    if len(players) == 1:
        return first
    return {
        region: max(player.latencies[region] for player in players)
        for region in first
        if all(region in player.latencies for player in players)
    }
