"""A client's connection to the platform."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import grpc.aio

from oofgg._channel import Stubs, bind, open_channel

logger = logging.getLogger("oofgg")

# Calls that are on their way on a connection that was replaced have this long to end by themselves.
_GRACE_SECONDS = 30.0


class Connection:
    """One channel at a time, and stubs that are always those of the present one.

    A connection can be dead although nobody says so: the network swallows what is sent. gRPC notices only when its own
    pings are not answered, and until then puts every new call on it.
    """

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None) -> None:
        self._target = target
        self._credentials = credentials
        self._channel = open_channel(target, credentials)
        self._replaced: dict[int, grpc.aio.Channel] = {}
        self._streams: dict[int, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.stubs = Stubs(self._channel)
        self.number = 1
        """Which connection this is: grows when it is replaced."""

    @contextmanager
    def stream(self) -> Iterator[int]:
        """A stream is open meanwhile; gives the number of its connection, which is kept for it."""
        number = self.number
        self._streams[number] = self._streams.get(number, 0) + 1
        try:
            yield number
        finally:
            self._streams[number] -= 1
            self._let_go(number)

    def replace(self, number: int) -> None:
        """What comes next takes a new connection. Does nothing when that has happened since `number` was current."""
        if number != self.number:
            return
        logger.info("nothing was heard on connection %d: opening another", number)
        self._replaced[number] = self._channel
        self._channel = open_channel(self._target, self._credentials)
        self.number += 1
        bind(self.stubs, self._channel)
        self._let_go(number)

    async def close(self) -> None:
        """Ends every call."""
        closing = list(self._closing)
        for task in closing:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)
        for channel in (self._channel, *self._replaced.values()):
            await channel.close()
        self._replaced.clear()

    def _let_go(self, number: int) -> None:
        """Closes a replaced connection that no stream needs, when its calls have had time to end."""
        if self._streams.get(number) or number not in self._replaced:
            return
        self._streams.pop(number, None)
        task = asyncio.create_task(self._close_later(number))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_later(self, number: int) -> None:
        await asyncio.sleep(_GRACE_SECONDS)
        await self._replaced.pop(number).close()
