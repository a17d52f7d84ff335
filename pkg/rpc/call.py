"""What a handler may know and do about the call it serves.

This is all of the transport that handlers see, so that the server behind it can be exchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from google.protobuf.message import Message

from pkg.auth.caller import Caller


class Context(Protocol):
    """The part of a `grpc.aio.ServicerContext` that is used."""

    async def read(self) -> Any: ...
    async def write(self, message: Any) -> None: ...
    def time_remaining(self) -> float | None: ...
    def peer(self) -> str: ...
    def invocation_metadata(self) -> Any: ...


# Set by Envoy, over whatever a client sends.
CLIENT_ADDRESS_HEADER: Final = "x-oofgg-client-address"
_MOST_CLIENT_NAME: Final = 200


class Call:
    """One call: who calls, under which request id, with how much time."""

    __slots__ = ("_context", "caller", "metadata", "method", "request_id")

    def __init__(
        self, context: Context, method: str, metadata: Mapping[str, str], request_id: str, caller: Caller
    ) -> None:
        self._context = context
        self.method = method
        self.metadata = metadata
        self.request_id = request_id
        self.caller = caller

    @property
    def peer(self) -> str:
        """The other end of the connection: behind Envoy, Envoy."""
        return self._context.peer()

    @property
    def client_address(self) -> str:
        """The client's address as Envoy saw it; empty for a call that did not come through Envoy."""
        return self.metadata.get(CLIENT_ADDRESS_HEADER, "")

    @property
    def client_name(self) -> str:
        """What the client calls itself, at most 200 characters."""
        name = self.metadata.get("x-user-agent") or self.metadata.get("user-agent", "")
        return name[:_MOST_CLIENT_NAME]

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None when it set none."""
        return self._context.time_remaining()


class StreamCall(Call):
    """A call that streams in at least one direction."""

    __slots__ = ("_broken", "_check", "_end")

    def __init__(
        self,
        context: Context,
        method: str,
        metadata: Mapping[str, str],
        request_id: str,
        caller: Caller,
        *,
        check: Callable[[Any], None],
        end: object,
        broken: type[Exception],
    ) -> None:
        super().__init__(context, method, metadata, request_id, caller)
        self._check = check
        self._end = end
        self._broken = broken

    async def read(self) -> Any:
        """The next request, checked; None when the client has sent its last. Raises InvalidArgument."""
        message = await self._context.read()
        if message is self._end:
            return None
        self._check(message)
        return message

    async def write(self, message: Message | bytes) -> None:
        """Sends a response; bytes go out as they are and must be an encoded response."""
        await self._context.write(message)

    async def write_last(self, message: Message | bytes, *, within: float) -> None:
        """Sends a response before the call is ended, if the other end still takes it within so many seconds."""
        try:
            async with asyncio.timeout(within):
                await self._context.write(message)
        except (TimeoutError, self._broken):
            return
