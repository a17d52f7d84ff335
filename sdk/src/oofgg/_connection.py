"""A client's connection to the platform."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import grpc.aio

from oofgg._channel import Stubs, bind, open_channel
from oofgg._target import Target
from oofgg.errors import Cancelled, OofggError, Reason, Unavailable

logger = logging.getLogger("oofgg")

# How long calls are repeated when nothing has ever answered on this machine.
_NOBODY_HERE_SECONDS = 4.0
# Calls that are on their way on a connection that was replaced have this long to end by themselves.
_GRACE_SECONDS = 30.0


class Connection:
    """One channel at a time, and stubs that are always those of the present one.

    A connection can be dead although nobody says so: the network swallows what is sent. gRPC notices only when its own
    pings are not answered, and until then puts every new call on it.
    """

    def __init__(self, target: Target, credentials: grpc.ChannelCredentials | None) -> None:
        self._process = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._reached = False
        self._warned = False
        self._target = target
        self._credentials = credentials
        self._channel = open_channel(target, credentials)
        self._replaced: dict[int, grpc.aio.Channel] = {}
        self._streams: dict[int, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.stubs = Stubs(self._channel)
        self.number = 1
        """Which connection this is: grows when it is replaced."""

    @property
    def is_foreign(self) -> bool:
        """Whether this is a process that was forked from the one in which it was opened."""
        return self._process != os.getpid()

    def require_usable(self) -> None:
        """Raises Cancelled when it was closed; RuntimeError in a forked process and in another event loop."""
        if self.is_foreign:
            raise RuntimeError(
                f"this client was opened in process {self._process}, and this one was forked from it: a client belongs "
                "to one process"
            )
        if self._closed:
            raise Cancelled("the client is closed")
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this client was opened in another event loop: make one in each event loop")

    def time(self) -> float:
        """The clock of its event loop, for every thread."""
        return self._loop.time()

    def answered(self) -> None:
        """The platform was heard."""
        self._reached, self._warned = True, False

    def failed(self, error: OofggError, seconds: float) -> OofggError:
        """What to raise for a call that failed, and is not repeated any more after `seconds`."""
        if not _is_silence(error):
            return error
        why = f"{self._target.advice()} ({error.message})" if error.message else self._target.advice()
        return Unavailable(f"{why} Gave up after {seconds:.1f} s.", retry_after=error.retry_after)

    def patience(self, error: OofggError, timeout: float) -> float:
        """For how many seconds calls that fail like this are repeated."""
        if _is_silence(error):
            if not self._warned:
                self._warned = True
                logger.warning("%s Trying again. (%s)", self._target.advice(), error.message)
            if self._target.is_loopback and not self._reached:
                return min(timeout, _NOBODY_HERE_SECONDS)
        return timeout

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
        if self.is_foreign:
            return  # it is the other process's to close, and nothing here would answer
        self._closed = True
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


def _is_silence(error: OofggError) -> bool:
    """Whether a call has not reached the platform."""
    return isinstance(error, Unavailable) and error.reason is Reason.UNSPECIFIED
