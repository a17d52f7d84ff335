"""The event loop behind blocking clients: one thread for all clients of a process, and a portal into it for each.

One loop and not one per client: each loop that grpc.aio serves is woken by the events of all, and older versions log an
error for every such wake-up.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, ClassVar, TypeVar

from oofgg.errors import Cancelled, DeadlineExceeded

_T = TypeVar("_T")
_CLOSE_SECONDS = 10.0


class _LoopThread:
    """Runs an event loop while it has users. A daemon, so that a game that forgets to close can end.

    The loop outlives the thread and is used again: what a cancelled call still has to hear from grpc comes when it
    likes, and finding the loop closed would disturb grpc's other loops in this process.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _shared: ClassVar[_LoopThread | None] = None

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._users = 0
        self._over = asyncio.Event()
        self._thread: threading.Thread | None = None
        # Left to itself, the loop would be torn down in the middle of something when the interpreter ends.
        atexit.register(self._end)

    @classmethod
    def acquire(cls) -> _LoopThread:
        """The process's thread, started if need be."""
        with cls._lock:
            shared = cls._shared
            if shared is None or shared._process != os.getpid():  # a forked process has no threads of its parent
                shared = cls._shared = cls()
            if shared._thread is None:
                shared._start()
            shared._users += 1
            return shared

    @property
    def is_foreign(self) -> bool:
        """Whether this is a process that was forked from the one whose thread it is."""
        return self._process != os.getpid()

    def release(self) -> None:
        """Ends the thread if this was its last user."""
        with self._lock:
            self._users -= 1
            if not self._users and not self._stop() and _LoopThread._shared is self:
                _LoopThread._shared = None

    def _start(self) -> None:
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="oofgg", daemon=True)
        self._thread.start()

    def _stop(self) -> bool:
        if self._thread is not None:
            self.loop.call_soon_threadsafe(self._over.set)
            self._thread.join(_CLOSE_SECONDS)
            if self._thread.is_alive():
                return False
            self._thread = None
        return True

    def _end(self) -> None:
        if self._process == os.getpid() and self._stop():
            self.loop.close()

    def _serve(self) -> None:
        self.loop.run_until_complete(self._until_over())

    async def _until_over(self) -> None:
        await self._over.wait()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=_CLOSE_SECONDS / 2)


class Portal:
    """One client's way into the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        self._calls: set[concurrent.futures.Future[Any]] = set()
        self._opened = False

    def open(self) -> None:
        """Raises RuntimeError if it is open, and in a thread whose event loop it would hold up."""
        _require_no_loop()
        with self._lock:
            if self._thread is not None:
                raise RuntimeError("this client is open already")
            self._thread = _LoopThread.acquire()
            self._opened = True

    def require_open(self) -> _LoopThread:
        """Raises Cancelled when the client was closed, RuntimeError when it was never opened, or before a fork."""
        thread = self._thread
        if thread is None:
            self.require_opened()
            raise Cancelled("the client is closed")
        self.require_process()
        return thread

    @property
    def is_foreign(self) -> bool:
        """Whether this is a process that was forked since it was opened."""
        thread = self._thread
        return thread is not None and thread.is_foreign

    def require_process(self) -> None:
        """Raises RuntimeError in a process that was forked since it was opened."""
        if self.is_foreign:
            raise RuntimeError(
                "this client was opened in another process, from which this one was forked: a client belongs to one "
                "process"
            )

    def require_opened(self) -> None:
        """Raises RuntimeError when it was never opened."""
        if not self._opened:
            raise RuntimeError("this client is not open: use `with oofgg.sync.Client(…) as client:`")

    def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Runs it on the loop and waits. Raises what it raises, and Cancelled when the client is closed meanwhile.

        An exception in the waiting thread, such as KeyboardInterrupt, cancels it.
        """
        with self._lock:
            try:
                _require_no_loop()
                call = asyncio.run_coroutine_threadsafe(work, self.require_open().loop)
            except BaseException:
                work.close()
                raise
            self._calls.add(call)
        try:
            return call.result()
        except concurrent.futures.CancelledError:
            raise Cancelled("the client was closed") from None
        finally:
            call.cancel()
            with self._lock:
                self._calls.discard(call)
            del call  # which holds the exception that holds this frame

    def iterate(self, items: AsyncIterator[_T]) -> Iterator[_T]:
        """The same items, each awaited when it is asked for."""
        while found := self.call(_next(items)):
            yield found[0]

    def notify(self, callback: Callable[[], object]) -> None:
        """Has the loop call this soon, if it still runs."""
        thread = self._thread
        if thread is not None:
            try:
                thread.loop.call_soon_threadsafe(callback)
            except RuntimeError:
                return  # closed at this moment: nobody is there to be told

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancels every call that waits, and runs `last`. Does nothing when it is not open."""
        if self.is_foreign:
            return  # it is the other process's to close, and nothing here would answer
        with self._lock:
            thread, self._thread = self._thread, None
            waiting = list(self._calls)
        if thread is None:
            return
        for call in waiting:
            call.cancel()
        try:
            asyncio.run_coroutine_threadsafe(within(_CLOSE_SECONDS, last), thread.loop).result()
        finally:
            thread.release()


def _require_no_loop() -> None:
    """Raises RuntimeError in a thread that runs an event loop: waiting in it would stop everything there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "oofgg.sync waits, and this thread runs an event loop, which would stand still: use oofgg.Client with "
        "`async with` here, or call this in a thread of its own (asyncio.to_thread)"
    )


async def within(seconds: float | None, begin: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Does what `begin` begins. Raises DeadlineExceeded when it takes longer; None is for ever."""
    try:
        async with asyncio.timeout(seconds):
            return await begin()
    except TimeoutError:
        raise DeadlineExceeded(f"it took longer than {seconds} s") from None


async def _next(items: AsyncIterator[_T]) -> tuple[_T] | None:
    async for item in items:
        return (item,)
    return None
