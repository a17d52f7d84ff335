"""The search for a match around a ticket, or for tickets around an opening.

First the candidates, nearest first, join the set one by one if they can; that is a match nearly always when there is
one. Otherwise all sets are tried by backtracking over the candidates that go with the anchor, and a branch ends when
the candidates that are left could not make it larger than the best set so far (the bound of R. Carraghan,
P. M. Pardalos: An Exact Algorithm for the Maximum Clique Problem, Operations Research Letters 9, 1990; tickets of a set
are more than compatible in pairs, but what holds for a set holds for its parts, as for cliques).

Work is counted in steps: comparisons of a ticket with a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from services.matchmaking.engine.teams import EMPTY, Bay, Packer, Teams
from services.matchmaking.engine.terms import Entry, Joint, Terms

_MANY: Final = 8  # players to find, from which on it pays to count first
_MOST_NEW: Final = 2  # to be looked at one by one; with more of them it is cheaper to look at all at once
_LOOKS_SHARE: Final = 4  # of the budget, that may go into finding candidates


@dataclass(frozen=True, slots=True)
class Goal:
    """What is a match. `bays` ask for no fewest; `complete` says whether tickets that have place in them could begin. A
    set of `most` players always can."""

    bays: Sequence[Bay]
    most: int
    fewest: int
    complete: Callable[[Sequence[Entry], Teams], bool]


class Looked:
    """What a search saw: tickets that were looked at, and what excluded how many, by place of the rule; then by size
    and by roles."""

    __slots__ = ("candidates", "excluded")

    def __init__(self, rules: int) -> None:
        self.candidates = 0
        self.excluded = [0] * (rules + 2)


class Search:
    """One search. `found` is the largest set that is a match, empty when there is none; `ran_out` when it was cut
    short."""

    def __init__(self, terms: Terms, packer: Packer, goal: Goal, budget: int) -> None:
        self._terms = terms
        self._packer = packer
        self._goal = goal
        self._budget = budget
        self._looks = max(budget // _LOOKS_SHARE, 1)
        self.steps = 0
        self.ran_out = False
        self.looked = Looked(len(terms.rules))
        self.found: Sequence[Entry] = ()
        self._found_size = 0

    def run(
        self,
        joint: Joint,
        anchor: Entry | None,
        candidates: Iterable[Entry],
        passed_over: Callable[[Entry], bool],
        since: int = -1,
    ) -> None:
        """Looks for a set with the anchor. Who is passed over is looked at, and not taken. With `since`, there was none
        at that stamp, and only sets with somebody who changed after it are looked for."""
        goal = self._goal
        teams: Teams = (EMPTY,) * len(goal.bays)
        chosen: list[Entry] = []
        if anchor is not None:
            seated = self._packer.add(teams, goal.bays, anchor)
            if seated is None:
                return
            teams, chosen = seated, [anchor]
            self._keep(chosen, teams, anchor.size)
        if since < 0:
            self._around(joint, chosen, teams, candidates, passed_over)
            return
        known = list(islice(candidates, self._looks))
        self.ran_out = len(known) == self._looks
        newcomers = [candidate for candidate in known if candidate.changed > since and candidate is not anchor]
        if len(newcomers) > _MOST_NEW:
            self._around(joint, chosen, teams, known, passed_over)
            return
        for new in newcomers:
            self.steps += 1
            known.remove(new)
            common = self._terms.join(joint, new)
            if isinstance(common, int) or passed_over(new) or self._found_size == goal.most:
                continue
            with_new = self._seated(chosen, teams, new, sum(entry.size for entry in (*chosen, new)))
            if with_new is not None:
                both = [*chosen, new]
                self._keep(both, with_new, sum(entry.size for entry in both))
                self._around(common, both, with_new, known, passed_over)

    def _around(
        self,
        joint: Joint,
        chosen: list[Entry],
        teams: Teams,
        candidates: Iterable[Entry],
        passed_over: Callable[[Entry], bool],
    ) -> None:
        """Looks for a set with all who are chosen."""
        size = sum(entry.size for entry in chosen)
        if self._found_size == self._goal.most or size == self._goal.most:
            return
        if self._goal.fewest - size > _MANY:
            candidates = list(islice(candidates, self._looks))
            if len(candidates) < self._looks and self._too_few(joint, chosen, size, candidates, passed_over):
                return
        options = self._dive(joint, chosen, teams, size, candidates, passed_over)
        if self._found_size < self._goal.most and options:
            self._descend(joint, chosen, teams, size, [option for option, _ in options], [j for _, j in options])

    def _too_few(
        self,
        joint: Joint,
        chosen: Sequence[Entry],
        size: int,
        candidates: Sequence[Entry],
        passed_over: Callable[[Entry], bool],
    ) -> bool:
        """Whether all who go with those chosen would not be enough, teams or no teams."""
        looked = Looked(len(self._terms.rules))
        for candidate in candidates:
            if candidate in chosen:
                continue
            looked.candidates += 1
            joined = self._terms.join(joint, candidate)
            if isinstance(joined, int):
                looked.excluded[joined] += 1
            elif not passed_over(candidate):
                size += candidate.size
        self.steps += looked.candidates // 2  # it spares the teams
        if size >= self._goal.fewest:
            return False
        self.looked = looked
        return True

    def _dive(
        self,
        joint: Joint,
        first: Sequence[Entry],
        teams: Teams,
        size: int,
        candidates: Iterable[Entry],
        passed_over: Callable[[Entry], bool],
    ) -> list[tuple[Entry, Joint]]:
        """Takes whoever can be taken; returns all who go with those chosen first, unless the set is as large as it can
        be."""
        join, most = self._terms.join, self._goal.most
        roles = len(self.looked.excluded) - 1
        options: list[tuple[Entry, Joint]] = []
        chosen = list(first)
        common, placed = joint, teams
        for candidate in candidates:
            if candidate in first:
                continue
            if self.steps >= self._looks:
                self.ran_out = True
                break
            self.steps += 1
            self.looked.candidates += 1
            with_anchor = join(joint, candidate)
            if isinstance(with_anchor, int):
                self.looked.excluded[with_anchor] += 1
                continue
            if passed_over(candidate):
                continue
            options.append((candidate, with_anchor))
            together = with_anchor if common is joint else join(common, candidate)
            if isinstance(together, int):
                self.looked.excluded[together] += 1
                continue
            larger = size + candidate.size
            seated = self._seated(chosen, placed, candidate, larger)
            if seated is None:
                self.looked.excluded[roles if self._misfit(candidate, larger) else roles - 1] += 1
                continue
            chosen.append(candidate)
            common, placed, size = together, seated, larger
            self._keep(chosen, placed, size)
            if self._found_size == most:
                return []
        return options

    def _descend(
        self, joint: Joint, chosen: list[Entry], teams: Teams, size: int, options: list[Entry], joints: list[Joint]
    ) -> bool:
        """Tries all sets that begin with `chosen`; True when there is nothing left to look for."""
        goal, join = self._goal, self._terms.join
        left = sum([len(option.ticket.players) for option in options])
        for place, option in enumerate(options):
            if size + left <= self._found_size or size + left < goal.fewest:
                return False
            players = len(option.ticket.players)
            left -= players
            if size + players > goal.most:
                continue
            if self.steps >= self._budget:
                self.ran_out = True
                return True
            self.steps += 1
            seated = self._seated(chosen, teams, option, size + players)
            if seated is None:
                continue
            chosen.append(option)
            self._keep(chosen, seated, size + players)
            done = self._found_size == goal.most
            if not done and place + 1 < len(options):
                common = joints[place]
                rest, theirs = [], []
                for other in options[place + 1 :]:
                    self.steps += 1
                    together = join(common, other)
                    if not isinstance(together, int):
                        rest.append(other)
                        theirs.append(together)
                done = self._descend(common, chosen, seated, size + players, rest, theirs)
            chosen.pop()
            if done:
                return True
        return False

    def _seated(self, chosen: Sequence[Entry], teams: Teams, entry: Entry, size: int) -> Teams | None:
        if size > self._goal.most:
            return None
        seated = self._packer.add(teams, self._goal.bays, entry)
        if seated is None and len(chosen) > 0:
            seated = self._packer.pack([*chosen, entry], self._goal.bays)
        return seated

    def _misfit(self, entry: Entry, size: int) -> bool:
        """Whether it is roles that keep it out, and not the number of players."""
        return bool(self._terms.roles) and size <= self._goal.most

    def _keep(self, chosen: Sequence[Entry], teams: Teams, size: int) -> None:
        goal = self._goal
        if size > self._found_size and size >= goal.fewest and (size == goal.most or goal.complete(chosen, teams)):
            self.found = list(chosen)
            self._found_size = size
