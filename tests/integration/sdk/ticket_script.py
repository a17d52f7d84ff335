"""Matchmaking that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from oofgg.v1 import matchmaking_pb2 as pb
from oofgg.v1 import session_pb2
from tests.integration.sdk.script import SESSION, headers, refuse

TICKET = "t1"
QUEUED, PROPOSED, ACCEPTED, MATCHED, CANCELLED, EXPIRED = (
    pb.TICKET_STATE_QUEUED,
    pb.TICKET_STATE_PROPOSED,
    pb.TICKET_STATE_ACCEPTED,
    pb.TICKET_STATE_MATCHED,
    pb.TICKET_STATE_CANCELLED,
    pb.TICKET_STATE_EXPIRED,
)


class WatchScript:
    """One stream of a ticket, seen from the server."""

    def __init__(self, matchmaking: Matchmaking, request: pb.WatchTicketRequest, context: Any) -> None:
        self._matchmaking = matchmaking
        self.request = request
        self.context = context
        self.headers = headers(context)
        self.peer: str = context.peer()

    async def tell(self, state: pb.TicketState.ValueType, **fields: Any) -> None:
        await self.context.write(pb.WatchTicketResponse(ticket=self._matchmaking.ticket(state, **fields)))

    async def match(self) -> None:
        await self.tell(
            MATCHED,
            match=pb.MatchInfo(
                session_id=SESSION,
                queue="duel",
                placement=session_pb2.Placement(node="n7"),
                players=[
                    pb.MatchPlayer(user_id="u1", username="ada", team=1, ticket_id=TICKET),
                    pb.MatchPlayer(user_id="u2", username="bob", team=2, role="tank", ticket_id="t2"),
                ],
                attributes={"region": "eu"},
                bots=1,
            ),
        )

    async def refuse(self, code: grpc.StatusCode, reason: str, retry_after: float | None = None, **more: str) -> None:
        await refuse(self.context, code, reason, retry_after, **more)

    async def stay(self) -> None:
        """Until the client goes."""
        await asyncio.Event().wait()


Script = Callable[[WatchScript], Awaitable[None]]


class Matchmaking:
    """Plays one script after another; the last one again and again. Every ticket is the same one."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.streams: list[WatchScript] = []
        self.enqueued: list[pb.EnqueueRequest] = []
        self.cancelled: list[str] = []
        self.answers: list[bool] = []
        self.version = 0
        self.active = ""
        self.ticket_id = TICKET
        self.cancel_refusal = ""
        self.answer_refusal = ""
        self.backfills: list[pb.RequestBackfillRequest] = []

    def ticket(self, state: pb.TicketState.ValueType, **fields: Any) -> pb.Ticket:
        self.version += 1
        return pb.Ticket(ticket_id=self.ticket_id, game_id="g1", state=state, version=self.version, **fields)

    async def WatchTicket(self, request: Any, context: Any) -> None:  # noqa: N802
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        stream = WatchScript(self, request, context)
        self.streams.append(stream)
        await script(stream)

    async def Enqueue(self, request: Any, context: Any) -> pb.EnqueueResponse:  # noqa: N802
        self.enqueued.append(request)
        return pb.EnqueueResponse(ticket=self.ticket(QUEUED))

    async def GetTicket(self, request: Any, context: Any) -> Any:  # noqa: N802
        if not self.active:
            await refuse(context, grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND")
        return pb.GetTicketResponse(ticket=self.ticket(QUEUED))

    async def CancelTicket(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.cancelled.append(request.ticket_id)
        if self.cancel_refusal:
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, self.cancel_refusal)
        return pb.CancelTicketResponse(ticket=self.ticket(CANCELLED, reason=pb.TICKET_REASON_CANCELLED_BY_PLAYER))

    async def AnswerProposal(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.answers.append(request.accept)
        if self.answer_refusal:
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, self.answer_refusal)
        return pb.AnswerProposalResponse(ticket=self.ticket(ACCEPTED if request.accept else CANCELLED))

    async def RequestBackfill(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.backfills.append(request)
        return pb.RequestBackfillResponse(seats=sum(each.seats for each in request.seats))
