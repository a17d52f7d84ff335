"""Playing in a session: one seat, over as many streams as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Self

import grpc.aio

from oofgg._backoff import wait
from oofgg._calls import NODE_HEADER, Metadata, new_request_id, was_cancelled
from oofgg._command import command, receivers
from oofgg._connection import Connection
from oofgg._events import Event
from oofgg._inbox import Gap, Inbox
from oofgg._login import LoginKeeper
from oofgg._outbox import Outbox
from oofgg._pulse import Pulse
from oofgg._reconnect import ReconnectPolicy, has_no_seat
from oofgg._resources import Sessions
from oofgg._session_view import NOT_ENTERED, SessionView
from oofgg._ticket_types import FoundMatch
from oofgg._types import Delivery, Outcome, SeatResult, Session, SessionState
from oofgg.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    OofggError,
    Reason,
    Unavailable,
    from_rpc_error,
    from_status,
)
from oofgg.v1 import session_pb2

logger = logging.getLogger("oofgg")

_OPEN_SECONDS = 10.0
_FLUSH_SECONDS = 5.0
_DEFAULT_HEARTBEAT = 10.0
# A server that was not heard for so many heartbeats is gone: found well within two.
_MISSED = 1.75
# Of events that the application has not taken, when another stream is opened: each may bring a window more.
_MOST_HELD = 64 * 1024
_THROTTLED_SECONDS = 1.0

_Call = grpc.aio.StreamStreamCall[session_pb2.PlayRequest, session_pb2.PlayResponse]
# Iterated, not read: `read` gives nothing more once a write has failed, though the reason for the end may be waiting.
_Responses = AsyncIterator[session_pb2.PlayResponse]


class PlaySession(SessionView):
    """A seat in a session that is being played. Made by `Client.play`; see there.

    Iterate to receive: RELIABLE events come once each and in order, whatever happens to the connection. Iteration ends
    when the session is over or the seat is given up, and raises the OofggError that ends it otherwise, such as
    Aborted(REPLACED) when another client took the seat. Keep iterating: who does not is closed as too slow, and comes
    back when it does.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        connection: Connection,
        login: LoginKeeper,
        session: str | Session | FoundMatch,
        team: int,
        after_seq: int | None,
        reconnect_for: float,
        spectate: bool = False,
    ) -> None:
        self._sessions = sessions
        self._connection = connection
        self._login = login
        self._session = session
        self._team = team
        self._spectate = spectate
        self._inbox = Inbox(after_seq)
        self._outbox = Outbox()
        self._policy = ReconnectPolicy(reconnect_for)
        self._node = ""
        self._authorization: Metadata = ()
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._connected = False
        self._pulse = Pulse()
        # What `leave` gives up is the seat of this client, not that of another one that has taken it over.
        self._instance_id = new_request_id()
        self._quiet_until = 0.0  # the platform takes nothing before
        self._opened = asyncio.Event()
        self._arrived = asyncio.Event()
        self._safe = asyncio.Event()
        self._wake = asyncio.Event()
        self._taken = asyncio.Event()

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("this was entered before; call client.play again")
        self._connection.require_usable()
        self._task = asyncio.create_task(self._run())
        try:
            await self._opened.wait()
        except BaseException:
            await self._stop()
            raise
        if self._error is not None:
            await self._stop()
            raise self._error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._connection.is_foreign:
            return  # the other process has the stream
        try:
            if kind is None and self._outbox.unsafe and not self._inbox.over:
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self.flush()
        except TimeoutError:
            raise Unavailable(f"{self._outbox.unsafe} commands could not be sent in time") from None
        finally:
            await self._stop()

    @property
    def connected(self) -> bool:
        """Whether a stream is open at the moment. False while it is opened again, and when `state.over`."""
        return self._connected

    @property
    def latency(self) -> float | None:
        """Seconds to the server and back, as last measured: often at first, then with each heartbeat."""
        return self._pulse.latency

    @property
    def throttled(self) -> bool:
        """Whether the platform takes less than this client sends, now or a moment ago: send less often, or less.

        Meanwhile RELIABLE commands wait, newer LATEST values replace older ones, and VOLATILE commands are dropped.
        """
        return self._connected and self._connection.time() < self._quiet_until + _THROTTLED_SECONDS

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which the server's clock is ahead: `time.time() + clock_offset` is the time of `event_time`.

        Right to within half the shortest of the last round trips. None until the first heartbeat was answered.
        """
        return self._pulse.clock.estimate

    async def send(
        self,
        payload: object,
        *,
        kind: str = "",
        delivery: Delivery = Delivery.RELIABLE,
        key: str = "",
        to: int | Iterable[int] = (),
        team: int = 0,
    ) -> bool:
        """Sends bytes, text, a protobuf message or anything JSON-able, of at most 64 KiB, to everybody in the session;
        or, with seats in `to` or a `team`, only to these.

        Returns True when it is queued; False, and sends nothing, when the session is over or the seat was given up,
        which the iteration tells a moment later. A RELIABLE command arrives once, whatever happens to the connection,
        unless this process ends first; when 256 of them or 1 MiB are under way, `send` waits. Raises ValueError for
        what is too large and for NaN and infinities in JSON, TypeError for what cannot be sent, RuntimeError for a
        spectator, and the OofggError that ended the stream.
        """
        data, kind = command(payload, kind, delivery, key)
        seats = receivers(to)
        self._require_seat()
        self._require_entered()
        while not self._is_over():
            if delivery is not Delivery.RELIABLE or self._outbox.has_room(len(data)):
                break
            await self._wait_safe()
        else:
            return False
        self._outbox.put(data, kind, delivery, key, seats, team)
        self._wake.set()
        return True

    async def flush(self) -> None:
        """Waits until every RELIABLE command is safe with the server. Raises the OofggError that ended the stream."""
        self._require_entered()
        while self._outbox.unsafe:
            self._require_open()
            await self._wait_safe()

    async def started(self) -> None:
        """Waits until enough seats are taken. Raises FailedPrecondition(SESSION_STATE) if the session ends instead."""
        self._require_entered()
        while self.state in (SessionState.CREATED, SessionState.WAITING):
            self._require_open()
            self._arrived.clear()
            await self._arrived.wait()
        if self.state.over:
            self._require_open()

    async def finish(
        self, result: Mapping[int, int] | Iterable[SeatResult], *, scores: Mapping[int, int] | None = None
    ) -> Outcome:
        """States the result; see `client.sessions.finish`. The session ends when all agree, or their time is up.

        It is about everybody in `roster`, also who has left; who had left before the first statement may be left out,
        and is placed last then.
        """
        return await self._sessions.finish(self.info, result, scores=scores)

    async def update(
        self,
        *,
        label: str | None = None,
        set_attributes: Mapping[str, str] | None = None,
        remove_attributes: Iterable[str] = (),
        expected_version: int | None = None,
    ) -> Session:
        """Changes the session; see `client.sessions.update`."""
        return await self._sessions.update(
            self.info,
            label=label,
            set_attributes=set_attributes,
            remove_attributes=remove_attributes,
            expected_version=expected_version,
        )

    async def kick(self, seat: int, *, reason: str = "", may_return: bool = False) -> None:
        """Removes a participant; see `client.sessions.kick`."""
        await self._sessions.kick(self.info, seat, reason=reason, may_return=may_return)

    async def leave(self) -> bool:
        """Gives the seat up, which ends the iteration, and returns True.

        Returns False, and nothing happens, when there is nothing to give up: the session is over, the seat is gone, or
        another client of the same account has taken it over (REPLACED), whose seat it is then.
        """
        session = self.info
        if self._inbox.over or (self._error is not None and has_no_seat(self._error)):
            return False
        try:
            await self._sessions._leave(session, self._instance_id)
        except OofggError as error:
            if has_no_seat(error):
                return False
            raise
        return True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        self._require_entered()
        while True:
            event = self._inbox.take(asyncio.get_running_loop().time())
            if event is not None:
                self._taken.set()
                if self._inbox.ack_due() is not None:
                    self._wake.set()
                return event
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()

    def _require_entered(self) -> None:
        """Raises RuntimeError for who did not enter it, in a forked process and in another event loop."""
        if self._task is None:
            raise RuntimeError(NOT_ENTERED)
        if not self._ended:
            self._connection.require_usable()

    def _is_over(self) -> bool:
        """Whether the session is over for this player, which is no error. Raises what ended it otherwise."""
        if self._inbox.over and self._error is None:
            return True
        self._require_open()
        return False

    def _require_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._ended or self._task is None or self._inbox.over:
            raise FailedPrecondition("The session is over.", reason=Reason.SESSION_STATE)

    def _require_seat(self) -> None:
        if self._spectate:
            raise RuntimeError("a spectator cannot send: use client.play to take a seat")

    async def _wait_safe(self) -> None:
        self._safe.clear()
        await self._safe.wait()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._end(self._error)

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        self._connected = False
        self._error = error
        for waited in (self._opened, self._arrived, self._safe):
            waited.set()

    async def _run(self) -> None:
        try:
            await self._play()
        except grpc.aio.UsageError:
            self._end(Cancelled("the client was closed"))
        except Exception as error:
            if not isinstance(error, OofggError):
                logger.exception("playing failed")
            self._end(error)
        else:
            self._end(None)

    async def _play(self) -> None:
        session = await self._find()
        self._node = session.node
        loop = asyncio.get_running_loop()
        while True:
            self._connection.require_usable()
            began = loop.time()
            try:
                await self._stream(session.session_id)
                if self._inbox.over:
                    return
                error: OofggError = Unavailable("the stream ended")
            except OofggError as failure:
                if self._inbox.over:
                    return  # it broke when there was nothing more to come
                error = failure
            if self._connected:
                self._connected = False
                self._policy.worked(loop.time() - began)
            retry = self._policy.next(error, loop.time())
            self._connection.patience(error, 0.0)  # warns once while nothing answers
            logger.info("the stream of session %s broke, again in %.2f s: %s", session.session_id, retry.delay, error)
            await asyncio.sleep(retry.delay)
            while self._inbox.held > _MOST_HELD:
                self._taken.clear()
                await self._taken.wait()
            if retry.node is not None:
                self._node = retry.node
            if retry.restart:
                self._inbox.after_seq = None
            if retry.renew:
                await self._login.renew(self._authorization)

    async def _find(self) -> Session | FoundMatch:
        """The session, in which the caller then has a seat."""
        found = self._session
        if self._spectate:
            return await self._sessions.get(found if isinstance(found, str) else found.session_id)
        if isinstance(found, FoundMatch):
            return found  # it has a seat for its players
        return (await self._sessions.take_seat(found, self._team))[0]

    async def _stream(self, session_id: str) -> None:
        """Serves one stream until the server ends it. Raises OofggError when it broke."""
        metadata = self._authorization = await self._login.metadata()
        if self._node:
            metadata = (*metadata, (NODE_HEADER, self._node))
        with self._connection.stream() as connection:
            try:
                await self._serve(session_id, metadata)
            except TimeoutError:
                self._connection.replace(connection)
                raise DeadlineExceeded("nothing was heard from the server for too long") from None
            except DeadlineExceeded:
                self._connection.replace(connection)  # the server has not heard anything either
                raise

    async def _serve(self, session_id: str, metadata: Metadata) -> None:
        call: _Call = self._connection.stubs.sessions.Play(metadata=metadata)
        writer: asyncio.Task[None] | None = None
        try:
            responses = call.__aiter__()
            heartbeat = await self._open(call, responses, session_id)
            writer = asyncio.create_task(self._write(call, heartbeat))
            await self._read(responses, heartbeat)
        except grpc.aio.AioRpcError as failure:
            raise from_rpc_error(failure) from failure
        except asyncio.CancelledError:
            if was_cancelled():
                raise
            raise Cancelled("the stream was cut") from None
        except Gap as gap:
            raise Unavailable(f"the stream is not whole: {gap}") from gap
        finally:
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
            call.cancel()

    async def _open(self, call: _Call, responses: _Responses, session_id: str) -> float:
        """Opens the stream and returns its heartbeat in seconds."""
        opening = session_pb2.StreamOpen(
            session_id=session_id,
            after_seq=self._inbox.after_seq,
            epoch=self._inbox.epoch,
            spectate=self._spectate,
            instance_id="" if self._spectate else self._instance_id,
        )
        async with asyncio.timeout(_OPEN_SECONDS):
            try:
                await call.write(session_pb2.PlayRequest(open=opening))
            except asyncio.InvalidStateError:
                pass  # it has failed already, and reading tells why
            response = await anext(responses, None)
        if response is None or not response.HasField("opened"):
            raise Unavailable("the stream ended before it began")
        self._connection.answered()
        self._inbox.open(response.opened)
        self._outbox.reopen(response.opened.command)
        self._take(response)
        self._connected = True
        self._opened.set()
        return response.opened.heartbeat_ms / 1000 or _DEFAULT_HEARTBEAT

    async def _read(self, responses: _Responses, heartbeat: float) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(heartbeat * _MISSED) as patience:
            async for response in responses:
                patience.reschedule(loop.time() + heartbeat * _MISSED)
                self._take(response)

    def _take(self, response: session_pb2.PlayResponse) -> None:
        now = asyncio.get_running_loop().time()
        if response.ack_command:
            self._outbox.acknowledge(response.ack_command)
        if response.throttle_ms:
            self._quiet_until = now + response.throttle_ms / 1000
        self._safe.set()
        if response.HasField("heartbeat"):
            self._pulse.receive(response.heartbeat, now)
            self._wake.set()
        self._inbox.receive(response, now)
        self._arrived.set()
        if response.HasField("status"):
            raise from_status(response.status)
        if self._inbox.ack_due() is not None:
            self._wake.set()

    async def _write(self, call: _Call, heartbeat: float) -> None:
        """Writes what is to be sent until cancelled, or until the stream breaks, which reading notices."""
        loop = asyncio.get_running_loop()
        self._pulse.begin(heartbeat, loop.time())
        self._wake.set()
        try:
            while True:
                self._wake.clear()
                now = loop.time()
                request = self._compose(now)
                if request is not None:
                    await call.write(request)
                    continue
                times = (self._inbox.ack_due(), self._pulse.due, self._quiet_until)
                await wait(self._wake, min(at for at in times if at is not None and at > now) - now)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return

    def _compose(self, now: float) -> session_pb2.PlayRequest | None:
        request = session_pb2.PlayRequest()
        if now < self._quiet_until:
            self._outbox.hold()
        else:
            request.commands.extend(self._outbox.take())
        due = self._inbox.ack_due()
        if due is not None and (request.commands or due <= now or self._pulse.has_reply):
            request.ack_flush = self._inbox.acknowledge()
        self._pulse.compose(request, now)
        has_content = bool(request.commands) or request.ack_flush or request.HasField("heartbeat")
        return request if has_content else None
