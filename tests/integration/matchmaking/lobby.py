"""A game with queues and players who wait in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from oofgg.v1 import matchmaking_pb2 as pb
from oofgg.v1 import matchmaking_pb2_grpc
from tests.integration.calls import bearer, register
from tests.integration.conftest import RunningServices
from tests.integration.game.players import WITHIN, Arena, Metadata

ALL = ["auth", "catalog", "game", "scoring", "matchmaking"]
OVER = {
    pb.TICKET_STATE_MATCHED,
    pb.TICKET_STATE_CANCELLED,
    pb.TICKET_STATE_EXPIRED,
    pb.TICKET_STATE_FAILED,
}


@dataclass(frozen=True, slots=True)
class Waiter:
    """A player."""

    user_id: str
    metadata: Metadata


class Lobby:
    """The queues of an arena's game."""

    def __init__(self, arena: Arena, running: RunningServices) -> None:
        self.arena = arena
        self.game_id = arena.game.game_id
        self.calls: Any = matchmaking_pb2_grpc.MatchmakingServiceStub(running.channel)

    @classmethod
    async def build(cls, running: RunningServices) -> Lobby:
        return cls(await Arena.build(running), running)

    async def define(self, name: str = "duel", **fields: Any) -> pb.Queue:
        request = pb.CreateQueueRequest(game_id=self.game_id, queue=pb.Queue(name=name, **fields))
        response = await self.calls.CreateQueue(request, metadata=self.arena.console, timeout=WITHIN)
        queue: pb.Queue = response.queue
        return queue

    async def player(self, name: str) -> Waiter:
        registered = await register(self.arena.auth, name, game_id=self.game_id)
        return Waiter(registered.user_id, bearer(registered.access_token))

    async def players(self, *names: str) -> list[Waiter]:
        return [await self.player(name) for name in names]

    def request(self, *queues: str, **fields: Any) -> pb.EnqueueRequest:
        return pb.EnqueueRequest(game_id=self.game_id, queues=queues or ["duel"], **fields)

    async def enqueue(self, who: Waiter, *queues: str, **fields: Any) -> pb.Ticket:
        response = await self.calls.Enqueue(self.request(*queues, **fields), metadata=who.metadata, timeout=WITHIN)
        ticket: pb.Ticket = response.ticket
        return ticket

    async def read(self, who: Waiter, ticket_id: str = "") -> pb.Ticket:
        request = pb.GetTicketRequest(game_id=self.game_id, ticket_id=ticket_id)
        ticket: pb.Ticket = (await self.calls.GetTicket(request, metadata=who.metadata, timeout=WITHIN)).ticket
        return ticket

    async def cancel(self, who: Waiter, ticket_id: str = "") -> pb.Ticket:
        request = pb.CancelTicketRequest(game_id=self.game_id, ticket_id=ticket_id)
        ticket: pb.Ticket = (await self.calls.CancelTicket(request, metadata=who.metadata, timeout=WITHIN)).ticket
        return ticket

    async def leave(self, who: Waiter, ticket_id: str = "") -> pb.Ticket:
        request = pb.LeaveTicketRequest(game_id=self.game_id, ticket_id=ticket_id)
        ticket: pb.Ticket = (await self.calls.LeaveTicket(request, metadata=who.metadata, timeout=WITHIN)).ticket
        return ticket

    async def answer(self, who: Waiter, accept: bool) -> pb.Ticket:
        request = pb.AnswerProposalRequest(game_id=self.game_id, accept=accept)
        ticket: pb.Ticket = (await self.calls.AnswerProposal(request, metadata=who.metadata, timeout=WITHIN)).ticket
        return ticket

    async def until(self, who: Waiter, ticket_id: str, condition: Callable[[pb.Ticket], bool]) -> pb.Ticket:
        """Watches a ticket until it is as it should be."""
        async with asyncio.timeout(WITHIN), self.watching(who, ticket_id=ticket_id) as states:
            async for ticket in states:
                if condition(ticket):
                    return ticket
        raise AssertionError("the stream ended before that")

    async def over(self, who: Waiter, ticket_id: str) -> pb.Ticket:
        return await self.until(who, ticket_id, lambda ticket: ticket.state in OVER)

    @asynccontextmanager
    async def watching(self, who: Waiter, **fields: Any) -> AsyncIterator[AsyncIterator[pb.Ticket]]:
        stream = self.calls.WatchTicket(pb.WatchTicketRequest(**fields), metadata=who.metadata)

        async def tickets() -> AsyncIterator[pb.Ticket]:
            async for response in stream:
                yield response.ticket

        try:
            yield tickets()
        finally:
            stream.cancel()


def teams(ticket: pb.Ticket) -> list[list[str]]:
    """Players of a match by team."""
    found: dict[int, list[str]] = {}
    for player in ticket.match.players:
        found.setdefault(player.team, []).append(player.user_id)
    return [sorted(found[team]) for team in sorted(found)]


def attributes(
    *, roles: Sequence[str] = (), latencies: dict[str, float] | None = None, **values: Any
) -> pb.PlayerAttributes:
    """What is known of a player: texts, numbers and lists by the type of the value."""
    message = pb.PlayerAttributes(roles=roles, latencies_ms=latencies or {})
    for name, value in values.items():
        if isinstance(value, str):
            message.texts[name] = value
        elif isinstance(value, int | float):
            message.numbers[name] = value
        else:
            message.lists[name].values.extend(value)
    return message
