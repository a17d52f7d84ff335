"""Open streams: one writer each, that joins what is pending into one message.

The handler of the call is the writer. For `Play`, a task beside it reads; for `Watch`, `Send` stands in for it. Whoever
wants a stream to end calls `close`: the writer then raises that error.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from oofgg.v1 import errors_pb2
from oofgg.v1 import session_pb2 as pb
from pkg.auth.revocations import Revocations
from pkg.clock import Clock
from pkg.errors import (
    Aborted,
    DeadlineExceeded,
    InvalidArgument,
    OofggError,
    PermissionDenied,
    Reason,
    ResourceExhausted,
    invalid_field,
)
from pkg.rpc.call import StreamCall
from pkg.rpc.status import to_details
from services.game.budget import BudgetLimits, Budgets, counted
from services.game.codec import session_message, timestamp, trailer
from services.game.engine.delivery import AckError, Receiver
from services.game.engine.order import LATEST, VOLATILE
from services.game.engine.room import FIRST_SPECTATOR, Opened
from services.game.intake import Waiting, is_replaceable, looking
from services.game.journal import Journal
from services.game.live import LiveSession
from services.game.nodes.owner import shutting_down

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# What the protos allow.
MOST_PAYLOAD: Final = 64 * 1024
_SWEEP_SECONDS: Final = 0.25
_FIRST_REQUEST_SECONDS: Final = 10.0
# uvloop's clock and timers count milliseconds: a timer may come that much early, and asking it for less would spin.
_TIMER_SECONDS: Final = 0.001
# What a request without commands takes from the budget of commands: acknowledgements come often.
_REQUEST_COST: Final = 0.1
# Who would have to be left unread for longer has sent far too much at once.
_LONGEST_PAUSE_SECONDS: Final = 3.0
# A stream that is over waits this long for its last acknowledgement, or for its error to be written.
_LAST_WORD_SECONDS: Final = 1.0
# Who was not heard for so many heartbeats is gone: found well within two.
_MISSED: Final = 1.75


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Streams of one account, those of it that have not sent their first request, those of all; bytes of a payload."""

    per_player: int
    unopened_per_player: int
    unopened: int
    payload: int = MOST_PAYLOAD


