"""The shape of a match: how many teams of how many, what it may begin with, and who plays where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.matchmaking.engine.queues import Balance, Queue
from services.matchmaking.engine.roles import Roles
from services.matchmaking.engine.search import Goal
from services.matchmaking.engine.teams import Bay, Packer, Teams
from services.matchmaking.engine.terms import Entry
from services.matchmaking.engine.tickets import Opening, Placed


@dataclass(frozen=True, slots=True)
class Lineup:
    """Who plays where, and how many players are missing."""

    placed: tuple[Placed, ...]
    bots: int


class Shape:
    """What a queue says of teams."""

    def __init__(self, queue: Queue, roles: Roles, packer: Packer) -> None:
        self._queue = queue
        self._roles = roles
        self._packer = packer
        self._fewest = queue.min_teams * queue.min_team_size
        bays = self._bays(queue.max_teams, 0, queue.max_team_size)
        self._full = Goal(bays, queue.most_players, queue.most_players, self._begins)
        self._complete = Goal(bays, queue.most_players, self._fewest, self._begins)
        self._any = Goal(bays, queue.most_players, 1, lambda chosen, teams: True)

    def goal(self, *, filled: bool, bots: bool) -> Goal:
        """What a new match has to be: full, or complete when there was time to fill it, or anything with bots."""
        if bots:
            return self._any
        return self._complete if filled else self._full

    def opening_goal(self, opening: Opening) -> Goal:
        """What fills an opening: anybody, and as many as there are seats."""
        bays = self.opening_bays(opening)
        return Goal(bays, sum(bay.most for bay in bays), 1, lambda chosen, teams: True)

    def opening_bays(self, opening: Opening) -> list[Bay]:
        """The free seats of an opening, in the order of its teams."""
        if not self._roles:
            return [Bay(team.seats, 0, ()) for team in opening.teams]
        parts = [self._roles.counted(team.roles) for team in opening.teams]
        return [Bay(min(team.seats, sum(free)), 0, free) for team, free in zip(opening.teams, parts, strict=True)]

    def lineup(self, chosen: Sequence[Entry]) -> Lineup:
        """The teams of a new match. There are as few of them as these players need, and their sizes are as equal as
        parties allow."""
        ordered = sorted(chosen)
        packed = self._packed(ordered)
        if packed is None:
            raise ValueError("these tickets are no match")
        bays, teams = packed
        size = self._queue.min_team_size
        bots = sum(max(size - team.size, 0) for team in teams)
        return Lineup(self._placed(teams, bays, range(1, len(teams) + 1)), bots)

    def filled(self, opening: Opening, chosen: Sequence[Entry]) -> Lineup:
        """Who takes which free seats of an opening."""
        bays = self.opening_bays(opening)
        teams = self._arranged(sorted(chosen), bays)
        if teams is None:
            raise ValueError("these tickets do not fit the opening")
        return Lineup(self._placed(teams, bays, [team.team for team in opening.teams]), 0)

    def _begins(self, chosen: Sequence[Entry], teams: Teams) -> bool:
        """Whether players could be a match without bots."""
        queue = self._queue
        players = sum(team.size for team in teams)
        return any(
            self._packer.pack(chosen, self._bays(count, queue.min_team_size, queue.max_team_size)) is not None
            for count in self._counts(players)
        )

    def _counts(self, players: int) -> list[int]:
        """How many teams so many players could be."""
        queue = self._queue
        return [
            count
            for count in range(queue.min_teams, queue.max_teams + 1)
            if count * queue.min_team_size <= players <= count * queue.max_team_size
        ]

    def _packed(self, ordered: Sequence[Entry]) -> tuple[list[Bay], Teams] | None:
        queue = self._queue
        players = sum(entry.size for entry in ordered)
        for count in self._counts(players):
            least, rest = divmod(players, count)
            even = self._bays(count, least, least + bool(rest))
            for bays in (even, self._bays(count, queue.min_team_size, queue.max_team_size)):
                teams = self._arranged(ordered, bays)
                if teams is not None:
                    return bays, teams
        return self._with_bots(ordered, players)

    def _with_bots(self, ordered: Sequence[Entry], players: int) -> tuple[list[Bay], Teams] | None:
        """The teams that lack the fewest players."""
        queue = self._queue
        best: tuple[int, list[Bay], Teams] | None = None
        for count in range(queue.min_teams, queue.max_teams + 1):
            least, rest = divmod(players, count)
            for most in sorted(
                {min(least + bool(rest), queue.max_team_size), queue.min_team_size, queue.max_team_size}
            ):
                bays = self._bays(count, 0, most)
                teams = self._arranged(ordered, bays)
                if teams is not None:
                    missing = sum(max(queue.min_team_size - team.size, 0) for team in teams)
                    if best is None or missing < best[0]:
                        best = missing, bays, teams
        return None if best is None else best[1:]

    def _arranged(self, ordered: Sequence[Entry], bays: Sequence[Bay]) -> Teams | None:
        teams = self._packer.search(ordered, bays, lambda team: team.size, 1_000)
        if teams is None:
            teams = self._packer.pack(ordered, bays)
        if teams is None or self._queue.balance is not Balance.SKILL:
            return teams
        return self._packer.equal(ordered, bays, teams)

    def _bays(self, count: int, fewest: int, most: int) -> list[Bay]:
        return [Bay(most, fewest, self._roles.capacity)] * count

    def _placed(self, teams: Teams, bays: Sequence[Bay], numbers: Sequence[int]) -> tuple[Placed, ...]:
        placed: list[Placed] = []
        for team, bay, number in zip(teams, bays, numbers, strict=True):
            members = [(player, entry.ticket.ticket_id) for entry in team.members for player in entry.ticket.players]
            parts = (
                self._roles.assigned(bay.parts, [player for player, _ in members])
                if self._roles
                else [""] * len(members)
            )
            if parts is None:
                raise ValueError("a team without its roles")
            placed += [
                Placed(player, ticket, number, part) for (player, ticket), part in zip(members, parts, strict=True)
            ]
        return tuple(placed)
