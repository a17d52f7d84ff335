"""How a ticket enters: into Redis, with a leader for each of its queues; or straight into an open session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.clock import Clock
from pkg.errors import InvalidArgument, OofggError, Reason
from pkg.ids import NewId
from pkg.internal.v1 import ticket_pb2 as kept_pb
from pkg.remembering import Remembered
from pkg.telemetry.logs import get_logger
from services.matchmaking.leading.leads import Leads
from services.matchmaking.seating import Seated, Seating
from services.matchmaking.stores.leading import LeaderStore, QueueKey
from services.matchmaking.stores.tickets import TicketRecord, TicketStore
from services.matchmaking.ticket_messages import settled

_log = get_logger(__name__)

_MARK_SECONDS: Final = 60.0
_MARKED: Final = 10_000


class Entrance:
    """Where tickets come in."""

    def __init__(
        self,
        tickets: TicketStore,
        leading: LeaderStore,
        leads: Leads,
        seating: Seating,
        clock: Clock,
        new_id: NewId,
        draining: asyncio.Event,
    ) -> None:
        self._tickets = tickets
        self._leading = leading
        self._leads = leads
        self._seating = seating
        self._new_id = new_id
        self._clock = clock
        self._draining = draining
        self._marked: Remembered[QueueKey, bool] = Remembered(_MARKED, _MARK_SECONDS, clock.monotonic)

    @property
    def closing(self) -> bool:
        """Whether this node is on its way out."""
        return self._draining.is_set()

    async def enter(
        self,
        keys: Sequence[QueueKey],
        ticket_id: str,
        data: bytes,
        *,
        users: Sequence[str],
        request: str,
        watched: bool,
        quick_join: bool,
        players: Sequence[pb.TicketPlayer],
    ) -> tuple[str, TicketRecord]:
        """Enters the queues, all of one game. The ticket, which is another one when the request made that before.

        Raises InvalidArgument(REQUEST_ID_REUSED) when the request was for other queues then.
        """
        game_id = keys[0].game_id
        entered = await self._tickets.enter(
            game_id,
            ticket_id,
            data,
            users=users,
            queues=[key.name for key in keys],
            request=request,
            watched=watched,
            held=quick_join,
        )
        if not entered.new:
            record = await self._tickets.one(game_id, entered.ticket_id)
            before = kept_pb.StoredTicket.FromString(record.data).ticket.queues
            if list(before) != [key.name for key in keys]:
                raise InvalidArgument(
                    Reason.REQUEST_ID_REUSED,
                    f"request_id: was used before, for the queues {', '.join(before)}. Choose a new one.",
                )
            return entered.ticket_id, record
        if unmarked := [key for key in keys if not self._marked.get(key, False)]:
            await self._leading.mark_active(unmarked, self._clock.now().timestamp())
            for key in unmarked:
                self._marked.put(key, True)
        if quick_join:
            await self._seek_seats(keys, ticket_id, players)
            return ticket_id, await self._tickets.one(game_id, ticket_id)
        if not entered.led:
            self._leads.want(keys)
        return ticket_id, TicketRecord(data, pb.TICKET_STATE_QUEUED, 1, entered.enter_ms, 0, 0, 0, None, None)

    async def _seek_seats(self, keys: Sequence[QueueKey], ticket_id: str, players: Sequence[pb.TicketPlayer]) -> None:
        """Takes seats in an open session of the game, or has the ticket enter its queues after all."""
        game_id = keys[0].game_id
        match = kept_pb.StoredMatch(
            tickets=[kept_pb.StoredMatchTicket(ticket_id=ticket_id)],
            propose_time_ms=int(self._clock.now().timestamp() * 1000),
        )
        for player in players:
            match.match.players.add(user_id=player.user_id, username=player.username, ticket_id=ticket_id)
        data = b""
        try:
            for session_id, node in await self._seating.open_seats(game_id, [key.name for key in keys], len(players)):
                outcome = await self._seating.take(session_id, match.match.players, node)
                if isinstance(outcome, Seated):
                    data = settled(match, session_id, outcome.node, outcome.join_deadline).SerializeToString()
                    break
        except OofggError as error:
            _log.info("no open session can be joined", game=game_id, error=repr(error))
        led = await self._tickets.seated(game_id, ticket_id, self._new_id() if data else "", data, len(players))
        if not led and not data:
            self._leads.want(keys)
