"""How a ticket enters: into Redis, with a leader for each of its queues; or straight into an open session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from cachetools import TTLCache

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.clock import Clock
from services.matchmaking.leading.leads import Leads
from services.matchmaking.stores import scripts
from services.matchmaking.stores.leading import LeaderStore, QueueKey
from services.matchmaking.stores.tickets import TicketRecord, TicketStore

_MARK_SECONDS: Final = 60.0
_MARKED: Final = 10_000


class Entrance:
    """Where tickets come in."""

    def __init__(
        self, tickets: TicketStore, leading: LeaderStore, leads: Leads, clock: Clock, draining: asyncio.Event
    ) -> None:
        self._tickets = tickets
        self._leading = leading
        self._leads = leads
        self._clock = clock
        self._draining = draining
        self._marked: TTLCache[QueueKey, bool] = TTLCache(_MARKED, _MARK_SECONDS, timer=clock.monotonic)

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
        """Enters the queues, all of one game. The ticket, which is another one when the request made that before."""
        game_id = keys[0].game_id
        entered = await self._tickets.enter(
            game_id,
            ticket_id,
            data,
            users=users,
            queues=[key.name for key in keys],
            request=request,
            watched=watched,
        )
        if not entered.new:
            return entered.ticket_id, await self._tickets.one(game_id, entered.ticket_id)
        if unmarked := [key for key in keys if key not in self._marked]:
            await self._leading.mark_active(unmarked, self._clock.now().timestamp())
            self._marked.update(dict.fromkeys(unmarked, True))
        if not entered.led:
            self._leads.want(keys)
        return ticket_id, TicketRecord(data, scripts.QUEUED, 1, entered.enter_ms, 0, 0, 0, None, None)
