"""A session as this process runs it: the room, who waits for its log, which streams are open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from pkg.errors import FailedPrecondition, OofggError, PermissionDenied, Reason
from services.game.budget import Budgets
from services.game.engine.order import FIRST_OVERSEER
from services.game.engine.room import FIRST_SPECTATOR, Room


class OpenStream(Protocol):
    """What the session may ask of a stream."""

    @property
    def user_id(self) -> str:
        """Whose it is."""
        ...

    def close(self, error: OofggError) -> None:
        """Ends the stream with an error."""
        ...


class LiveSession:
    """One session that this node owns."""

    def __init__(self, room: Room, epoch: int, *, touch: Callable[[LiveSession], None]) -> None:
        self.room = room
        self.epoch = epoch
        self.streams: dict[int, OpenStream] = {}  # by place
        self.listed = room.state, room.label  # what it is listed under
        self.scheduled: float | None = None  # when its time is looked at next
        self.lost: OofggError | None = None  # why this node no longer owns it
        self.replaying = asyncio.Lock()  # held while a request with a request id takes effect
        self.trace_parent = ""  # the span of the call that stated a result last
        self.finishing = asyncio.Lock()  # held while its result is written
        self.budgets: Budgets | None = None  # made with the first stream
        self._touch = touch
        self._spectators = 0
        self._overseers = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def session_id(self) -> str:
        """Id of the session."""
        return self.room.session.facts.session_id

    def spectator(self, user_id: str) -> int:
        """The place from which an account can watch: its own one, if it watches already.

        Raises FailedPrecondition: SESSION_FULL when no more can, SESSION_STATE for who has a seat;
        PermissionDenied(KICKED).
        """
        session = self.room.session
        session.require_welcome(user_id)
        if session.seat_of(user_id) is not None:
            raise FailedPrecondition(
                Reason.SESSION_STATE, "You have a seat in this session. Open the stream without `spectate`."
            )
        for place, stream in self.streams.items():
            if FIRST_SPECTATOR <= place < FIRST_OVERSEER and stream.user_id == user_id:
                return place
        most = session.facts.max_spectators
        if self.room.spectators >= most:
            raise FailedPrecondition(
                Reason.SESSION_FULL,
                f"Session {self.session_id} has its {most} spectators." if most else "This session has no spectators.",
            )
        self._spectators += 1
        return FIRST_SPECTATOR + self._spectators

    def overseer(self) -> int:
        """A place from which a server of the game watches all that happens. It takes none of the spectators'."""
        self._overseers += 1
        return FIRST_OVERSEER + self._overseers

    def dismiss_banned(self) -> None:
        """Ends the streams of spectators who may not return. A participant's ends with its last event."""
        banned = self.room.session.banned
        for place, stream in list(self.streams.items()):
            if FIRST_SPECTATOR <= place < FIRST_OVERSEER and stream.user_id in banned:
                stream.close(PermissionDenied(Reason.KICKED, "You were removed from this session."))

    def touch(self) -> None:
        """Something has changed: have it kept, and look at its deadlines."""
        self._touch(self)

    async def confirmed(self, ticket: int) -> None:
        """Waits until the log has kept a batch. Raises Unavailable when it cannot, or WRONG_NODE."""
        if self.lost is not None:
            raise self.lost
        if self.room.confirmed >= ticket:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (ticket, future)
        self._waiters.append(entry)
        try:
            await future
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)

    def resolve(self) -> None:
        """Tells those who wait for what is now confirmed."""
        if self._waiters:
            confirmed = self.room.confirmed
            for ticket, future in self._waiters:
                if ticket <= confirmed and not future.done():
                    future.set_result(None)

    def fail(self, error: OofggError) -> None:
        """Tells those who wait that the log does not answer. What they wait for may still happen."""
        for _, future in self._waiters:
            if not future.done():
                future.set_exception(error)

    def lose(self, error: OofggError) -> None:
        """This node no longer owns the session: everybody has to go elsewhere."""
        self.lost = error
        self.fail(error)
        for stream in list(self.streams.values()):
            stream.close(error)
        self.touch()
