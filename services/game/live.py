"""A session as this process runs it: the room, who waits for its log, which streams are open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from pkg.errors import OofggError
from services.game.room import Room


class OpenStream(Protocol):
    """What the session may ask of a stream."""

    def close(self, error: OofggError) -> None:
        """Ends the stream with an error."""
        ...


class LiveSession:
    """One session that this node owns."""

    def __init__(self, room: Room, epoch: int, *, touch: Callable[[LiveSession], None]) -> None:
        self.room = room
        self.epoch = epoch
        self.streams: dict[int, OpenStream] = {}  # by seat
        self.listed = room.session.state  # the state it is listed under
        self.scheduled: float | None = None  # when its time is looked at next
        self.lost: OofggError | None = None  # why this node no longer owns it
        self.replaying = asyncio.Lock()  # held while a request with a request id takes effect
        self.trace_parent = ""  # the span of the call that stated a result last
        self.finishing = asyncio.Lock()  # held while its result is written
        self._touch = touch
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def session_id(self) -> str:
        """Id of the session."""
        return self.room.session.facts.session_id

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
