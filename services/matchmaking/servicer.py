"""MatchmakingService on the wire: tickets. Queues have a module of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.auth.caller import CallerRole
from pkg.auth.revocations import Revocations
from pkg.clock import Clock
from pkg.errors import (
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Reason,
    Unavailable,
    invalid_field,
)
from pkg.games import GameDirectory
from pkg.ids import NewId, is_id
from pkg.internal.v1 import ticket_pb2 as kept_pb
from pkg.rpc.call import Call, StreamCall
from pkg.wakes import woken
from services.matchmaking.backfill import Backfill
from services.matchmaking.definitions import DefinitionServicer
from services.matchmaking.directory import QueueDirectory, Ratings
from services.matchmaking.engine.checks import fits
from services.matchmaking.engine.queues import Queue
from services.matchmaking.entrance import Entrance
from services.matchmaking.figures import QueueFigures
from services.matchmaking.seating import Seating
from services.matchmaking.stores.leading import QueueKey
from services.matchmaking.stores.tickets import Leaving, TicketRecord, TicketStore, ticket_not_found
from services.matchmaking.ticket_messages import player_of, stored_ticket, ticket_message, without_player
from services.matchmaking.watching import TicketKey, Watching

# A stream says something at least so often, so that both ends know that the other is there.
_NEWS_SECONDS: Final = 10.0


class MatchmakingServicer:
    """Tickets for players and servers."""

    def __init__(
        self,
        *,
        definitions: DefinitionServicer,
        backfill: Backfill,
        entrance: Entrance,
        tickets: TicketStore,
        watching: Watching,
        directory: QueueDirectory,
        ratings: Ratings,
        figures: QueueFigures,
        seating: Seating,
        games: GameDirectory,
        revocations: Revocations,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self.create_queue = definitions.create_queue
        self.update_queue = definitions.update_queue
        self.delete_queue = definitions.delete_queue
        self.get_queue = definitions.get_queue
        self.list_queues = definitions.list_queues
        self.request_backfill = backfill.request_backfill
        self._entrance = entrance
        self._tickets = tickets
        self._watching = watching
        self._directory = directory
        self._ratings = ratings
        self._figures = figures
        self._seating = seating
        self._games = games
        self._revocations = revocations
        self._clock = clock
        self._new_id = new_id

    async def enqueue(self, request: pb.EnqueueRequest, call: Call) -> pb.EnqueueResponse:
        ticket_id, record = await self._enter(request, call, watched=False)
        return pb.EnqueueResponse(ticket=await self._message(TicketKey(request.game_id, ticket_id), record))

    async def get_ticket(self, request: pb.GetTicketRequest, call: Call) -> pb.GetTicketResponse:
        key, record = await self._find(request.game_id, request.ticket_id, call)
        if record.state <= pb.TICKET_STATE_ACCEPTED:
            await self._tickets.keep(key.game_id, [key.ticket_id])
        return pb.GetTicketResponse(ticket=await self._message(key, record))

    async def cancel_ticket(self, request: pb.CancelTicketRequest, call: Call) -> pb.CancelTicketResponse:
        key, _ = await self._find(request.game_id, request.ticket_id, call)
        developer = call.caller.role is CallerRole.DEVELOPER
        await self._tickets.cancel(
            key.game_id,
            key.ticket_id,
            pb.TICKET_REASON_CANCELLED_BY_DEVELOPER if developer else pb.TICKET_REASON_CANCELLED_BY_PLAYER,
            "" if developer else call.caller.user_id,
        )
        record = await self._tickets.one(key.game_id, key.ticket_id)
        return pb.CancelTicketResponse(ticket=await self._message(key, record))

    async def leave_ticket(self, request: pb.LeaveTicketRequest, call: Call) -> pb.LeaveTicketResponse:
        user_id = call.caller.user_id
        while True:
            try:
                key, record = await self._find(request.game_id, request.ticket_id, call)
            except NotFound:
                # The answer to the first time may have been lost.
                key = TicketKey(request.game_id, request.ticket_id)
                if not is_id(key.ticket_id) or not await self._tickets.has_left(key.game_id, key.ticket_id, user_id):
                    raise
                return await self._left(key, await self._tickets.one(key.game_id, key.ticket_id))
            # Where all of them had a place, fewer have one too.
            rest = without_player(record.data, user_id)
            after = rest.SerializeToString() if rest.ticket.players else b""
            outcome = await self._tickets.leave(key.game_id, key.ticket_id, user_id, record.data, after)
            if outcome is Leaving.LEFT:
                return await self._left(key, record)
            if outcome is Leaving.OVER:
                record = await self._tickets.one(key.game_id, key.ticket_id)
                return pb.LeaveTicketResponse(ticket=await self._message(key, record))

    async def _left(self, key: TicketKey, record: TicketRecord) -> pb.LeaveTicketResponse:
        ticket = await self._message(key, record)
        ticket.state, ticket.reason = pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_LEFT
        return pb.LeaveTicketResponse(ticket=ticket)

    async def answer_proposal(self, request: pb.AnswerProposalRequest, call: Call) -> pb.AnswerProposalResponse:
        key, _ = await self._find(request.game_id, request.ticket_id, call)
        await self._tickets.answer(key.game_id, key.ticket_id, call.caller.user_id, accept=request.accept)
        record = await self._tickets.one(key.game_id, key.ticket_id)
        return pb.AnswerProposalResponse(ticket=await self._message(key, record))

    async def watch_ticket(self, request: pb.WatchTicketRequest, call: StreamCall) -> None:
        async with self._watching.stream(call.caller.user_id):
            which = request.WhichOneof("ticket")
            if which is None:
                raise invalid_field("ticket", "name a ticket, or say what to enqueue")
            if which == "enqueue":
                ticket_id, record = await self._enter(request.enqueue, call, watched=True)
                key = TicketKey(request.enqueue.game_id, ticket_id)
            else:
                if not call.caller.game_id:
                    raise invalid_field("ticket_id", "use a token of the game: a player's, or an API key's")
                await self._tickets.watch(call.caller.game_id, request.ticket_id)
                key, record = await self._find(call.caller.game_id, request.ticket_id, call)
            await self._follow(key, record, call)

    async def _follow(self, key: TicketKey, record: TicketRecord, call: StreamCall) -> None:
        async with self._watching.watch(key, record) as (watched, event):
            self._revocations.watch(call.caller.login_id, event)
            try:
                while True:
                    self._require_open(call)
                    if watched.lost:
                        raise ticket_not_found(key.ticket_id)
                    record = replace(watched.record, why=watched.why)
                    message = await self._message(key, record)
                    if call.caller.role is not CallerRole.DEVELOPER and not _plays(call.caller.user_id, message):
                        message.state, message.reason = pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_LEFT
                    await call.write(pb.WatchTicketResponse(ticket=message))
                    if message.state > pb.TICKET_STATE_ACCEPTED:
                        return
                    await woken(event, within=_NEWS_SECONDS)
                    event.clear()
            finally:
                self._revocations.unwatch(call.caller.login_id, event)

    def _require_open(self, call: StreamCall) -> None:
        if refusal := self._revocations.refusal(call.caller.login_id):
            raise refusal
        if self._entrance.closing:
            raise Unavailable(Reason.SHUTTING_DOWN, "This node is shutting down. Watch again.", retry_after=0.1)

    async def _enter(self, request: pb.EnqueueRequest, call: Call, *, watched: bool) -> tuple[str, TicketRecord]:
        players = await self._players(request, call)
        keys = [QueueKey(request.game_id, queue) for queue in request.queues]
        queues = {key.name: await self._directory.get(key) for key in keys}
        ratings = await self._fit(keys, queues, players)
        ticket_id = self._new_id()
        data = stored_ticket(ticket_id, request.game_id, request.queues, players, ratings).SerializeToString()
        return await self._entrance.enter(
            keys,
            ticket_id,
            data,
            users=[player.user_id for player in players],
            request=f"{call.caller.user_id}:{request.request_id}" if request.request_id else "",
            watched=watched,
            quick_join=request.quick_join,
            players=players,
        )

    async def _fit(
        self, keys: Sequence[QueueKey], queues: Mapping[str, Queue], players: Sequence[pb.TicketPlayer]
    ) -> dict[str, list[float]]:
        """The ratings that queues ask for. Raises InvalidArgument where the players have no place."""
        known = [player_of(player) for player in players]
        ratings: dict[str, list[float]] = {}
        for key in keys:
            queue = queues[key.name]
            if problem := fits(queue, known):
                raise invalid_field("queues", f"queue “{key.name}”: {problem}")
            if queue.rated:
                ratings[key.name] = await self._ratings.of(key, [player.user_id for player in players])
        return ratings

    async def _players(self, request: pb.EnqueueRequest, call: Call) -> list[pb.TicketPlayer]:
        """Who wants to play, whom the caller may speak for."""
        caller = call.caller
        await self._games.require_access(caller, request.game_id, call)
        if caller.role is CallerRole.DEVELOPER:
            if request.party_session_id:
                raise invalid_field("party_session_id", "is for players; name the players instead")
            return _named(request.players)
        if request.party_session_id:
            return await self._party(request, call)
        if request.players:
            raise invalid_field(
                "players", "only a game's server names players; a party comes along by `party_session_id`"
            )
        return [pb.TicketPlayer(user_id=caller.user_id, username=caller.username, attributes=request.attributes)]

    async def _party(self, request: pb.EnqueueRequest, call: Call) -> list[pb.TicketPlayer]:
        """Everybody who has a seat in the session of the caller, who opened it."""
        caller = call.caller
        roster = await self._seating.roster(request.party_session_id, call)
        if roster.game_id != request.game_id or roster.creator_user_id != caller.user_id:
            raise PermissionDenied(
                Reason.NOT_OWNER, "Only who opened the party's session can enter a queue with the party."
            )
        if caller.user_id not in {player.user_id for player in roster.players}:
            raise PermissionDenied(Reason.NOT_A_PARTICIPANT, "You have no seat in the party's session. Join it first.")
        if roster.state in ("FINISHED", "DELETED"):
            raise FailedPrecondition(Reason.SESSION_STATE, "The party's session is over.", state=roster.state)
        told = {player.user_id: player.attributes for player in request.players}
        if strangers := set(told) - {player.user_id for player in roster.players}:
            raise invalid_field("players", f"{sorted(strangers)[0]} has no seat in the party's session")
        if request.HasField("attributes"):
            told[caller.user_id] = request.attributes
        return [
            pb.TicketPlayer(user_id=player.user_id, username=player.username, attributes=told.get(player.user_id))
            for player in roster.players
        ]

    async def _find(self, game_id: str, ticket_id: str, call: Call) -> tuple[TicketKey, TicketRecord]:
        """A ticket of the caller's, or for the game's developer any. Raises NotFound(TICKET_NOT_FOUND)."""
        await self._games.require_access(call.caller, game_id, call)
        developer = call.caller.role is CallerRole.DEVELOPER
        if not ticket_id:
            if developer:
                raise invalid_field("ticket_id", "name the ticket")
            ticket_id = await self._tickets.active(game_id, call.caller.user_id)
        elif not is_id(ticket_id):
            raise ticket_not_found(ticket_id)
        record = await self._tickets.one(game_id, ticket_id)
        if not developer and not _plays(call.caller.user_id, kept_pb.StoredTicket.FromString(record.data).ticket):
            raise ticket_not_found(ticket_id)
        return TicketKey(game_id, ticket_id), record

    async def _message(self, key: TicketKey, record: TicketRecord) -> pb.Ticket:
        message = kept_pb.StoredTicket.FromString(record.data).ticket
        if record.state != pb.TICKET_STATE_QUEUED:
            return ticket_message(message, record, {}, None)
        queues: dict[str, Queue] = {}
        for name in message.queues:
            if (queue := await self._directory.find(QueueKey(key.game_id, name))) is not None:
                queues[name] = queue
        return ticket_message(message, record, queues, await self._figures.estimate(key.game_id, message.queues))


def _plays(user_id: str, ticket: pb.Ticket) -> bool:
    return any(player.user_id == user_id for player in ticket.players)


def _named(players: Sequence[pb.TicketPlayer]) -> list[pb.TicketPlayer]:
    """Players that a game's server names. Raises InvalidArgument."""
    if not players:
        raise invalid_field("players", "name at least one player")
    seen: set[str] = set()
    for number, player in enumerate(players):
        if not is_id(player.user_id):
            raise invalid_field(f"players[{number}].user_id", "is not the id of an account")
        if player.user_id in seen:
            raise invalid_field(f"players[{number}].user_id", "is named twice")
        seen.add(player.user_id)
    return list(players)
