"""A queue's pool: tickets and openings that wait, and the matches that can be made of them.

Openings go before new matches, and the oldest ticket is looked at first. In a small pool the search is complete: what
can be matched is matched. In a large one work per ticket is bounded: who ran out of it has twice as much the next
time, up to a limit; and who found nothing is not looked at again until something changes near it, or time lets a rule
give way. Limits, and what rules mean for more than two tickets: `terms`. Teams: `shapes`, `teams`. Search: `search`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from services.matchmaking.engine.census import Census
from services.matchmaking.engine.checks import fits
from services.matchmaking.engine.index import Group, Index, Line, nearest
from services.matchmaking.engine.queues import Queue
from services.matchmaking.engine.search import Goal, Search
from services.matchmaking.engine.shapes import Lineup, Shape
from services.matchmaking.engine.teams import Packer
from services.matchmaking.engine.terms import Entry, Joint, Terms
from services.matchmaking.engine.tickets import Opening, Proposal, Ticket, Why

BUDGET: Final = 2_000
"""Steps of a search: comparisons of a ticket with a set, each a few microseconds."""
TOTAL: Final = 200_000
"""Steps of a cycle; who was not looked at comes first in the next."""
SIZE: Final = "size"
ROLES: Final = "roles"
_MOST_DOUBLINGS: Final = 4
_QUICK_LOOKS: Final = 8


@dataclass(slots=True)
class _Vacancy:
    """An opening that waits."""

    opening: Opening
    stage: int = -1
    effort: int = 0
    seen: int = -1


class Pool:
    """Tickets and openings of one queue. Not safe to use from several threads at once."""

    def __init__(self, queue: Queue, *, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self._vacancies: dict[str, _Vacancy] = {}
        self._seq = 0
        self._define(queue)

    def _define(self, queue: Queue) -> None:
        self.queue = queue
        self._terms = Terms(queue)
        self._packer = Packer(self._terms.roles)
        self._shape = Shape(queue, self._terms.roles, self._packer)
        self._index = Index(self._terms)
        self._lines = [Line() for _ in range(len(self._terms.times) + 1)]
        self._entries: dict[str, Entry] = {}
        self._census = Census(queue)
        self._cursor: tuple[float, int] | None = None
        self._unfinished = False

    @property
    def tickets(self) -> int:
        """Tickets that wait."""
        return len(self._entries)

    @property
    def players(self) -> int:
        """Players that wait."""
        return self._census.players

    @property
    def openings(self) -> int:
        """Openings that wait."""
        return len(self._vacancies)

    def ticket_ids(self) -> list[str]:
        """Those that wait, in the order in which they came in."""
        return list(self._entries)

    def redefine(self, queue: Queue) -> list[Ticket]:
        """Goes on under a new definition. Returns the tickets that have no place in it; they are out of the pool."""
        tickets = [entry.ticket for entry in self._entries.values()]
        self._define(queue)
        for vacancy in self._vacancies.values():
            vacancy.stage = vacancy.seen = -1
        dropped = []
        for ticket in tickets:
            if fits(queue, ticket.players):
                dropped.append(ticket)
            else:
                self.add(ticket)
        return dropped

    def add(self, ticket: Ticket) -> None:
        """Adds a ticket, or puts it in the place of the one with its id."""
        self.remove(ticket.ticket_id)
        self._seq += 1
        entry = self._terms.entry(ticket, self._seq)
        self._entries[ticket.ticket_id] = entry
        self._census.add(entry)
        self._lines[0].add(entry)
        self._index.add(entry)

    def remove(self, ticket_id: str) -> Ticket | None:
        """Takes a ticket out; it is in no later match. None when there is none."""
        entry = self._entries.get(ticket_id)
        if entry is None:
            return None
        self._drop(entry)
        return entry.ticket

    def open(self, opening: Opening) -> None:
        """Adds an opening, or puts it in the place of the one of its session."""
        self._vacancies[opening.session_id] = _Vacancy(opening)

    def close(self, session_id: str) -> None:
        """Takes the opening of a session out, if there is one."""
        self._vacancies.pop(session_id, None)

    def match(self, now: float, *, budget: int = BUDGET, total: int = TOTAL) -> list[Proposal]:
        """The matches that can be made now, `budget` and `total` steps of work at most for one ticket and for all. What
        is proposed is taken out of the pool."""
        self._advance(now)
        self._unfinished = False
        proposals: list[Proposal] = []
        left = total
        for vacancy in sorted(self._vacancies.values(), key=lambda vacancy: vacancy.opening.enter_time):
            if left < total // 2:
                self._unfinished = True
                break
            left -= self._fill(vacancy, now, budget, proposals)
        for entry in self._in_turn():
            if entry.gone:
                continue
            if left <= 0:
                self._cursor = (entry.enter, entry.seq)
                break
            left -= self._look(entry, budget, proposals)
        else:
            self._cursor = None
        return proposals

    def overdue(self, now: float) -> list[Ticket]:
        """Takes out the tickets that have waited for as long as the queue allows."""
        late = []
        for line in reversed(self._lines):
            while (entry := line.oldest()) is not None and entry.enter + self.queue.max_wait <= now:
                self._drop(entry)
                late.append(entry.ticket)
        return late

    def next_change(self, now: float) -> float | None:
        """The next moment at which time alone can change what `match` or `overdue` do; `now` when work was left."""
        if self._unfinished or self._cursor is not None:
            return now
        moments = []
        for stage, line in enumerate(self._lines):
            oldest = line.oldest()
            if oldest is not None:
                moments.append(oldest.enter + self.queue.max_wait)
                if stage < len(self._terms.times):
                    moments.append(oldest.enter + self._terms.times[stage])
        for vacancy in self._vacancies.values():
            enter = vacancy.opening.enter_time
            stage = self._terms.stage(enter, now)
            if stage < len(self._terms.times):
                moments.append(enter + self._terms.times[stage])
        return max(min(moments), now) if moments else None

    def why(self, ticket_id: str) -> Why | None:
        """What kept others away from a ticket when it was last looked at. None when it was not, or is not here."""
        entry = self._entries.get(ticket_id)
        if entry is None or not entry.looked:
            return None
        names = [*(rule.name for rule in self.queue.rules), SIZE, ROLES]
        candidates, *excluded = entry.looked
        return Why(candidates, {name: count for name, count in zip(names, excluded, strict=True) if count})

    def _advance(self, now: float) -> None:
        """Lets rules give way to those who have waited."""
        for stage, after in enumerate(self._terms.times):
            for entry in self._lines[stage].take(now, after):
                self._index.advance(entry, stage + 1)  # which wakes it, and who is near
                self._lines[stage + 1].add(entry)

    def _in_turn(self) -> Iterator[Entry]:
        """All tickets, oldest first; beginning with those for whom there was no time."""
        lines = [line.entries() for line in reversed(self._lines)]
        cursor = self._cursor
        if cursor is not None:
            for line in lines:
                yield from [entry for entry in line if (entry.enter, entry.seq) >= cursor]
        for line in lines:
            for entry in line:
                if cursor is not None and (entry.enter, entry.seq) >= cursor:
                    return
                yield entry

    def _look(self, entry: Entry, budget: int, proposals: list[Proposal]) -> int:
        """Looks for a match for a ticket; returns the steps it took."""
        index, terms = self._index, self._terms
        groups = index.around(entry.equals, entry.stage)
        reach = index.reach(entry.stage)
        if entry.seen >= _changed(groups, entry.position, reach):
            return 0
        goal = self._shape.goal(filled=terms.filled[entry.stage], bots=terms.bots[entry.stage])
        search = Search(terms, self._packer, goal, budget << entry.effort)
        joint = terms.alone(entry)
        hopeless = self._hopeless(entry, joint, goal)
        # It found nothing before and is what it was: a match now has somebody who is not. Now and then all are looked
        # at again, to tell why.
        quick = entry.seen >= entry.changed and not entry.effort and entry.quick < _QUICK_LOOKS and hopeless is None
        since = entry.seen if quick else -1
        entry.quick = entry.quick + 1 if quick else 0
        if hopeless is None and not isinstance(joint, int):
            search.run(
                joint,
                entry,
                nearest(groups, entry.position, reach),
                lambda other: other.seen >= 0 and not other.effort and other < entry,
                since,
            )
            if search.found:
                self._propose(search.found, joint, self._shape.lineup(search.found), proposals)
                return search.steps + 1
        entry.effort, entry.seen = self._patience(search, entry.effort)
        if quick:
            return search.steps + 1
        outside, excluded = index.elsewhere(groups, entry, reach)
        if hopeless is not None:
            search.looked.candidates = search.looked.excluded[hopeless] = max(index.tickets - 1 - outside, 0)
        search.looked.candidates += outside
        for place, count in excluded.items():
            search.looked.excluded[place] += count
        entry.looked = (search.looked.candidates, *search.looked.excluded)
        return search.steps + 1

    def _hopeless(self, entry: Entry, joint: Joint | int, goal: Goal) -> int | None:
        """What makes a search vain: the place of a rule that the ticket's own party does not keep, or, as in `Looked`,
        the size or the roles of all tickets there are."""
        if isinstance(joint, int):
            return joint
        rules = len(self._terms.rules)
        if self._census.lacks_players(entry, goal):
            return rules
        return rules + 1 if self._census.lacks_roles(goal) else None

    def _fill(self, vacancy: _Vacancy, now: float, budget: int, proposals: list[Proposal]) -> int:
        """Looks for tickets for an opening; returns the steps it took."""
        opening = vacancy.opening
        joint = self._terms.opening(opening, now)
        if joint.stage != vacancy.stage:
            vacancy.stage, vacancy.seen = joint.stage, -1
        known = bool(opening.present)
        groups = self._index.around(joint.equals, joint.stage) if known else self._index.everything()
        position, reach = 0.0, inf
        numeric = self._terms.first_numeric
        if known and numeric is not None:
            position, reach = (joint.ranges[0] + joint.ranges[1]) / 2, self._index.reach(joint.stage)
        if vacancy.seen >= _changed(groups, position, reach):
            return 0
        goal = self._shape.opening_goal(opening)
        search = Search(self._terms, self._packer, goal, budget << vacancy.effort)
        search.run(joint, None, nearest(groups, position, reach), lambda other: False)
        if search.found:
            del self._vacancies[opening.session_id]
            self._propose(search.found, joint, self._shape.filled(opening, search.found), proposals, opening)
        else:
            vacancy.effort, vacancy.seen = self._patience(search, vacancy.effort)
        return search.steps + 1

    def _patience(self, search: Search, effort: int) -> tuple[int, int]:
        """Doublings, and the version of what was looked at, of who found nothing."""
        if not search.ran_out:
            return 0, self._index.stamp
        if effort < _MOST_DOUBLINGS:
            self._unfinished = True
            return effort + 1, -1
        return effort, self._index.stamp

    def _propose(
        self,
        found: Sequence[Entry],
        joint: Joint,
        lineup: Lineup,
        proposals: list[Proposal],
        opening: Opening | None = None,
    ) -> None:
        common = joint if opening is not None else self._terms.nobody(joint.stage)
        for entry in found:
            joined = self._terms.join(common, entry)
            if isinstance(joined, int):
                raise TypeError("the search has found what its rules do not allow")
            common = joined
            self._drop(entry)
        attributes = self._terms.chosen(common, self._random.random())
        if opening is not None:
            attributes |= opening.attributes
        tickets = tuple(entry.ticket for entry in sorted(found))
        proposals.append(Proposal(tickets, lineup.placed, attributes, lineup.bots, opening))

    def _drop(self, entry: Entry) -> None:
        entry.gone = True
        del self._entries[entry.ticket.ticket_id]
        self._census.remove(entry)
        self._lines[entry.stage].lost()
        self._index.remove(entry)


def _changed(groups: Sequence[Group], position: float, reach: float) -> int:
    """Stamp of the last change that matters there."""
    return max([group.changed_near(position, reach) for group in groups], default=0)
