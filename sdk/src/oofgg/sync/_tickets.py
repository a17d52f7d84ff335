"""A ticket, for a game that owns its thread."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from oofgg import _tickets
from oofgg._ticket_types import FoundMatch, TicketState, TicketStatus
from oofgg.sync._loop import Portal


class Ticket:
    """A wish to play, in the queues of a game. Made by `Client.enqueue`; see there.

    `poll` in each frame for its states as they change, the present one first; the last one is `state.over`. Or wait for
    the match with `matched`; iterating waits for one state after another.

    It is watched in the background, which keeps it alive: a dropped connection is opened again, and nothing is lost. It
    leaves its queues when it is cancelled, when its `with` block or the client ends, and when `matched` is interrupted,
    as by KeyboardInterrupt. Who just disappears leaves them after 30 seconds; `Client.ticket` comes back before that.
    Every method may be called from any thread.
    """

    def __init__(self, portal: Portal, ticket: _tickets.Ticket) -> None:
        self._portal = portal
        self._ticket = ticket

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._portal.call(self._ticket.__aexit__(kind, error, traceback))

    @property
    def ticket_id(self) -> str:
        """Its id."""
        return self._ticket.ticket_id

    @property
    def status(self) -> TicketStatus:
        """All that is known of it, as last heard: who waits with it, for how long, and why not yet."""
        return self._ticket.status

    @property
    def state(self) -> TicketState:
        """Where it is in its life, as last heard."""
        return self._ticket.state

    def poll(self) -> list[TicketStatus]:
        """What has changed since; at once, without waiting for anything.

        Raises the OofggError that ended the watching.
        """
        ended = self._ticket._ended  # asked first: what came before the end is handed out before it is told
        news: list[TicketStatus] = []
        while self._ticket._news:
            news.append(self._ticket._news.popleft())
        if not news and ended and self._ticket._error is not None:
            raise self._ticket._error.with_traceback(None)
        return news

    def matched(self, timeout: float | None = None) -> FoundMatch:
        """Waits for the match; `client.play` takes it.

        Raises `errors.TicketError` when the ticket ends without one. Raises DeadlineExceeded after `timeout` seconds:
        the ticket goes on waiting then, and one can ask again.
        """
        return self._portal.call(self._ticket.matched(timeout))

    def accept(self) -> TicketStatus:
        """Accepts the match that is proposed.

        Returns how things are then: back in the queue, where others have declined meanwhile.
        """
        return self._portal.call(self._ticket.accept())

    def decline(self) -> TicketStatus:
        """Declines it, which ends the ticket: the caller may not enter a queue for a while.

        Nothing happens when it is over. Raises FailedPrecondition(TICKET_STATE) where none is proposed any more.
        """
        return self._portal.call(self._ticket.decline())

    def cancel(self) -> TicketStatus:
        """Leaves the queues, with the whole party; nothing happens when the ticket is over.

        During the acceptance phase this declines. Raises FailedPrecondition(TICKET_STATE) once its match is being made.
        """
        return self._portal.call(self._ticket.cancel())

    def leave(self) -> TicketStatus:
        """Leaves a party's ticket alone: the others keep their place, and the caller may enter a queue at once.

        Returns the ticket as the caller has left it: CANCELLED, for the reason LEFT. Without others this is `cancel`,
        and during the acceptance phase it declines. Nothing happens when the ticket is over. Raises
        FailedPrecondition(TICKET_STATE) once its match is being made.
        """
        return self._portal.call(self._ticket.leave())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> TicketStatus:
        found = self._portal.call(self._next())
        if found is None:
            raise StopIteration
        return found

    async def _next(self) -> TicketStatus | None:
        return await anext(self._ticket, None)
