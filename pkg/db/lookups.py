"""Rows by key for many callers with few statements."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

from pkg.deadline import call_deadline, within
from pkg.errors import backend_unavailable
from pkg.grouping import gather_seconds
from pkg.time_limit import time_limit

K = TypeVar("K")
V = TypeVar("V")

_WAIT_SECONDS: Final = 5.0
# Keys in one statement.
_MOST_AT_ONCE: Final = 256


class _Turn(Generic[K]):
    """A caller that waits: for its row, or for its turn to fetch."""

    __slots__ = ("future", "key")

    def __init__(self, key: K) -> None:
        self.key = key
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()


_LEAD: Final = object()


class Lookup(Generic[K, V]):
    """Whoever asks while a statement is under way shares the next one with all who do.

    Alone, a caller gets a statement of its own at once; with others, statements grow instead of queueing for
    connections, and cost each caller little. A row is never read before it was asked for. The statement of many runs as
    a part of one of their calls, so no task is left behind; when that call is cancelled or has no more time, another
    one does it.
    """

    def __init__(self, fetch: Callable[[list[K]], Awaitable[Mapping[K, V]]], *, backend: str = "PostgreSQL") -> None:
        """`fetch` gets keys, some perhaps twice, and returns what there is. `backend` is what is asked, for errors."""
        self._fetch = fetch
        self._backend = backend
        self._waiting: deque[_Turn[K]] = deque()
        self._busy = False
        self._last = 1  # for how many callers the last statement was

    async def get(self, key: K) -> V | None:
        """The row of a key; None when there is none. Raises what `fetch` raises, Unavailable when nothing comes."""
        if self._busy:
            turn = _Turn(key)
            self._waiting.append(turn)
            found = await self._wait(turn)
            if found is not _LEAD:
                return found  # type: ignore[return-value]
        return await self._lead(key)

    async def _wait(self, turn: _Turn[K]) -> object:
        try:
            with time_limit(within(_WAIT_SECONDS)):
                return await turn.future
        except BaseException as error:
            # It may have become its turn just as it gave up.
            if turn.future.done() and not turn.future.cancelled() and turn.future.exception() is None:
                if turn.future.result() is _LEAD:
                    self._pass_on()
            else:
                turn.future.cancel()
            if isinstance(error, TimeoutError):
                raise backend_unavailable(self._backend) from error
            raise

    async def _lead(self, key: K) -> V | None:
        self._busy = True
        try:
            # Those that are about to ask come along.
            await asyncio.sleep(gather_seconds(max(self._last, 1 + len(self._waiting))))
        except asyncio.CancelledError:
            self._pass_on()
            raise
        company = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE - 1))]
        self._last = 1 + len(company)
        try:
            with time_limit(within(_WAIT_SECONDS)):
                found = await self._ask([key, *(turn.key for turn in company if not turn.future.done())])
        except (TimeoutError, asyncio.CancelledError) as error:
            self._waiting.extendleft(reversed(company))
            if isinstance(error, TimeoutError):
                raise backend_unavailable(self._backend) from error
            raise
        except Exception as error:
            for turn in company:
                if not turn.future.done():
                    turn.future.set_exception(error)
            raise
        else:
            for turn in company:
                if not turn.future.done():
                    turn.future.set_result(found.get(turn.key))
            return found.get(key)
        finally:
            self._pass_on()

    async def _ask(self, keys: list[K]) -> Mapping[K, V]:
        # The deadline of one caller must not become that of all.
        token = call_deadline.set(None)
        try:
            return await self._fetch(keys)
        finally:
            call_deadline.reset(token)

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.future.done():
                turn.future.set_result(_LEAD)
                return
        self._busy = False
