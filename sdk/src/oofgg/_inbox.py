"""What a participant has received: each reliable event once, in order; acknowledged when the application took it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from oofgg import _convert
from oofgg._events import Event, LogReset, Presence, ResultChange, SessionChange, StateChange
from oofgg._types import PresenceChange, Session, SessionState
from oofgg.v1 import session_pb2

# The server waits once 64 KiB are not acknowledged: tell it well before.
_ACK_BYTES = 16 * 1024
_ACK_SECONDS = 0.1
_GONE = (PresenceChange.LEFT, PresenceChange.KICKED)


class Gap(Exception):
    """A reliable event is missing: the stream has to be opened again."""


@dataclass(slots=True)
class _Arrived:
    event: Event
    held: int
    """Bytes on the wire."""
    stream: int
    flush: int
    """Acknowledged with this event; 0 for none."""
    size: int


class Inbox:
    """Events of one session, over all streams. The server bounds what can wait here by what is acknowledged."""

    def __init__(self, after_seq: int | None) -> None:
        """Events begin after `after_seq`; None begins with what happens from now on."""
        self.after_seq = after_seq
        self.epoch = 0
        """That of the stream that brought the last event; 0 before the first."""
        self.session: Session | None = None
        self.seat = 0
        self.dismissed = False
        """Whether the caller's seat was given up or taken away."""
        self.held = 0
        """Bytes that wait for the application: a window at most, unless streams break while it takes nothing."""
        self._waiting: deque[_Arrived] = deque()
        self._known = 0  # `session` is as of this event
        self._stream = 0
        self._taken = 0  # flush to acknowledge
        self._taken_bytes = 0
        self._taken_since: float | None = None

    @property
    def over(self) -> bool:
        """Whether no stream will bring anything more."""
        return self.dismissed or (self.session is not None and self.session.state.over)

    def open(self, opened: session_pb2.StreamOpened) -> None:
        """A stream has begun."""
        self._stream += 1
        self._taken, self._taken_bytes, self._taken_since = 0, 0, None
        self.session = _convert.session(opened.session)
        self.seat = opened.seat
        self.epoch = opened.epoch
        self.dismissed = False
        self._known = opened.head_seq
        if self.after_seq is None:
            self.after_seq = opened.head_seq

    def receive(self, response: session_pb2.PlayResponse, now: float) -> None:
        """Takes what came. Raises Gap."""
        for wire in response.events:
            event = self._check(_convert.event(wire))
            if event is not None and not wire.hidden:
                self._waiting.append(_Arrived(event, wire.ByteSize(), self._stream, 0, 0))
                self.held += self._waiting[-1].held
        if response.flush:
            if self._waiting and self._waiting[-1].stream == self._stream:
                # Later flushes include earlier ones.
                self._waiting[-1].flush = response.flush
                self._waiting[-1].size += response.ByteSize()
            else:
                self._consumed(response.flush, response.ByteSize(), now)

    def take(self, now: float) -> Event | None:
        """The next event for the application."""
        if not self._waiting:
            return None
        arrived = self._waiting.popleft()
        self.held -= arrived.held
        if arrived.flush and arrived.stream == self._stream:
            self._consumed(arrived.flush, arrived.size, now)
        return arrived.event

    def ack_due(self) -> float | None:
        """When the next acknowledgement should leave; None while there is nothing to acknowledge."""
        if self._taken_since is None:
            return None
        return self._taken_since if self._taken_bytes >= _ACK_BYTES else self._taken_since + _ACK_SECONDS

    def acknowledge(self) -> int:
        """The flush to acknowledge now; 0 for none."""
        if self._taken_since is None:
            return 0
        self._taken_bytes, self._taken_since = 0, None
        return self._taken

    def _consumed(self, flush: int, size: int, now: float) -> None:
        self._taken = flush
        self._taken_bytes += size
        if self._taken_since is None:
            self._taken_since = now

    def _check(self, event: Event) -> Event | None:
        if isinstance(event, LogReset):
            self.after_seq = self._known = event.seq
            self.session = event.session
            return event
        if event.seq:
            expected = (self.after_seq or 0) + 1
            if event.seq < expected:
                return None
            if event.seq > expected:
                raise Gap(f"event {event.seq} came after {expected - 1}")
            self.after_seq = event.seq
            if event.seq > self._known:
                self._known = event.seq
                self._learn(event)
        return event

    def _learn(self, event: Event) -> None:
        session = self.session
        if session is None:
            return
        if isinstance(event, StateChange):
            self.session = replace(session, state=event.state, end_reason=event.end_reason)
        elif isinstance(event, SessionChange):
            self.session = replace(
                session,
                label=event.label,
                attributes=event.attributes,
                creator_user_id=event.creator_user_id,
                version=event.version,
            )
        elif isinstance(event, ResultChange):
            self.session = replace(session, result=event.result, result_state=event.state)
        elif isinstance(event, Presence):
            self.session = _after(session, event)
            if event.change in _GONE:
                self.dismissed = self.dismissed or event.participant.seat == self.seat


def _after(session: Session, event: Presence) -> Session:
    who, seats = event.participant, dict(session.seats)
    departed = dict(session.departed)
    if event.change in _GONE:
        seats.pop(who.seat, None)
        if event.change is PresenceChange.LEFT and session.state in (SessionState.STARTED, SessionState.PAUSED):
            departed[who.seat] = who
    else:
        seats[who.seat] = who
        departed = {
            number: left for number, left in departed.items() if number != who.seat and left.user_id != who.user_id
        }
    return replace(session, seats=dict(sorted(seats.items())), departed=departed)
