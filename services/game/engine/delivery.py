"""What one receiver gets, and when: positions in the session's channels, the acknowledgement window, the flush window.

A receiver is given at most `max_unacknowledged` bytes that it has not acknowledged. What happens beyond that depends on
the class: reliable events wait in the session's tail, which all receivers share; of latest values only the newest
wait; volatile events are dropped and counted. A receiver that is too far behind is slow, and its stream must close.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from typing import NamedTuple

from services.game.engine.order import LatestBoard, Tail, VolatileRing


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """Bounds of one receiver. A single event may exceed `max_unacknowledged` when nothing else is on the way."""

    max_unacknowledged: int = 64 * 1024
    max_behind_events: int = 5_000
    max_behind_bytes: int = 2 * 1024 * 1024


class Channels(NamedTuple):
    """The channels of a session."""

    tail: Tail
    board: LatestBoard
    ring: VolatileRing


class Flush(NamedTuple):
    """One write: joined pieces, the flush number to acknowledge (0: none), the command number to acknowledge (0: no
    news)."""

    body: bytes
    number: int
    ack_command: int


class AckError(Exception):
    """A receiver acknowledged a flush that was never sent to it."""


class Pacer:
    """Windows, one after another, and at most one of something in each: at once when there was none yet in this one,
    else at its end.

    The windows of all receivers of a session begin at the same moments (`phase` is one of them), so what is busy leaves
    together. That costs much less than one by one: a wake-up and a system call serve many writes.
    """

    __slots__ = ("_free_at", "phase", "window")

    def __init__(self, window: float, phase: float = 0.0) -> None:
        self.window = window
        self.phase = phase
        self._free_at = float("-inf")

    def due(self, now: float) -> float:
        """The earliest time for the next one."""
        return self._free_at if self._free_at > now else now

    def spend(self, now: float) -> None:
        """There was one."""
        if self.window:
            # The end of a window belongs to the next one, although floats may fall short of it.
            number = floor((now - self.phase) / self.window + 0.001)
            self._free_at = (number + 1) * self.window + self.phase


class Receiver:
    """One open stream's place in a session.

    `wake` is called when there may be something to take; it is not called again before the next `take` or `settle`.
    """

    __slots__ = (
        "_acked_command",
        "_acks",
        "_blocked",
        "_catching_up",
        "_channels",
        "_command",
        "_limits",
        "_pacer",
        "_preface",
        "_ring_at",
        "_signalled",
        "_since",
        "_unacknowledged",
        "_version",
        "_wake",
        "cursor",
        "dropped",
        "end_after",
        "flushes",
        "place",
    )

    def __init__(
        self,
        place: int,
        channels: Channels,
        *,
        wake: Callable[[], None],
        window: float,
        phase: float,
        after: int,
        resumed: bool,
        limits: DeliveryLimits | None = None,
        preface: bytes = b"",
        since: int = 0,
    ) -> None:
        """`after`: the reliable event before the first to deliver. `resumed`: begin with all latest values.

        `place` is a seat, or a spectator's number; what is for some places only and was said up to the event `since`
        was for who had the place before. `window` and `phase` are in seconds (`Pacer`); `preface` is a piece that comes
        before all others.
        """
        self.place = place
        self.cursor = after
        self.flushes = 0  # number of the last flush
        self.dropped = 0  # volatile events this receiver did not get
        self.end_after: int | None = None  # the stream ends when this reliable event is delivered
        self._channels = channels
        self._limits = limits or DeliveryLimits()
        self._wake = wake
        self._pacer = Pacer(window, phase)
        self._preface = preface
        self._since = since
        self._version = 0 if resumed else channels.board.version
        self._ring_at = channels.ring.end
        self._catching_up = resumed
        self._signalled = True
        self._blocked = False
        self._acks: deque[tuple[int, int]] = deque()
        self._unacknowledged = 0
        self._command = 0
        self._acked_command = 0

    @property
    def unacknowledged(self) -> int:
        """Bytes sent and not acknowledged."""
        return self._unacknowledged

    @property
    def done(self) -> bool:
        """Whether everything up to `end_after` was delivered, so that the stream can end."""
        return self.end_after is not None and self.cursor >= self.end_after and not self._preface

    @property
    def _last(self) -> int:
        """Number of the last reliable event there is for it."""
        head, end = self._channels.tail.head, self.end_after
        return head if end is None or end > head else end

    @property
    def all_acknowledged(self) -> bool:
        """Whether no flush waits for its acknowledgement."""
        return not self._acks

    @property
    def slow(self) -> bool:
        """Whether this receiver is too far behind to be kept."""
        tail = self._channels.tail
        cursor = self.cursor
        if cursor >= tail.head:
            return False
        if not tail.holds(cursor):
            return True
        if self._catching_up:
            return False
        events, size = tail.behind(cursor)
        return events > self._limits.max_behind_events or size > self._limits.max_behind_bytes

    def signal(self) -> None:
        """There may be something new."""
        if not self._signalled:
            self._signalled = True
            self._wake()

    def acknowledge_command(self, number: int) -> None:
        """Tells the receiver that its commands up to this number are safe."""
        if number >= self._command:
            self._command = number
            self._acked_command = min(self._acked_command, number - 1)
            self.signal()

    def acknowledge(self, flush: int) -> None:
        """The receiver has all flushes up to this one. Raises AckError for one that was not sent."""
        if flush > self.flushes:
            raise AckError(f"flush {flush} was acknowledged, but the last one sent was {self.flushes}")
        acks = self._acks
        while acks and acks[0][0] <= flush:
            self._unacknowledged -= acks.popleft()[1]
        if self.end_after is not None and not acks:
            self.signal()
        if self._blocked and self._unacknowledged < self._limits.max_unacknowledged:
            self._unblock()
            self.signal()

    def due(self, now: float) -> float | None:
        """When to take the next flush (not before `now`); None while there is nothing to send or no room for it."""
        _, board, ring = self._channels
        if self._command > self._acked_command or (
            not self._blocked
            and (
                self.cursor < self._last
                or self._version < board.version
                or self._ring_at < ring.end
                or bool(self._preface)
            )
        ):
            return self._pacer.due(now)
        return None

    def settle(self) -> None:
        """The taker goes to sleep: `wake` is to be called for what comes next."""
        self._signalled = False

    def take(self, now: float) -> Flush | None:
        """The next flush, or None when nothing can be sent."""
        body = b"" if self._blocked else self._collect()
        ack = 0
        if self._command > self._acked_command:
            ack = self._acked_command = self._command
        if not body and not ack:
            return None
        self._pacer.spend(now)
        number = self.count(len(body)) if body else 0
        return Flush(body, number, ack)

    def count(self, size: int) -> int:
        """Numbers a flush of `size` bytes that has to be acknowledged."""
        self.flushes += 1
        self._acks.append((self.flushes, size))
        self._unacknowledged += size
        if self._unacknowledged >= self._limits.max_unacknowledged:
            self._blocked = True
        return self.flushes

    def _collect(self) -> bytes:
        tail, board, ring = self._channels
        room = self._limits.max_unacknowledged - self._unacknowledged
        alone = not self._unacknowledged
        pieces: list[bytes] = []
        short = False
        if self._preface:
            if len(self._preface) > room and not alone:
                self._blocked = True
                return b""
            pieces.append(self._preface)
            room -= len(self._preface)
            self._preface = b""
            alone = False
        changed = self._version < board.version
        if self.cursor < self._last and room > 0:
            # While latest values wait too, a backlog of reliable events leaves them a quarter of the room.
            share = room - room // 4 if changed else room
            body, self.cursor = tail.page(
                self.cursor,
                share,
                at_least_one=alone,
                place=self.place,
                since=self._since,
                until=self.end_after,
            )
            if body:
                pieces.append(body)
                room -= len(body)
                alone = False
            short = self.cursor < self._last
            if self._catching_up and not short:
                self._catching_up = False
        if changed:
            for version, piece in board.newer(self._version, place=self.place):
                if len(piece) > room and not alone:
                    short = True
                    break
                pieces.append(piece)
                room -= len(piece)
                alone = False
                self._version = version
            else:
                self._version = board.version
        if self._ring_at < ring.end:
            entries, lost = ring.since(self._ring_at, place=self.place)
            self.dropped += lost
            self._ring_at = ring.end
            for piece in entries:
                if len(piece) > room and not alone:
                    self.dropped += 1
                    continue
                pieces.append(piece)
                room -= len(piece)
                alone = False
        if short and not pieces:
            # Something waits and does not fit beside what is on the way: an acknowledgement has to come first.
            self._blocked = True
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(pieces)

    def _unblock(self) -> None:
        # What was sent while there was no room is not sent late.
        self._blocked = False
        ring = self._channels.ring
        if self._ring_at < ring.end:
            entries, lost = ring.since(self._ring_at, place=self.place)
            self.dropped += lost + len(entries)
            self._ring_at = ring.end
