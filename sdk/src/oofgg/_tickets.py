"""Finding a match: a ticket, over as many streams as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from oofgg import _convert
from oofgg._calls import Caller, new_request_id
from oofgg._connection import Connection
from oofgg._follow import stream
from oofgg._reconnect import ReconnectPolicy
from oofgg._ticket_types import Attribute, FoundMatch, TicketPlayer, TicketState, TicketStatus
from oofgg._ticket_wire import ticket_status, wire_attributes, wire_player
from oofgg._types import Login, Session
from oofgg.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    OofggError,
    Reason,
    ResourceExhausted,
    TicketError,
    Unavailable,
)
from oofgg.v1 import matchmaking_pb2 as pb
from oofgg.v1 import matchmaking_pb2_grpc, session_pb2

logger = logging.getLogger("oofgg")

# Leaving the queues takes no longer than this, whether the platform answers or not: it forgets who does not watch.
_LEAVE_SECONDS = 3.0
# States that nobody has looked at yet; beyond that the oldest are forgotten.
_MOST_NEWS = 64


class Ticket:
    """A wish to play, in the queues of a game. Made by `Client.enqueue`; see there.

    Iterate for its states as they change, the present one first; the last one is `state.over`. Iteration raises the
    OofggError that ends the watching otherwise. `matched` waits for the match.

    It is watched in the background, which keeps it alive: a dropped connection is opened again, and nothing is lost. It
    leaves its queues when it is cancelled, when its `async with` block or the client ends, and when who waits in
    `matched` is cancelled. Who just disappears leaves them after 30 seconds; `Client.ticket` comes back before that.
    """

    def __init__(
        self, desk: Desk, request: pb.EnqueueRequest | None, game_id: str, ticket_id: str, reconnect_for: float
    ) -> None:
        self._desk = desk
        self._request = request
        self._game_id = game_id
        self._ticket_id = ticket_id
        self._reconnect_for = reconnect_for
        self._status: TicketStatus | None = None
        self._news: deque[TicketStatus] = deque(maxlen=_MOST_NEWS)
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._failure: OofggError | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave()

    @property
    def ticket_id(self) -> str:
        """Its id."""
        return self._ticket_id

    @property
    def status(self) -> TicketStatus:
        """All that is known of it, as last heard: who waits with it, for how long, and why not yet."""
        if self._status is None:
            raise RuntimeError("the platform has not told of this ticket yet")
        return self._status

    @property
    def state(self) -> TicketState:
        """Where it is in its life, as last heard."""
        return self.status.state

    async def matched(self, timeout: float | None = None) -> FoundMatch:
        """Waits for the match; `client.play` takes it.

        Raises `errors.TicketError` when the ticket ends without one. Raises DeadlineExceeded after `timeout` seconds:
        the ticket goes on waiting then, and one can ask again. Who is cancelled leaves the queues.
        """
        self._desk.require_usable(self)
        try:
            async with asyncio.timeout(timeout):
                while not self.state.over:
                    self._require_watched()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DeadlineExceeded(f"there was no match within {timeout} s; the ticket waits on") from None
        except asyncio.CancelledError:
            self._desk.leave_later(self)
            raise
        if self.status.match is None or self.state is not TicketState.MATCHED:
            raise TicketError(self.status)
        return self.status.match

    async def accept(self) -> TicketStatus:
        """Accepts the match that is proposed.

        Returns how things are then: back in the queue, where others have declined meanwhile.
        """
        try:
            return await self._answer(accept=True)
        except FailedPrecondition as error:
            if error.reason is not Reason.TICKET_STATE:
                raise
        # It has come to nothing, or is made already: in either case there is nothing left to accept.
        request = pb.GetTicketRequest(game_id=self._game_id, ticket_id=self._ticket_id)
        self._take((await self._desk.caller.call(self._desk.stubs.GetTicket, request)).ticket)
        return self.status

    async def decline(self) -> TicketStatus:
        """Declines it, which ends the ticket: the caller may not enter a queue for a while.

        Nothing happens when it is over. Raises FailedPrecondition(TICKET_STATE) where none is proposed any more.
        """
        return await self._answer(accept=False)

    async def cancel(self) -> TicketStatus:
        """Leaves the queues, with the whole party; nothing happens when the ticket is over.

        During the acceptance phase this declines. Raises FailedPrecondition(TICKET_STATE) once its match is being made.
        """
        if not self.state.over:
            request = pb.CancelTicketRequest(game_id=self._game_id, ticket_id=self._ticket_id)
            response = await self._desk.caller.call(self._desk.stubs.CancelTicket, request)
            self._take(response.ticket)
        return self.status

    async def leave(self) -> TicketStatus:
        """Leaves a party's ticket alone: the others keep their place, and the caller may enter a queue at once.

        Returns the ticket as the caller has left it: CANCELLED, for the reason LEFT. Without others this is `cancel`,
        and during the acceptance phase it declines. Nothing happens when the ticket is over. Raises
        FailedPrecondition(TICKET_STATE) once its match is being made.
        """
        if not self.state.over:
            request = pb.LeaveTicketRequest(game_id=self._game_id, ticket_id=self._ticket_id)
            response = await self._desk.caller.call(self._desk.stubs.LeaveTicket, request)
            self._take(response.ticket)
        return self.status

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TicketStatus:
        self._desk.require_usable(self)
        while not self._news:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._news.popleft()

    async def _answer(self, *, accept: bool) -> TicketStatus:
        if self.state.over:
            return self.status
        request = pb.AnswerProposalRequest(game_id=self._game_id, ticket_id=self._ticket_id, accept=accept)
        response = await self._desk.caller.call(self._desk.stubs.AnswerProposal, request)
        self._take(response.ticket)
        return self.status

    def _require_watched(self) -> None:
        if self._error is not None:
            raise self._error
        if self._ended:
            raise Cancelled("the client was closed")

    def _take(self, wire: pb.Ticket, *, streamed: bool = False) -> None:
        status = ticket_status(wire)
        before = self._status
        if before is not None and (before.state.over or (not streamed and before.version > status.version)):
            return  # overtaken by what came another way
        self._ticket_id = status.ticket_id
        self._status = status
        if status != before:
            self._news.append(status)
        self._changed.set()
        if status.state.over and not streamed:
            if self._task is not None:
                self._task.cancel()  # there is nothing more to watch
            self._end(None)

    async def _begin(self) -> None:
        """Watches it from now on; returns with the first that is heard. Raises OofggError, and is over then."""
        self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(self._desk.caller.timeout):
                while self._status is None and not self._ended:
                    self._changed.clear()
                    await self._changed.wait()
        except BaseException as error:
            await self._stop()
            if self._request is not None:
                self._desk.leave_later(self)
            if isinstance(error, TimeoutError):
                raise self._failure or DeadlineExceeded("the platform did not answer in time") from None
            raise
        if self._status is None:
            await self._stop()
            raise self._error or Cancelled("the client was closed")

    async def _leave(self) -> None:
        """Leaves the queues unless it is over, and stops watching. Never raises for the platform's sake."""
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                if not self._ticket_id and self._request is not None and self._error is None:
                    # It may have been made, and nobody has told its id yet: asking again does.
                    response = await self._desk.caller.call(self._desk.stubs.Enqueue, self._request)
                    self._take(response.ticket)
                if self._ticket_id and (self._status is None or not self._status.state.over):
                    await self.cancel()
        except (OofggError, TimeoutError) as error:
            logger.info("the ticket %s was not cancelled: %s", self._ticket_id, error)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._end(self._error)

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        self._error = error
        self._desk.tickets.discard(self)
        self._changed.set()

    async def _run(self) -> None:
        try:
            await self._follow()
        except Exception as error:
            if not isinstance(error, OofggError):
                logger.exception("watching a ticket failed")
            self._end(error)
        else:
            self._end(None)

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        policy = ReconnectPolicy(self._reconnect_for)
        while True:
            self._desk.caller.require_usable()
            began, heard = loop.time(), self._status
            try:
                await self._stream()
                error: OofggError = Unavailable("the stream ended")
            except OofggError as failure:
                error = failure
            if self._status is not None and self._status.state.over:
                return
            self._failure = error
            if self._status is not heard:
                policy.worked(loop.time() - began)
            if self._status is None and isinstance(error, ResourceExhausted):
                raise error  # there is no place, or not yet: nothing is kept for who waits here
            if self._is_lost(error):
                self._ticket_id = ""
                continue
            retry = policy.next(error, loop.time())
            logger.info("watching ticket %s broke, again in %.2f s: %s", self._ticket_id, retry.delay, error)
            await asyncio.sleep(retry.delay)

    def _is_lost(self, error: OofggError) -> bool:
        """Whether the platform has forgotten a ticket that waited, so that it has to be entered again."""
        return (
            isinstance(error, NotFound)
            and error.reason is Reason.TICKET_NOT_FOUND
            and self._request is not None
            and bool(self._ticket_id)
        )

    async def _stream(self) -> None:
        """Watches until the platform ends it. Raises OofggError when it broke."""
        request = pb.WatchTicketRequest(enqueue=self._request)
        if self._ticket_id:
            request.ticket_id = self._ticket_id
        connection = self._desk.connection
        with connection.stream() as number:
            try:
                async for response in stream(self._desk.caller, self._desk.stubs.WatchTicket, request):
                    self._take(response.ticket, streamed=True)
                    if self._status is not None and self._status.state.over:
                        return
            except DeadlineExceeded as error:
                if error.reason is Reason.UNSPECIFIED:
                    connection.replace(number)  # nothing is heard on it
                raise


