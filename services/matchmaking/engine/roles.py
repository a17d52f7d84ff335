"""Roles: who of a team can take which part, and who best does.

A team's players are matched with its parts as in a bipartite graph. A player is added by a shortest augmenting path
over the roles, which keeps the assignment the best for the players added so far (J. Edmonds, R. M. Karp: Theoretical
Improvements in Algorithmic Efficiency for Network Flow Problems, Journal of the ACM 19, 1972).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.matchmaking.engine.queues import Role
from services.matchmaking.engine.tickets import Player

_MOST_REMEMBERED: Final = 50_000

Capacity = tuple[int, ...]
"""Free parts, in the order of the queue's roles."""


class Roles:
    """The roles of a queue. False when it has none."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self.names = [role.name for role in roles]
        self.capacity: Capacity = tuple(role.count for role in roles)
        self._places = {name: place for place, name in enumerate(self.names)}
        self._all = (1 << len(self.names)) - 1
        self._known: dict[tuple[Capacity, tuple[int, ...]], bool] = {}

    def __bool__(self) -> bool:
        return bool(self.names)

    def mask(self, player: Player) -> int:
        """A bit for each role that the player takes."""
        if not player.roles:
            return self._all
        found = 0
        for name in player.roles:
            place = self._places.get(name)
            if place is not None:
                found |= 1 << place
        return found

    def counted(self, names: Sequence[str]) -> Capacity:
        """Parts of a list of roles; roles that the queue does not have any more are not counted."""
        return tuple(sum(1 for name in names if name == role) for role in self.names)

    def seatable(self, capacity: Capacity, masks: tuple[int, ...]) -> bool:
        """Whether players who take the roles of these (sorted) masks all get a part."""
        key = (capacity, masks)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            costs = [{place: 0 for place in range(len(capacity)) if mask >> place & 1} for mask in masks]
            known = self._known[key] = _assigned(capacity, costs) is not None
        return known

    def assigned(self, capacity: Capacity, players: Sequence[Player]) -> list[str] | None:
        """Roles of players, in their order, such that the places of these roles in the players' own lists add up to as
        little as possible. None when it cannot be."""
        found = _assigned(capacity, [self._costs(player) for player in players])
        return None if found is None else [self.names[place] for place in found]

    def _costs(self, player: Player) -> dict[int, int]:
        if not player.roles:
            return dict.fromkeys(range(len(self.names)), 0)
        costs: dict[int, int] = {}
        for rank, name in enumerate(player.roles):
            place = self._places.get(name)
            if place is not None:
                costs.setdefault(place, rank)
        return costs


def _assigned(capacity: Capacity, costs: Sequence[dict[int, int]]) -> list[int] | None:
    """A role for each player, at the least cost. `costs` are by role that the player takes."""
    holders: list[set[int]] = [set() for _ in capacity]
    role_of = [-1] * len(costs)
    for player, wished in enumerate(costs):
        # Bellman and Ford over the roles: what it costs until one of a role's parts is wanted.
        reach: dict[int, tuple[int, int]] = {role: (cost, player) for role, cost in wished.items()}
        came_from: dict[int, int] = dict.fromkeys(wished, -1)
        changed = True
        while changed:
            changed = False
            for role in list(reach):
                for holder in holders[role]:
                    base = reach[role][0] - costs[holder][role]
                    for other, cost in costs[holder].items():
                        if other != role and (other not in reach or base + cost < reach[other][0]):
                            reach[other] = (base + cost, holder)
                            came_from[other] = role
                            changed = True
        free = [(cost, role) for role, (cost, _) in reach.items() if len(holders[role]) < capacity[role]]
        if not free:
            return None
        role = min(free)[1]
        while role >= 0:
            moved, before = reach[role][1], came_from[role]
            if before >= 0:
                holders[before].discard(moved)
            holders[role].add(moved)
            role_of[moved] = role
            role = before
    return role_of
