"""The signs of life of a stream: what is sent and answered, and what they measure."""

from __future__ import annotations

import time

from oofgg._clock import ClockOffset
from oofgg.v1 import session_pb2

# Measured soon, and a few times; not at once, for a write into a stream that is refused hides the reason.
_FIRST_SECONDS = 1.0
_FIRST_ONES = 4


class Pulse:
    """Heartbeats of one session, over all streams. `now` is the event loop's time."""

    def __init__(self) -> None:
        self.latency: float | None = None
        self.clock = ClockOffset()
        self.due = 0.0
        """When the next one leaves."""
        self._reply: session_pb2.Heartbeat | None = None
        self._sent: tuple[int, float] = (0, 0.0)
        self._period = self._first = 0.0
        self._count = 0

    @property
    def has_reply(self) -> bool:
        """Whether the server waits for an answer."""
        return self._reply is not None

    def begin(self, period: float, now: float) -> None:
        """A stream has begun, on which one is due every `period` seconds."""
        self._period, self._first, self._count = period, min(period, _FIRST_SECONDS), 0
        self.due = now + self._first

    def receive(self, heartbeat: session_pb2.Heartbeat, now: float) -> None:
        """Takes one from the server: a question or an answer."""
        if not heartbeat.reply:
            self._reply = session_pb2.Heartbeat(nonce=heartbeat.nonce, reply=True)
        elif heartbeat.nonce == self._sent[0]:
            self.latency = now - self._sent[1]
            if heartbeat.HasField("send_time"):
                self.clock.measured(self.latency, heartbeat.send_time.ToNanoseconds() / 1e9, time.time())

    def compose(self, into: session_pb2.PlayRequest, now: float) -> None:
        """Adds the answer that is wanted, or a question if one is due."""
        if self._reply is not None:
            into.heartbeat.CopyFrom(self._reply)
            self._reply = None
        elif now >= self.due:
            self._sent = (self._sent[0] + 1, now)
            self._count += 1
            self.due = now + (self._period if self._count >= _FIRST_ONES else self._first)
            into.heartbeat.nonce = self._sent[0]
