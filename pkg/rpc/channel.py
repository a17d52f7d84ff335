"""Calls from one service to another: service token, request id, trimmed deadline, domain errors."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from pkg.auth.tokens import ServiceTokens
from pkg.errors import DeadlineExceeded, Reason, backend_unavailable
from pkg.rpc.call import Call
from pkg.rpc.pipeline import REQUEST_ID_HEADER
from pkg.rpc.status import from_rpc_error
from pkg.telemetry.logs import current_request_id
from pkg.telemetry.tracing import TRACE_PARENT_HEADER, current_trace_parent

R = TypeVar("R", bound=Message)
# What the caller needs to answer after the other service has.
_RESERVE_SECONDS = 0.05
_OPTIONS: list[tuple[str, Any]] = [
    # Several of our processes on one machine must not share one connection's fate.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A proxy of the environment is for what is outside; it knows nothing of our services.
    ("grpc.enable_http_proxy", 0),
]


class ServiceChannel:
    """A channel to one other service. It connects at the first call."""

    def __init__(self, address: str, tokens: ServiceTokens) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._tokens = tokens

    async def call(
        self, method: MethodDescriptor, request: Message, response: type[R], *, within: float, on_behalf_of: Call | None
    ) -> R:
        """Calls `method` and returns its response.

        Waits at most `within` seconds, and less when the call being served has less left. Raises the other
        service's domain error, or Unavailable(BACKEND_UNAVAILABLE) when it does not answer.
        """
        timeout = within
        if on_behalf_of is not None and (remaining := on_behalf_of.time_remaining()) is not None:
            timeout = min(within, remaining - _RESERVE_SECONDS)
            if timeout <= 0:
                raise DeadlineExceeded(Reason.DEADLINE, "The deadline of this call left too little time.")
        stub: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = self._channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        metadata = [("authorization", f"Bearer {self._tokens.issue()}")]
        if request_id := current_request_id.get():
            metadata.append((REQUEST_ID_HEADER, request_id))
        if trace_parent := current_trace_parent.get():
            metadata.append((TRACE_PARENT_HEADER, trace_parent))
        try:
            answer = await stub(request, timeout=timeout, metadata=metadata, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        except asyncio.CancelledError:
            # grpc.aio raises it for a call whose channel was closed, too.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise backend_unavailable("Another service") from None
        if not isinstance(answer, response):
            raise TypeError(f"{method.full_name} answers {type(answer).__name__}, not {response.__name__}")
        return answer

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()
