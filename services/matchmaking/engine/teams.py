"""Teams: whether tickets have place in them, and how they are made equal.

Tickets are packed whole. First each goes where there are fewest players; where that fails, all are packed anew by a
search that is complete (bin packing, the larger ones first, and teams that look the same tried once). Teams are made
equal in rating by longest processing time first (R. L. Graham: Bounds on Multiprocessing Timing Anomalies, SIAM Journal
on Applied Mathematics 17, 1969) and then by exchanges of one or two tickets for as long as these help: local search,
for to split numbers evenly is NP-hard (M. R. Garey, D. S. Johnson: Computers and Intractability, 1979).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations
from typing import Final, NamedTuple

from services.matchmaking.engine.roles import Capacity, Roles
from services.matchmaking.engine.terms import Entry

_PACKING_STEPS: Final = 20_000
_EXCHANGES: Final = 200
_FEW: Final = 10  # tickets of a team up to which two are exchanged at once
_LEAST_GAIN: Final = 1e-9


class Bay(NamedTuple):
    """Place for a team: most and fewest players, and parts where there are roles."""

    most: int
    fewest: int
    parts: Capacity


class Team(NamedTuple):
    """Tickets in a bay."""

    size: int
    masks: tuple[int, ...]
    members: tuple[Entry, ...]


Teams = tuple[Team, ...]

EMPTY: Final = Team(0, (), ())


class Packer:
    """Puts tickets into bays."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles
        self._hopeless: set[tuple[tuple[Bay, ...], tuple[tuple[int, tuple[int, ...]], ...]]] = set()

    def add(self, teams: Teams, bays: Sequence[Bay], entry: Entry) -> Teams | None:
        """One ticket more, in the team with the fewest players that has place for it; None when all must move."""
        size = len(entry.ticket.players)
        place = min(range(len(teams)), key=[team.size for team in teams].__getitem__)
        if bays[place].most >= teams[place].size + size:
            joined = self.joined(teams[place], bays[place], entry)
            if joined is not None:
                return (*teams[:place], joined, *teams[place + 1 :])
        tried = set()
        for place in sorted(range(len(teams)), key=lambda place: teams[place].size):
            team, bay = teams[place], bays[place]
            if team.size + size > bay.most:
                continue
            look = (bay, team.size, team.masks)
            if look in tried:
                continue
            tried.add(look)
            joined = self.joined(team, bay, entry)
            if joined is not None:
                return (*teams[:place], joined, *teams[place + 1 :])
        return None

    def joined(self, team: Team, bay: Bay, entry: Entry) -> Team | None:
        """A team with one ticket more."""
        size = team.size + len(entry.ticket.players)
        if size > bay.most:
            return None
        masks = team.masks
        if self._roles:
            masks = tuple(sorted(masks + entry.masks))
            if not self._roles.seatable(bay.parts, masks):
                return None
        return Team(size, masks, (*team.members, entry))

    def pack(self, entries: Sequence[Entry], bays: Sequence[Bay]) -> Teams | None:
        """All of them, in their bays, such that no team has too few; None when that cannot be."""
        look = (tuple(bays), tuple(sorted((entry.size, entry.masks) for entry in entries)))
        if look in self._hopeless:
            return None
        ordered = sorted(entries, key=lambda entry: -entry.size)
        found = self.search(ordered, bays, lambda team: team.size)
        if found is None:
            if len(self._hopeless) > 10_000:
                self._hopeless.clear()
            self._hopeless.add(look)
        return found

    def search(
        self,
        entries: Sequence[Entry],
        bays: Sequence[Bay],
        prefer: Callable[[Team], float],
        steps: int = _PACKING_STEPS,
    ) -> Teams | None:
        """Packs in the order given, each in the team that is preferred (least first), and comes back from dead ends."""
        sizes = [entry.size for entry in entries]
        left = [sum(sizes[i:]) for i in range(len(sizes) + 1)]
        if left[0] > sum(bay.most for bay in bays) or left[0] < sum(bay.fewest for bay in bays):
            return None
        budget = [steps]

        def descend(depth: int, teams: Teams) -> Teams | None:
            if depth == len(entries):
                return teams if all(t.size >= b.fewest for t, b in zip(teams, bays, strict=True)) else None
            if sum(max(b.fewest - t.size, 0) for t, b in zip(teams, bays, strict=True)) > left[depth]:
                return None
            tried = set()
            for place in sorted(range(len(teams)), key=lambda place: prefer(teams[place])):
                team, bay = teams[place], bays[place]
                look = (bay, team.size, team.masks)
                if look in tried:
                    continue
                tried.add(look)
                budget[0] -= 1
                if budget[0] < 0:
                    return None
                joined = self.joined(team, bay, entries[depth])
                if joined is not None:
                    found = descend(depth + 1, (*teams[:place], joined, *teams[place + 1 :]))
                    if found is not None:
                        return found
            return None

        return descend(0, (EMPTY,) * len(bays))

    def equal(self, entries: Sequence[Entry], bays: Sequence[Bay], packed: Teams) -> Teams:
        """Teams as equal as possible in the sum of ratings; of two teams of up to five tickets there are none that are
        more equal. `packed` is some way to pack them."""
        ordered = sorted(entries, key=lambda entry: (-entry.size, -entry.rating))
        teams = list(self.search(ordered, bays, rating, 1_000) or packed)
        if len(teams) > 1:
            self._exchange(teams, bays)
        return tuple(teams)

    def _exchange(self, teams: list[Team], bays: Sequence[Bay]) -> None:
        for _ in range(_EXCHANGES):
            order = sorted(range(len(teams)), key=lambda place: rating(teams[place]))
            for low, high in _pairs(order):
                better = self._exchanged(teams[low], teams[high], bays[low], bays[high])
                if better is not None:
                    teams[low], teams[high] = better
                    break
            else:
                return

    def _exchanged(self, low: Team, high: Team, low_bay: Bay, high_bay: Bay) -> tuple[Team, Team] | None:
        """The exchange between two teams that makes them most equal; None when none makes them more so."""
        difference = rating(high) - rating(low)
        up_to = 2 if max(len(low.members), len(high.members)) <= _FEW else 1
        swaps = []
        for given in _parts(high.members, up_to):
            given_size, given_rating = sum(e.size for e in given), sum(e.rating for e in given)
            for taken in _parts(low.members, up_to):
                moved = given_size - sum(e.size for e in taken)
                left = abs(difference - 2 * (given_rating - sum(e.rating for e in taken)))
                if (
                    left < difference - _LEAST_GAIN
                    and low_bay.fewest <= low.size + moved <= low_bay.most
                    and high_bay.fewest <= high.size - moved <= high_bay.most
                ):
                    swaps.append((left, given, taken))
        for _, given, taken in sorted(swaps, key=lambda swap: swap[0]):
            down = self._team([e for e in low.members if e not in taken] + list(given), low_bay)
            up = self._team([e for e in high.members if e not in given] + list(taken), high_bay)
            if down is not None and up is not None:
                return down, up
        return None

    def _team(self, members: Sequence[Entry], bay: Bay) -> Team | None:
        team: Team | None = EMPTY
        for member in members:
            if team is not None:
                team = self.joined(team, bay, member)
        return team


def rating(team: Team) -> float:
    """Sum of the ratings of its players."""
    return sum([member.rating for member in team.members])


def _pairs(order: Sequence[int]) -> list[tuple[int, int]]:
    """Weaker and stronger team of the exchanges to try; of many teams those with the weakest and with the strongest."""
    pairs = [(order[i], order[j]) for j in reversed(range(len(order))) for i in range(j)]
    return pairs if len(order) <= _FEW else [pair for pair in pairs if order[0] in pair or order[-1] in pair]


def _parts(members: Sequence[Entry], up_to: int) -> list[tuple[Entry, ...]]:
    return list(chain.from_iterable(combinations(members, count) for count in range(up_to + 1)))
