"""Players for the free seats of sessions."""

from __future__ import annotations

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.auth.caller import CallerRole
from pkg.clock import Clock
from pkg.errors import FailedPrecondition, PermissionDenied, Reason, invalid_field
from pkg.games import GameDirectory
from pkg.internal.v1 import session_pb2
from pkg.internal.v1 import ticket_pb2 as kept_pb
from pkg.rpc.call import Call
from services.matchmaking.directory import QueueDirectory
from services.matchmaking.engine.queues import Queue
from services.matchmaking.leading.leads import Leads
from services.matchmaking.seating import Seating
from services.matchmaking.stores.leading import LeaderStore, QueueKey

_OVER = ("FINISHING", "FINISHED", "DELETED")


class Backfill:
    """RequestBackfill."""

    def __init__(
        self,
        store: LeaderStore,
        seating: Seating,
        directory: QueueDirectory,
        games: GameDirectory,
        leads: Leads,
        clock: Clock,
    ) -> None:
        self._store = store
        self._seating = seating
        self._directory = directory
        self._games = games
        self._leads = leads
        self._clock = clock

    async def request_backfill(self, request: pb.RequestBackfillRequest, call: Call) -> pb.RequestBackfillResponse:
        roster = await self._seating.roster(request.session_id, call)
        await self._games.require_access(call.caller, roster.game_id, call)
        if call.caller.role is not CallerRole.DEVELOPER and call.caller.user_id != roster.creator_user_id:
            raise PermissionDenied(
                Reason.NOT_OWNER, "Only the creator of a session and the game's developer may do this to it."
            )
        if not roster.queue:
            raise FailedPrecondition(Reason.SESSION_STATE, "This session does not come from a queue.")
        key = QueueKey(roster.game_id, roster.queue)
        queue = await self._directory.get(key)
        wanted = sum(team.seats for team in request.seats)
        if not wanted:
            await self._store.open(key, request.session_id, b"")
            return pb.RequestBackfillResponse(seats=0)
        if not queue.backfill:
            raise FailedPrecondition(
                Reason.SESSION_STATE, f"Queue “{queue.name}” does not fill up sessions; its `backfill` is off."
            )
        if roster.state in _OVER:
            raise FailedPrecondition(Reason.SESSION_STATE, "The session is over.", state=roster.state)
        _check(request, queue, roster)
        opening = await self._opening(key, request, roster)
        led = await self._store.open(key, request.session_id, opening.SerializeToString())
        await self._store.mark_active([key], self._clock.now().timestamp())
        if not led:
            self._leads.want([key])
        return pb.RequestBackfillResponse(seats=wanted)

    async def _opening(
        self, key: QueueKey, request: pb.RequestBackfillRequest, roster: session_pb2.GetRosterResponse
    ) -> kept_pb.StoredOpening:
        """The session as the queue has to know it: of who is there, what was known when they came."""
        told = kept_pb.StoredOpening(seats=request.seats, attributes=roster.attributes)
        present = {player.user_id: player.team for player in roster.players}
        earlier = (await self._store.openings(key, [request.session_id]))[request.session_id]
        known: dict[str, tuple[pb.TicketPlayer, float]] = {}
        if (match := (await self._store.matches(key, [request.session_id])).get(request.session_id)) is not None:
            kept = kept_pb.StoredMatch.FromString(match.data)
            ratings = kept.mu if len(kept.mu) == len(kept.players) else [0.0] * len(kept.players)
            known |= {player.user_id: (player, mu) for player, mu in zip(kept.players, ratings, strict=True)}
        if earlier is not None:
            before = kept_pb.StoredOpening.FromString(earlier.data)
            ratings = before.mu if len(before.mu) == len(before.players) else [0.0] * len(before.players)
            known |= {player.user_id: (player, mu) for player, mu in zip(before.players, ratings, strict=True)}
        for user_id, (player, mu) in known.items():
            if user_id in present:
                told.players.append(player)
                told.teams.append(present[user_id])
                told.mu.append(mu)
        return told


def _check(request: pb.RequestBackfillRequest, queue: Queue, roster: session_pb2.GetRosterResponse) -> None:
    teams: set[int] = set()
    free = roster.max_seats - len(roster.players)
    for number, team in enumerate(request.seats):
        field = f"seats[{number}]"
        if team.team > queue.max_teams or team.team in teams:
            raise invalid_field(f"{field}.team", f"name each team once, from 1 to {queue.max_teams}")
        teams.add(team.team)
        there = sum(player.team == team.team for player in roster.players)
        if there + team.seats > queue.max_team_size:
            raise invalid_field(
                f"{field}.seats", f"team {team.team} has {there} of {queue.max_team_size} players: at most "
                f"{max(0, queue.max_team_size - there)} seats are free",
            )  # fmt: skip
        if queue.roles and len(team.roles) != team.seats:
            raise invalid_field(f"{field}.roles", "name the role of each seat: this queue has roles")
        if unknown := set(team.roles) - {role.name for role in queue.roles}:
            raise invalid_field(f"{field}.roles", f"this queue has no role “{sorted(unknown)[0]}”")
    if sum(team.seats for team in request.seats) > free:
        raise invalid_field("seats", f"the session has {free} free seats")
