"""Envoy's aggregated discovery service: one stream per Envoy, on a private port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from pkg.internal.v1 import xds_pb2 as pb
from pkg.rpc.server import open_private_server
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken
from services.edge.board import Board
from services.edge.codec import METHOD, TYPE_URL, read_request, write_response
from services.edge.metrics import EdgeMetrics
from services.edge.subscription import Subscription, TooManyNames

_log = get_logger(__name__)

_MOST_ENVOYS = 256
# An Envoy that takes no message, or answers none, for this long is cut off; it comes back when it can.
_PATIENCE_SECONDS = 10.0

_Context = grpc.aio.ServicerContext[pb.DiscoveryRequest, pb.DiscoveryResponse]


class Discovery:
    """Answers Envoys from the board."""

    def __init__(self, board: Board, metrics: EdgeMetrics) -> None:
        self._board = board
        self._metrics = metrics
        self._open = 0

    @asynccontextmanager
    async def served(self, address: str) -> AsyncIterator[None]:
        """Serves at `address` (host:port) until left. Raises OSError when the address is taken."""
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=pb.DiscoveryRequest.FromString,
            response_serializer=pb.DiscoveryResponse.SerializeToString,
        )
        service, _, method = METHOD.strip("/").partition("/")
        async with open_private_server(address, service, {method: handler}):
            yield

    async def _stream(self, _: object, context: _Context) -> None:
        if self._open >= _MOST_ENVOYS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"at most {_MOST_ENVOYS} Envoys are served")
        self._open += 1
        self._metrics.envoys.inc()
        try:
            await self._serve(context)
        except TooManyNames as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "this Envoy takes or answers nothing")
        finally:
            self._open -= 1
            self._metrics.envoys.dec()

    async def _serve(self, context: _Context) -> None:
        subscription = Subscription()
        with self._board.listening() as wake:
            reader = asyncio.create_task(self._read(context, subscription, wake))
            reader.add_done_callback(lambda _: wake.set())
            try:
                while not reader.done():
                    wake.clear()
                    response = subscription.next(self._board.view)
                    if response is not None:
                        async with asyncio.timeout(_PATIENCE_SECONDS):
                            await context.write(write_response(response))
                        self._metrics.pushes.inc()
                    if not await woken(wake, within=_PATIENCE_SECONDS) and subscription.waiting:
                        raise TimeoutError
                reader.result()
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, context: _Context, subscription: Subscription, wake: asyncio.Event) -> None:
        """Takes requests until Envoy ends the stream."""
        named = ""
        while True:
            message: Any = await context.read()
            if message is grpc.aio.EOF:
                return
            if message.HasField("node"):
                named = message.node.id
            if message.type_url != TYPE_URL:
                # Listeners, routes and clusters are Envoy's own; a kind that is not served is never answered.
                _log.warning("Envoy asks for what edge does not know", envoy=named, kind=message.type_url[:200])
                continue
            request = read_request(message)
            if subscription.take(request) is False:
                self._metrics.refusals.inc()
                _log.error("Envoy refuses the endpoints", envoy=named, cause=request.error[:500])
            wake.set()
