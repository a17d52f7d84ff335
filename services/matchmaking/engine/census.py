"""What a pool has at all: sizes of parties, and players for each role. It tells at once that a search is in vain."""

from __future__ import annotations

from collections import Counter

from services.matchmaking.engine.queues import Queue
from services.matchmaking.engine.search import Goal
from services.matchmaking.engine.terms import Entry


class Census:
    """Counts the tickets of a pool."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._sizes: Counter[int] = Counter()
        self._takers = [0] * len(queue.roles)
        self.players = 0

    def add(self, entry: Entry) -> None:
        """One ticket more."""
        self._count(entry, 1)

    def remove(self, entry: Entry) -> None:
        """One ticket less."""
        self._count(entry, -1)

    def lacks_players(self, entry: Entry, goal: Goal) -> bool:
        """Whether there are too few players for the goal, or no parties that make the ticket's team whole."""
        if self.players < goal.fewest:
            return True
        queue = self._queue
        if goal.fewest < queue.min_teams * queue.min_team_size:  # bots make up for it
            return False
        least = queue.max_team_size if goal.fewest == goal.most else queue.min_team_size
        sums = 1 << entry.size  # a bit for each size that its team can have
        for size, tickets in self._sizes.items():
            for _ in range(min(tickets - (size == entry.size), queue.max_team_size // size)):
                sums |= sums << size
        return not sums >> least & ((1 << (queue.max_team_size - least + 1)) - 1)

    def lacks_roles(self, goal: Goal) -> bool:
        """Whether some role has too few who take it."""
        queue = self._queue
        if goal.fewest < queue.min_teams * queue.min_team_size:
            return False
        return any(
            takers < role.count * queue.min_teams for takers, role in zip(self._takers, queue.roles, strict=True)
        )

    def _count(self, entry: Entry, sign: int) -> None:
        size = entry.size
        self.players += sign * size
        self._sizes[size] += sign
        if not self._sizes[size]:
            del self._sizes[size]
        for place in range(len(self._takers)):
            for mask in entry.masks:
                if mask >> place & 1:
                    self._takers[place] += sign
