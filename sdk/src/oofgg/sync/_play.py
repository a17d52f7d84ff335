"""A seat in a session, for a game that owns its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from oofgg import _play
from oofgg._command import command, receivers
from oofgg._events import Event
from oofgg._types import Delivery, Outcome, Seat, SeatResult, Session, SessionState
from oofgg.errors import Cancelled, ResourceExhausted
from oofgg.sync._loop import Portal, within
from oofgg.sync._queues import SharedInbox, SharedOutbox

FLUSH_SECONDS = 5.0


class PlaySession:
    """A seat in a session that is being played. Made by `Client.play`; see there.

    `poll` in each frame, or `wait` in a game that is played by turns: RELIABLE events come once each and in order,
    whatever happens to the connection. When the session is over or the seat given up, and the last event was handed
    out, `ended` is true; whoever goes on polling is told by FailedPrecondition(SESSION_STATE). When the session failed,
    `poll` and `wait` raise why after the last event, such as Aborted(REPLACED). Iterating waits for one event after
    another, and ends where the session is over.

    Events are acknowledged as they are handed out. A game that stops polling holds 64 KiB of them and no more, and is
    closed as too slow; when it polls again, it goes on where it was. Every method may be called from any thread.
    """

    def __init__(
        self, portal: Portal, play: _play.PlaySession, after_seq: int | None, playing: set[PlaySession]
    ) -> None:
        self._portal = portal
        self._play = play
        self._inbox = play._inbox = SharedInbox(after_seq)
        self._outbox = play._outbox = SharedOutbox()
        self._playing = playing  # changed on the loop only
        self._closing = threading.Lock()
        self._closed = False
        self._woken = False
        self._told = False

    def __enter__(self) -> Self:
        self._portal.call(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._portal.is_foreign:
            return  # the other process has the stream
        with self._closing:
            if self._closed or self not in self._playing:
                return
            self._closed = True
        self._portal.call(self._close(kind, error, traceback))

    def close(self) -> None:
        """Sends what is to be sent and closes the stream; the seat is kept for a while. As leaving the block."""
        self.__exit__(None, None, None)

    @property
    def info(self) -> Session:
        """The session as far as it was received, which may be ahead of `poll`."""
        self._require_entered()
        return self._play.info

    @property
    def session_id(self) -> str:
        """Id of the session, and of its match in the history."""
        return self.info.session_id

    @property
    def state(self) -> SessionState:
        """Where the session is in its life."""
        return self.info.state

    @property
    def seats(self) -> Mapping[int, Seat]:
        """Who is in it, by seat."""
        return self.info.seats

    @property
    def roster(self) -> Mapping[int, Seat]:
        """Who a result is about, by seat: `seats`, and who has left since it started and was not replaced."""
        return self.info.roster

    @property
    def seat(self) -> int:
        """Number of the caller's seat; 0 for a spectator."""
        return self._play.seat

    @property
    def connected(self) -> bool:
        """Whether a stream is open at the moment. False while it is opened again, and when `state.over`."""
        return self._play.connected

    @property
    def latency(self) -> float | None:
        """Seconds to the server and back, as last measured: often at first, then with each heartbeat."""
        return self._play.latency

    @property
    def throttled(self) -> bool:
        """Whether the platform takes less than this client sends, now or a moment ago: send less often, or less.

        Meanwhile RELIABLE commands wait, newer LATEST values replace older ones, and VOLATILE commands are dropped.
        """
        return self._play.throttled

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which the server's clock is ahead: `time.time() + clock_offset` is the time of `event_time`.

        Right to within half the shortest of the last round trips. None until the first heartbeat was answered.
        """
        return self._play.clock_offset

    @property
    def ended(self) -> bool:
        """Whether the session is over, or was closed, and every event was handed out. False when it failed."""
        return self._over() and self._play._error is None and not self._inbox.has_events

    def poll(self) -> list[Event]:
        """What has happened since; at once, without waiting for anything. See the class for how it ends."""
        self._require_entered()
        over = self._over()  # asked first: what came before the end is handed out before it is told
        events = self._inbox.take_all(time.monotonic())
        if events:
            self._acknowledge()
        elif over and (self._told or self._play._error is not None):
            self._require_open()
        self._told = over
        return events

    def wait(self, seconds: float) -> list[Event]:
        """As `poll`, but waits for the first event, for at most so long; then nothing has happened."""
        self._require_entered()
        self._inbox.wait(seconds, self._over)
        return self.poll()

    def send(
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

        Queues it and returns True at once; False, and sends nothing, when the session is over or the seat was given up,
        which `poll` tells a moment later. A RELIABLE command arrives once, whatever happens to the connection, unless
        this process ends first; while 256 of them or 1 MiB are under way, `send` raises ResourceExhausted and sends
        nothing.
        Raises ValueError for what is too large and for NaN and infinities in JSON, TypeError for what cannot be sent,
        RuntimeError for a spectator, the OofggError that ended the session.
        """
        data, kind = command(payload, kind, delivery, key)
        seats = receivers(to)
        self._play._require_seat()
        self._require_entered()
        if self._play._inbox.over and self._play._error is None:
            return False
        self._require_open()
        if not self._outbox.offer(data, kind, delivery, key, seats, team):
            raise ResourceExhausted("Too many commands are under way: send less, or flush.")
        self._wake()
        return True

    def flush(self, timeout: float = FLUSH_SECONDS) -> None:
        """Waits until every RELIABLE command is safe with the server.

        Raises DeadlineExceeded after `timeout` seconds, and the OofggError that ended the session.
        """
        self._require_entered()
        self._portal.call(within(timeout, self._play.flush))

    def started(self, timeout: float | None = None) -> None:
        """Waits until enough seats are taken. Raises FailedPrecondition(SESSION_STATE) if the session ends instead.

        Raises DeadlineExceeded after `timeout` seconds. A game that draws meanwhile polls and looks at `state`.
        """
        self._require_entered()
        self._portal.call(within(timeout, self._play.started))

    def finish(
        self, result: Mapping[int, int] | Iterable[SeatResult], *, scores: Mapping[int, int] | None = None
    ) -> Outcome:
        """States the result; see `client.sessions.finish`. The session ends when all agree, or their time is up.

        It is about everybody in `roster`, also who has left; who had left before the first statement may be left out,
        and is placed last then.
        """
        self._require_entered()
        return self._portal.call(self._play.finish(result, scores=scores))

    def update(
        self,
        *,
        label: str | None = None,
        set_attributes: Mapping[str, str] | None = None,
        remove_attributes: Iterable[str] = (),
        expected_version: int | None = None,
    ) -> Session:
        """Changes the session; see `client.sessions.update`."""
        self._require_entered()
        return self._portal.call(
            self._play.update(
                label=label,
                set_attributes=set_attributes,
                remove_attributes=remove_attributes,
                expected_version=expected_version,
            )
        )

    def kick(self, seat: int, *, reason: str = "", may_return: bool = False) -> None:
        """Removes a participant; see `client.sessions.kick`."""
        self._require_entered()
        self._portal.call(self._play.kick(seat, reason=reason, may_return=may_return))

    def leave(self) -> bool:
        """Gives the seat up, which ends the session for this player, and returns True.

        Returns False, and nothing happens, when there is nothing to give up: the session is over, the seat is gone, or
        another client of the same account has taken it over (REPLACED), whose seat it is then.
        """
        self._require_entered()
        return self._portal.call(self._play.leave())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        self._require_entered()
        while True:
            over = self._over()
            event = self._inbox.take(time.monotonic())
            if event is not None:
                self._acknowledge()
                return event
            if over:
                if self._play._error is None:
                    raise StopIteration
                self._require_open()
            self._inbox.wait(None, self._over)

    def _over(self) -> bool:
        return self._play._ended

    def _require_entered(self) -> None:
        if self._play._task is None:
            raise RuntimeError("not playing yet: use `with client.play(…) as session:`")
        if not self._closed:
            self._portal.require_process()

    def _require_open(self) -> None:
        if self._play._error is not None:
            # Without what was raised before: a game may ask in every frame, and each time would add to it.
            raise self._play._error.with_traceback(None)
        self._play._require_open()

    def _acknowledge(self) -> None:
        if self._inbox.ack_due() is not None or not self._play.connected:
            self._wake()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._portal.notify(self._wake_writer)

    # The rest runs on the loop.

    def _wake_writer(self) -> None:
        self._woken = False
        self._play._wake.set()
        self._play._taken.set()

    async def _open(self) -> None:
        await self._play.__aenter__()
        self._playing.add(self)
        if self._play._task is not None:
            self._play._task.add_done_callback(lambda _: self._inbox.tell())

    async def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._play.__aexit__(kind, error, traceback)
        finally:
            self._playing.discard(self)
            self._inbox.tell()

    async def _abandon(self) -> None:
        """The client is being closed."""
        self._closed = True
        if self._play._error is None and not self._over():
            self._play._error = Cancelled("the client was closed")
        try:
            await self._play._stop()
        finally:
            self._inbox.tell()