class Desk:
    """Where a client's tickets are made, and left when it closes."""

    def __init__(
        self, connection: Connection, caller: Caller, game: Callable[[], str], login: Callable[[], Login | None]
    ) -> None:
        self.connection = connection
        self.caller = caller
        self.tickets: set[Ticket] = set()
        self._game = game
        self._login = login
        self._leaving: set[asyncio.Task[None]] = set()

    def require_usable(self, ticket: Ticket) -> None:
        """Raises RuntimeError in a forked process and in another event loop, Cancelled when the client was closed.

        What a ticket that has ended still has to tell is told in any case.
        """
        if not ticket._ended:
            self.caller.require_usable()

    @property
    def stubs(self) -> matchmaking_pb2_grpc.MatchmakingServiceAsyncStub:
        """The generated stubs on the connection there is now."""
        return self.connection.stubs.matchmaking

    async def enqueue(
        self,
        queues: str | Iterable[str],
        attributes: Mapping[str, Attribute] | None,
        *,
        roles: Iterable[str],
        latencies: Mapping[str, float] | None,
        party: str | Session | None,
        players: Iterable[TicketPlayer],
        quick_join: bool,
        request_id: str | None,
        reconnect_for: float,
    ) -> Ticket:
        """See `Client.enqueue`."""
        known = wire_attributes(attributes, roles, latencies)
        request = pb.EnqueueRequest(
            game_id=self._require_game(),
            queues=[queues] if isinstance(queues, str) else queues,
            party_session_id="" if party is None else party if isinstance(party, str) else party.session_id,
            players=map(wire_player, players),
            quick_join=quick_join,
            request_id=request_id or new_request_id(),
        )
        if known.ByteSize():
            request.attributes.CopyFrom(known)
        return await self._begin(Ticket(self, request, request.game_id, "", reconnect_for))

    async def active(self, reconnect_for: float) -> Ticket | None:
        """See `Client.ticket`."""
        game_id = self._require_game()
        try:
            found = await self.caller.call(self.stubs.GetTicket, pb.GetTicketRequest(game_id=game_id))
        except NotFound as error:
            if error.reason is not Reason.TICKET_NOT_FOUND:
                raise
            return None
        status = ticket_status(found.ticket)
        if status.state.over and not await self._can_play(status.match):
            return None  # the platform tells of the last one for a while
        return await self._begin(Ticket(self, None, game_id, status.ticket_id, reconnect_for))

    def leave_later(self, ticket: Ticket) -> None:
        """Has a ticket leave its queues although nobody waits for that."""
        self.tickets.discard(ticket)
        task = asyncio.create_task(ticket._leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Leaves the queues with every ticket that is not over."""
        for ticket in list(self.tickets):
            self.leave_later(ticket)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=2 * _LEAVE_SECONDS)

    async def _can_play(self, match: FoundMatch | None) -> bool:
        """Whether the caller has a seat in the session of a match, which is not over."""
        login = self._login()
        if match is None or login is None:
            return False
        try:
            request = session_pb2.GetSessionRequest(session_id=match.session_id)
            session = (await self.caller.call(self.connection.stubs.sessions.GetSession, request)).session
        except NotFound:
            return False
        seats = {seat.user_id for seat in session.seats}
        return not _convert.session_state(session.state).over and login.user_id in seats

    async def _begin(self, ticket: Ticket) -> Ticket:
        self.tickets.add(ticket)
        try:
            await ticket._begin()
        except BaseException:
            self.tickets.discard(ticket)
            raise
        return ticket

    def _require_game(self) -> str:
        game_id = self._game()
        if not game_id:
            raise ValueError("which game? Make the client with game=…")
        return game_id
