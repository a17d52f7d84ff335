"""Unary calls: a deadline on each, repeated while the platform cannot be reached, failing with typed errors."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc.aio

from oofgg._backoff import Backoff
from oofgg._connection import Connection
from oofgg.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    OofggError,
    Reason,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    from_rpc_error,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

logger = logging.getLogger("oofgg")

NODE_HEADER = "x-oofgg-node"
Metadata = tuple[tuple[str, str], ...]
Authorize = Callable[[], Awaitable[Metadata]]
Renew = Callable[[Metadata], Awaitable[Metadata]]
_Request = TypeVar("_Request", bound="Message")
_Response = TypeVar("_Response", bound="Message")

_MOST_NODES = 3
# Who sends too much waits for as long as the platform says, once in a call, and no longer than this.
_LONGEST_WAIT_SECONDS = 10.0
# Not all clients that wait should come back at once.
_WAIT_JITTER = 0.1


def was_cancelled() -> bool:
    """Whether it is the task that was cancelled: grpc.aio raises CancelledError for a call whose channel was closed,
    too."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def new_request_id() -> str:
    """An id under which a change happens once, however often it is sent."""
    return uuid.uuid4().hex


class Caller:
    """Makes unary calls."""

    def __init__(self, timeout: float, backoff: Callable[[], Backoff] = Backoff) -> None:
        """`timeout` is for a call with all its repeats, in seconds."""
        self.timeout = timeout
        self.authorize: Authorize | None = None
        self.renew: Renew | None = None
        self.connection: Connection | None = None
        self._backoff = backoff

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        *,
        authorized: bool = True,
        node: str = "",
    ) -> _Response:
        """The response. Raises OofggError.

        UNAVAILABLE is repeated, and WRONG_NODE: every change that is not idempotent by nature carries a request id.
        RATE_LIMITED, with which nothing has happened, is waited out once, if the time for the call allows.
        """
        self.require_usable()
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + self.timeout
        backoff = self._backoff()
        renewed, waited, nodes = False, False, 0
        while True:
            authorization = await self._authorization() if authorized else ()
            metadata = (*authorization, (NODE_HEADER, node)) if node else authorization
            connection = self.connection.number if self.connection is not None else 0
            try:
                response = await method(request, metadata=metadata, timeout=max(0.001, deadline - loop.time()))
            except grpc.aio.AioRpcError as failure:
                error = from_rpc_error(failure)
            except grpc.aio.UsageError:
                raise Cancelled("the client is closed") from None
            except asyncio.CancelledError:
                if was_cancelled():
                    raise
                raise Cancelled("the client was closed") from None
            else:
                self._heard(None)
                return response
            self._heard(error)
            if isinstance(error, FailedPrecondition) and error.reason is Reason.WRONG_NODE:
                named, nodes = error.metadata.get("node", ""), nodes + 1
                # One that was asked for and did not answer is gone, until another owns what it ran.
                delay = 0.0 if named != node and nodes <= _MOST_NODES else backoff.delay(error.retry_after)
                if loop.time() + delay < deadline:
                    node = named
                    await asyncio.sleep(delay)
                    continue
            if isinstance(error, Unauthenticated) and error.reason is Reason.TOKEN_EXPIRED and not renewed:
                if authorized and self.renew is not None:
                    await self.renew(authorization)
                    renewed = True
                    continue
            elif isinstance(error, ResourceExhausted) and error.reason is Reason.RATE_LIMITED and not waited:
                waited = True
                delay = (error.retry_after or 0.0) + backoff.random.uniform(0, _WAIT_JITTER)
                if error.retry_after and delay < min(_LONGEST_WAIT_SECONDS, deadline - loop.time()):
                    logger.info("waiting for %.1f s: %s", delay, error)
                    await asyncio.sleep(delay)
                    continue
            elif isinstance(error, Unavailable):
                delay = backoff.delay(error.retry_after)
                if loop.time() + delay < began + self._patience(error):
                    logger.debug("repeating a call in %.2f s: %s", delay, error)
                    await asyncio.sleep(delay)
                    continue
            if (
                isinstance(error, DeadlineExceeded)
                and error.reason is Reason.UNSPECIFIED
                and self.connection is not None
            ):
                self.connection.replace(connection)  # it may be dead: the next call shall not find out again
            raise error if self.connection is None else self.connection.failed(error, loop.time() - began)

    def require_usable(self) -> None:
        """Raises Cancelled when the client was closed; RuntimeError in a forked process and in another event loop."""
        if self.connection is not None:
            self.connection.require_usable()

    def _heard(self, error: OofggError | None) -> None:
        """The platform has answered, unless the error says that nobody did."""
        cut = isinstance(error, Unavailable | DeadlineExceeded) and error.reason is Reason.UNSPECIFIED
        if self.connection is not None and not cut:
            self.connection.answered()

    def _patience(self, error: OofggError) -> float:
        return self.timeout if self.connection is None else self.connection.patience(error, self.timeout)

    async def _authorization(self) -> Metadata:
        return await self.authorize() if self.authorize is not None else ()
