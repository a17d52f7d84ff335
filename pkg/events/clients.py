"""Starting, using and stopping Kafka clients so that a cancellation neither leaks a connection nor gets lost.

aiokafka leaves a connection open when it is cancelled while making it, and its waits can swallow a cancellation that
meets one of their timeouts. So its calls run in tasks of their own: whoever is cancelled waits a moment for their end
and then hears of it in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
# How long a cancelled caller waits for a call to end by itself. Requests give up after a few seconds on their own.
_GRACE_SECONDS = 3.0
_STOP_SECONDS = 5.0


class Client(Protocol):
    """What aiokafka's clients have in common."""

    async def start(self) -> None: ...


async def start(client: Client, *, within: float) -> None:
    """Starts a client; stop it afterwards also when this fails. Raises KafkaError, or TimeoutError after `within`."""
    await whole(client.start(), within=within)


async def whole(call: Coroutine[Any, Any, T], *, within: float) -> T:
    """The result of a call. Raises what it raises, or TimeoutError after `within` seconds."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait([task], timeout=within)
    except asyncio.CancelledError:
        await _settle(task)
        raise
    if not done:
        await _settle(task, patience=0.0)
        raise TimeoutError
    return task.result()


async def stop(client_stop: Callable[[], Awaitable[Any]]) -> None:
    """Stops a client; one whose broker is away gets a few seconds to see it. Raises nothing."""

    async def call() -> None:
        await client_stop()

    task = asyncio.ensure_future(call())
    try:
        await _settle(task, patience=_STOP_SECONDS)
    except asyncio.CancelledError:
        await _settle(task)
        raise


async def _settle(task: asyncio.Task[Any], *, patience: float = _GRACE_SECONDS) -> None:
    """Waits for the end of a task, after `patience` by cancelling it."""
    if patience:
        await asyncio.wait([task], timeout=patience)
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1.0)
    if not task.cancelled():
        task.exception()
