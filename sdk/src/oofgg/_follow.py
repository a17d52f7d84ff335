"""Streams that the server writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc.aio

from oofgg import _convert
from oofgg._backoff import Backoff
from oofgg._calls import Caller, was_cancelled
from oofgg._channel import Stubs
from oofgg._types import MatchNews
from oofgg.errors import Cancelled, DeadlineExceeded, Reason, Unauthenticated, Unavailable, from_rpc_error
from oofgg.v1 import history_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

logger = logging.getLogger("oofgg")

# The server says every few seconds that all is well.
_SILENT_SECONDS = 20.0


async def stream(caller: Caller, method: Any, request: Message) -> AsyncIterator[Any]:
    """Responses of a stream. Raises OofggError when it breaks, or nothing was heard for twenty seconds."""
    caller.require_usable()
    authorization = await caller.authorize() if caller.authorize is not None else ()
    call = method(request, metadata=authorization)
    responses = call.__aiter__()
    try:
        while True:
            async with asyncio.timeout(_SILENT_SECONDS):
                response = await anext(responses, None)
            if response is None:
                return
            yield response
    except grpc.aio.AioRpcError as failure:
        error = from_rpc_error(failure)
        if isinstance(error, Unauthenticated) and error.reason is Reason.TOKEN_EXPIRED and caller.renew is not None:
            await caller.renew(authorization)
        raise error from failure
    except grpc.aio.UsageError:
        raise Cancelled("the client is closed") from None
    except TimeoutError:
        raise DeadlineExceeded("nothing was heard from the server for too long") from None
    except asyncio.CancelledError:
        if was_cancelled():
            raise
        raise Cancelled("the stream was cut") from None
    finally:
        call.cancel()


async def follow(
    stubs: Stubs, caller: Caller, game_id: str, position: str, from_start: bool
) -> AsyncIterator[MatchNews]:
    """Matches of a game as they finish, over as many streams as it takes."""
    backoff = Backoff()
    while True:
        caller.require_usable()
        request = history_pb2.WatchMatchesRequest(game_id=game_id, position=position, from_start=from_start)
        try:
            async for response in stream(caller, stubs.history.WatchMatches, request):
                backoff.reset()
                position = response.position or position
                if response.HasField("match"):
                    yield MatchNews(_convert.match(response.match), response.position)
            delay = backoff.delay()
        except (Unavailable, DeadlineExceeded, Cancelled) as error:
            delay = backoff.delay(error.retry_after)
            logger.info("watching matches broke, again in %.2f s: %s", delay, error)
        except Unauthenticated as error:
            if error.reason is not Reason.TOKEN_EXPIRED:
                raise
            delay = backoff.delay()
        await asyncio.sleep(delay)