class Stream:
    """One open stream of a seat."""

    def __init__(
        self, call: StreamCall, live: LiveSession, streams: Streams, *, unary_sender: bool, now: float
    ) -> None:
        """`unary_sender`: the client sends by `Send` and cannot answer heartbeats; it acknowledges them."""
        self.live = live
        self.login_id = call.caller.login_id
        self.user_id = call.caller.user_id
        self.heard = now
        self.said = now
        self._call = call
        self._streams = streams
        self._unary_sender = unary_sender
        if live.budgets is None:
            live.budgets = Budgets(streams.budget, streams.session_budget, now)
        self._budgets = live.budgets
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._error: OofggError | None = None
        self._half_closed = False
        self._beat: pb.Heartbeat | None = None
        self._throttle_ms = 0
        self._looking = looking(streams.budget, now)
        self._reading: asyncio.Future[Any] | None = None  # a request that is awaited while others wait
        self._opened: Opened | None = None

    @property
    def receiver(self) -> Receiver:
        """Its place in the session."""
        if self._opened is None:
            raise AssertionError("the stream is not open yet")
        return self._opened.receiver

    def close(self, error: OofggError) -> None:
        """Ends the stream with an error; the first one counts."""
        if self._error is None:
            self._error = error
        self.wake()

    def wake(self) -> None:
        """Something has to be looked at now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def signal(self) -> None:
        """Something may be there to deliver: the writer wakes when it is due, and not before."""
        if self._waiter is not None and self._timer is None:
            now = self._loop.time()
            due = self.receiver.due(now)
            if due is not None and due > now + _TIMER_SECONDS:
                self._timer = self._loop.call_at(due, self.wake)
                return
        self.wake()

    def beat(self, heartbeat: pb.Heartbeat) -> None:
        """Has a heartbeat written; a later one replaces it."""
        self._beat = heartbeat
        self.wake()

    async def run(self, place: int, opening: pb.StreamOpen, first: Sequence[pb.Command], *, reads: bool) -> None:
        """Serves the stream from its opening to its end. Raises the error it ends with."""
        live, room = self.live, self.live.room
        now = self._streams.now()
        after = opening.after_seq if opening.HasField("after_seq") else None
        opened = self._opened = room.open(
            place,
            after,
            self.signal,
            now,
            epoch=opening.epoch,
            instance_id=opening.instance_id,
            display_name=self._call.caller.display_name,
        )
        if opened.replaced is not None and (other := live.streams.get(place)):
            other.close(Aborted(Reason.REPLACED, "Another connection took this seat.", session_id=live.session_id))
        live.streams[place] = self
        reader: asyncio.Task[None] | None = None
        try:
            greeting = self._greeting(opened, now)
            live.touch()
            await live.confirmed(opened.ticket)
            await self._write(greeting)
            self.take_commands(first)
            if reads:
                reader = asyncio.create_task(self._read())
            await self._deliver(opened.receiver)
        except OofggError as error:
            await self._say_why(error)
            raise
        finally:
            if live.streams.get(place) is self:
                del live.streams[place]
            room.shut(opened.receiver, self._streams.now())
            live.touch()
            if reader is not None:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)

    async def hear(self, request: pb.PlayRequest | pb.SendRequest) -> float:
        """Something came from the participant: returns once it may be taken, and the seconds for which it had to wait.

        Raises ResourceExhausted(RATE_LIMITED) when that would take too long.
        """
        pause = self._spend(len(request.commands) or _REQUEST_COST, request.ByteSize())
        if pause:
            await asyncio.sleep(pause)
            self.heard = self._loop.time()
        return pause

    def _spend(self, commands: float, size: int) -> float:
        """Spends what came, and returns the seconds for which it has to wait. Raises as `hear`."""
        self.heard = now = self._loop.time()
        pause = self._budgets.spend(self.user_id, commands, size, now)
        if pause > _LONGEST_PAUSE_SECONDS:
            limits = self._streams.budget
            raise ResourceExhausted(
                Reason.RATE_LIMITED,
                f"You send more than a participant may, which is {limits.commands_per_second:g} commands and "
                f"{limits.bytes_per_second:g} bytes a second. Wait {pause:.1f} s, and send fewer or smaller ones.",
                retry_after=pause,
            )
        return pause

    def take_commands(self, commands: Sequence[pb.Command]) -> int:
        """Takes what the participant sent and returns the ticket that confirms the reliable commands.

        Raises Unavailable when reliable commands cannot be kept, PermissionDenied(NOT_A_PARTICIPANT) for a spectator,
        InvalidArgument for a payload that is too large.
        """
        room = self.live.room
        most = self._streams.limits.payload
        if most < MOST_PAYLOAD and any(len(command.payload) > most for command in commands):
            raise invalid_field("commands[].payload", f"has more than {most} bytes, which is what this platform takes")
        if commands and self.receiver.place >= FIRST_SPECTATOR:
            raise PermissionDenied(
                Reason.NOT_A_PARTICIPANT, "A spectator cannot send commands. Join the session to play."
            )
        if not commands or self.receiver.end_after is not None or room.session.over:
            return room.confirmed
        reliable = any(command.delivery not in (LATEST, VOLATILE) for command in commands)
        if reliable:
            self._streams.journal.require_available()
        ticket = room.command(self.receiver.place, commands, self._streams.now())
        if reliable:
            # Commands move no deadline of the session, so nobody else needs to know.
            self._streams.journal.touch(self.live)
        return ticket

    def acknowledge(self, flush: int) -> None:
        """The participant has everything up to this flush. Raises InvalidArgument(PROTOCOL_VIOLATION)."""
        if flush:
            try:
                self.receiver.acknowledge(flush)
            except AckError as error:
                raise InvalidArgument(Reason.PROTOCOL_VIOLATION, f"ack_flush: {error}.") from error

    async def has_room(self) -> None:
        """Waits while the session has as much on its way to the log as it may."""
        room = self.live.room
        while room.backlog > self._streams.unconfirmed_bytes:
            await self.live.confirmed(room.confirmed + 1)

    async def _read(self) -> None:
        request = None
        try:
            request = await self._call.read()
            while request is not None:
                pause = self._spend(len(request.commands) or _REQUEST_COST, request.ByteSize())
                self._answer(request)
                if pause:
                    request = await self._hold(request.commands, pause)
                    continue
                if request.commands:
                    self.take_commands(request.commands)
                    await self.has_room()
                request = await self._call.read()
        except OofggError as error:
            self.close(error)
        finally:
            # However reading ended, there is no one to write to for long.
            self._half_closed = True
            self.wake()
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.gather(self._reading, return_exceptions=True)

    def _answer(self, request: pb.PlayRequest) -> None:
        """Takes what a request has beside commands. Raises InvalidArgument(PROTOCOL_VIOLATION)."""
        if request.HasField("open"):
            raise InvalidArgument(Reason.PROTOCOL_VIOLATION, "open: only the first request of a stream opens it.")
        self.acknowledge(request.ack_flush)
        if request.HasField("heartbeat") and not request.heartbeat.reply:
            self.beat(pb.Heartbeat(nonce=request.heartbeat.nonce, reply=True))

    async def _hold(self, commands: Sequence[pb.Command], pause: float) -> pb.PlayRequest | None:
        """Takes commands of a participant that is over its budget, when it may be read again; returns what comes then.

        Not reading on is what slows a sender down, all the way back. But LATEST values that are read meanwhile replace
        those that wait, so that what is taken in the end is new; and the sender is told to wait by itself.
        """
        waiting, now = Waiting(commands), self._loop.time()
        until = now + pause
        self._throttle(pause)
        following: pb.PlayRequest | None = None
        came = False
        while not came and self._looking.spend(1, 0, now) == 0 and now < until:
            came, following = await self._read_until(until)
            now = self._loop.time()
            if following is None or not is_replaceable(following.commands):
                break
            self._answer(following)
            self._looking.spend(len(following.commands), following.ByteSize(), now)
            if new := waiting.replace(following.commands):
                until = max(until, now + self._spend(len(new), sum(command.ByteSize() for command in new)))
            self.heard, came, following = now, False, None
        await asyncio.sleep(max(0.0, until - self._loop.time()))
        self.heard = self._loop.time()
        self.take_commands(waiting.commands())
        await self.has_room()
        if came:
            return following
        _, following = await self._read_until(None)
        return following

    async def _read_until(self, until: float | None) -> tuple[bool, pb.PlayRequest | None]:
        """Whether something came by then, and what: None is the end of the stream."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._call.read())
        timeout = None if until is None else max(0.0, until - self._loop.time())
        done, _ = await asyncio.wait([self._reading], timeout=timeout)
        if not done:
            return False, None
        reading, self._reading = self._reading, None
        return True, reading.result()

    def _throttle(self, pause: float) -> None:
        """Has the sender told to wait."""
        self._throttle_ms = ceil(pause * 1000)
        self.wake()

    async def _deliver(self, receiver: Receiver) -> None:
        loop = self._loop
        ends_at: float | None = None
        while True:
            if self._error is not None:
                raise self._error
            if self._beat is not None:
                await self._write_heartbeat(self._beat, receiver)
                continue
            if self._throttle_ms:
                told, self._throttle_ms = pb.PlayResponse(throttle_ms=self._throttle_ms), 0
                await self._write(told.SerializeToString())
                continue
            now = loop.time()
            due = receiver.due(now)
            if due is None:
                if self._half_closed:
                    return
                if receiver.done:
                    # A client that is cut off while it acknowledges takes a good end for a fault.
                    ends_at = ends_at or now + _LAST_WORD_SECONDS
                    if receiver.all_acknowledged or now >= ends_at:
                        return
                receiver.settle()
                await self._wait(ends_at)
            elif due > now + _TIMER_SECONDS:
                await self._wait(due)
            elif flush := receiver.take(max(now, due)):
                await self._write(flush.body + trailer(flush.number, flush.ack_command))

    async def _wait(self, until: float | None) -> None:
        self._waiter = self._loop.create_future()
        if until is not None:
            self._timer = self._loop.call_at(until, self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    async def _write(self, message: bytes) -> None:
        self.said = self._loop.time()
        await self._call.write(message)

    async def _write_heartbeat(self, heartbeat: pb.Heartbeat, receiver: Receiver) -> None:
        self._beat = None
        heartbeat.send_time.CopyFrom(timestamp(self._streams.now()))
        flush = receiver.count(0) if self._unary_sender else 0
        await self._write(pb.PlayResponse(heartbeat=heartbeat, flush=flush).SerializeToString())

    async def _say_why(self, error: OofggError) -> None:
        # As an event too: a client whose write meets the end of the stream may never see the trailers, and would come
        # back where it must not, for instance after REPLACED.
        status = errors_pb2.Status.FromString(to_details(error, self._call.request_id))
        await self._call.write_last(pb.PlayResponse(status=status).SerializeToString(), within=_LAST_WORD_SECONDS)

    def _greeting(self, opened: Opened, now: float) -> bytes:
        return pb.PlayResponse(
            opened=pb.StreamOpened(
                session=session_message(self.live.room.session),
                seat=opened.seat,
                head_seq=opened.head,
                command=opened.command,
                heartbeat_ms=int(self._streams.heartbeat_seconds * 1000),
                server_time=timestamp(now),
                epoch=self.live.epoch,
            )
        ).SerializeToString()


class Streams:
    """All open streams of this process: heartbeats, ended logins, shutdown."""

    def __init__(
        self,
        journal: Journal,
        revocations: Revocations,
        clock: Clock,
        *,
        budget: BudgetLimits,
        session_budget: BudgetLimits,
        heartbeat_seconds: float,
        unconfirmed_bytes: int,
        limits: StreamLimits,
    ) -> None:
        self.journal = journal
        self.budget = budget
        self.session_budget = session_budget
        self.heartbeat_seconds = heartbeat_seconds
        self.unconfirmed_bytes = unconfirmed_bytes
        self.limits = limits
        self._unopened = Counter[str]()
        self._by_user = Counter[str]()
        self._revocations = revocations
        self._clock = clock
        self._open: set[Stream] = set()
        self._nonce = 0
        self._draining = False

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now().timestamp()

    @asynccontextmanager
    async def opening(self, call: StreamCall, live: LiveSession, *, unary_sender: bool) -> AsyncIterator[Stream]:
        """A stream that is looked after while it is open. Raises Unavailable when none may open any more."""
        if self._draining:
            raise shutting_down()
        self.journal.require_available()
        stream = Stream(call, live, self, unary_sender=unary_sender, now=asyncio.get_running_loop().time())
        with counted(self._by_user, stream.user_id, self.limits.per_player):
            self._open.add(stream)
            try:
                yield stream
            finally:
                self._open.discard(stream)

    async def first_request(self, call: StreamCall) -> pb.PlayRequest:
        """The request that opens a stream.

        Raises InvalidArgument(PROTOCOL_VIOLATION), DeadlineExceeded, and ResourceExhausted(OVERLOADED) when too many
        streams wait for theirs.
        """
        if self._unopened.total() >= self.limits.unopened:
            raise ResourceExhausted(
                Reason.OVERLOADED, "Too many streams wait to be opened. Try again shortly.", retry_after=1.0
            )
        try:
            with counted(self._unopened, call.caller.user_id, self.limits.unopened_per_player):
                async with asyncio.timeout(_FIRST_REQUEST_SECONDS):
                    request: pb.PlayRequest | None = await call.read()
        except TimeoutError as error:
            raise DeadlineExceeded(Reason.DEADLINE, "The stream was not opened in time.") from error
        if request is None or not request.HasField("open"):
            raise InvalidArgument(Reason.PROTOCOL_VIOLATION, "open: the first request of a stream has to open it.")
        return request

    async def run(self) -> None:
        """Looks after the open streams until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._sweep(asyncio.get_running_loop().time(), self._open)

    def drain(self) -> None:
        """The process shuts down: sends everybody elsewhere."""
        self._draining = True
        for stream in list(self._open):
            stream.close(shutting_down())

    def _sweep(self, now: float, streams: Iterable[Stream]) -> None:
        quiet = now - self.heartbeat_seconds
        dead = now - self.heartbeat_seconds * _MISSED
        for stream in list(streams):
            if refusal := self._revocations.refusal(stream.login_id):
                stream.close(refusal)
            elif stream.heard < dead:
                stream.close(DeadlineExceeded(Reason.DEADLINE, "Nothing was heard from this client for too long."))
            elif stream.said < quiet:
                self._nonce += 1
                stream.beat(pb.Heartbeat(nonce=self._nonce))


def not_watching(session_id: str) -> PermissionDenied:
    """The error for who sends without a stream."""
    return PermissionDenied(
        Reason.NOT_A_PARTICIPANT, "You have no open stream in this session. Open Watch first.", session_id=session_id
    )
