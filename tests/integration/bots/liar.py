"""A platform for two in one session that can break any promise, to see that the bots notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

import grpc

from oofgg.v1 import auth_pb2, session_pb2
from tests.integration.sdk.script import handlers_of, headers, refuse

SESSION = "s1"
VICTIM = 2
# The command with which the lie begins: when both have seen something of each other.
FROM = 5


class Lie(StrEnum):
    """What the platform does to its players; where it matters, to the one in seat VICTIM."""

    NONE = "none"
    ANOTHER_ORDER = "another order"
    LOST = "a command is acknowledged and lost"
    TWICE = "a command comes twice"
    SWAPPED = "two commands change places"
    BACKWARDS = "a LATEST value goes backwards"
    STALE = "LATEST values stop"
    VOLATILE_TWICE = "a VOLATILE command comes twice"
    RESET = "the log is reset"
    THROWN_OUT = "a seat is refused"
    SLOW = "everything takes its time"


class Liar:
    """One session, in memory."""

    def __init__(self, lie: Lie) -> None:
        self._lie = lie
        self._seats: dict[str, int] = {}
        self._log: list[session_pb2.Event] = []
        self._queues: dict[int, asyncio.Queue[session_pb2.PlayResponse]] = {}
        self._commands: dict[int, int] = {}
        self._count = 0
        self._held: session_pb2.Event | None = None
        self._first_latest: session_pb2.Event | None = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Runs it at the address it gives."""
        server = grpc.aio.server()
        for module in (auth_pb2, session_pb2):
            for service in module.DESCRIPTOR.services_by_name.values():
                server.add_generic_rpc_handlers((handlers_of(service, self),))
        target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield target
        finally:
            await server.stop(0)

    async def LoginGuest(self, request: Any, context: Any) -> Any:  # noqa: N802
        return auth_pb2.LoginGuestResponse(
            user_id=request.device_id, access_token=request.device_id, refresh_token="r", expires_in=900
        )

    async def CreateSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        return session_pb2.CreateSessionResponse(session=session_pb2.Session(session_id=SESSION))

    async def Join(self, request: Any, context: Any) -> Any:  # noqa: N802
        seat = self._seats.setdefault(headers(context)["authorization"], len(self._seats) + 1)
        return session_pb2.JoinResponse(
            session=session_pb2.Session(session_id=SESSION), seat=session_pb2.Seat(seat=seat)
        )

    async def Close(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._reliable(session_pb2.Event(state=session_pb2.StateChange(state=session_pb2.SESSION_STATE_DELETED)))
        return session_pb2.CloseResponse()

    async def Play(self, requests: AsyncIterator[session_pb2.PlayRequest], context: Any) -> None:  # noqa: N802
        seat = self._seats[headers(context)["authorization"]]
        opening = (await anext(requests)).open
        session = session_pb2.Session(session_id=SESSION, state=session_pb2.SESSION_STATE_STARTED)
        opened = session_pb2.StreamOpened(
            session=session, seat=seat, head_seq=len(self._log), command=self._commands.get(seat, 0), heartbeat_ms=5_000
        )
        await context.write(session_pb2.PlayResponse(opened=opened))
        queue = self._queues[seat] = asyncio.Queue()
        for event in self._log[opening.after_seq :]:
            queue.put_nowait(session_pb2.PlayResponse(events=[event]))
        reading = asyncio.create_task(self._read(seat, requests))
        try:
            while True:
                if self._lie is Lie.THROWN_OUT and seat == VICTIM and self._count > FROM:
                    await refuse(context, grpc.StatusCode.PERMISSION_DENIED, "NOT_A_PARTICIPANT")
                response = await queue.get()
                await context.write(response)
                if response.events and response.events[0].HasField("state"):
                    return
        finally:
            reading.cancel()

    async def _read(self, seat: int, requests: AsyncIterator[session_pb2.PlayRequest]) -> None:
        async for request in requests:
            for command in request.commands:
                await self._take(seat, command)

    async def _take(self, seat: int, command: session_pb2.Command) -> None:
        self._count += 1
        lies = self._count > FROM
        message = session_pb2.Message(
            payload=command.payload, kind=command.kind, key=command.key, command=command.number
        )
        event = session_pb2.Event(seat=seat, message=message)
        if command.delivery == session_pb2.DELIVERY_CLASS_LATEST:
            self._latest(event, lies)
        elif command.delivery == session_pb2.DELIVERY_CLASS_VOLATILE:
            for _ in range(2 if lies and self._lie is Lie.VOLATILE_TWICE else 1):
                self._to_others(event)
        else:
            if lies and self._lie is Lie.SLOW:
                await asyncio.sleep(0.3)
            await self._command(event, lies)
            self._commands[seat] = command.number
            self._queues[seat].put_nowait(session_pb2.PlayResponse(ack_command=command.number))

    async def _command(self, event: session_pb2.Event, lies: bool) -> None:
        if not lies:
            await self._reliable(event)
        elif self._lie is Lie.LOST and self._held is None:
            self._held = event
        elif self._lie is Lie.SWAPPED and (self._held is None or self._held.seat != event.seat):
            if self._held is not None:
                await self._reliable(self._held)
            self._held = event
        elif self._lie is Lie.SWAPPED and self._held is not None:
            held, self._held = self._held, None
            await self._reliable(event)
            await self._reliable(held)
        else:
            await self._reliable(event)
            if self._lie is Lie.TWICE:
                await self._reliable(event)

    async def _reliable(self, event: session_pb2.Event) -> None:
        kept = session_pb2.Event()
        kept.CopyFrom(event)
        kept.seq = len(self._log) + 1
        self._log.append(kept)
        for seat, queue in self._queues.items():
            told = session_pb2.Event()
            told.CopyFrom(kept)
            if seat == VICTIM and self._count > FROM:
                if self._lie is Lie.ANOTHER_ORDER:
                    told.seat = VICTIM if kept.seat != VICTIM else 1
                elif self._lie is Lie.RESET and not kept.HasField("state"):
                    told = session_pb2.Event(seq=kept.seq, log_reset=session_pb2.LogReset())
            queue.put_nowait(session_pb2.PlayResponse(events=[told]))

    def _latest(self, event: session_pb2.Event, lies: bool) -> None:
        if self._first_latest is None and event.seat != VICTIM:  # the victim is the one who hears it again
            self._first_latest = event
        if self._lie is Lie.STALE and lies:
            return
        self._to_others(event)
        first = self._first_latest
        again = first is not None and first.message.key == event.message.key and first.seat == event.seat
        if self._lie is Lie.BACKWARDS and lies and first is not None and again:
            self._to_others(first)

    def _to_others(self, event: session_pb2.Event) -> None:
        for seat, queue in self._queues.items():
            if seat != event.seat:
                queue.put_nowait(session_pb2.PlayResponse(events=[event]))
