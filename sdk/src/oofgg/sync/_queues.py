"""The inbox and the outbox of a seat, between the loop's thread and the game's.

The game takes events straight out of the inbox of the stream, and what it takes is what is acknowledged: a game that
does not poll holds what one window of the server lets through, and no more. Every method that the loop and the game may
be in at the same time is under the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from oofgg._events import Event
from oofgg._inbox import Inbox
from oofgg._outbox import Outbox
from oofgg._types import Delivery
from oofgg.v1 import session_pb2


class SharedInbox(Inbox):
    """An inbox that one thread fills and another empties."""

    def __init__(self, after_seq: int | None) -> None:
        super().__init__(after_seq)
        self._news = threading.Condition()

    @property
    def has_events(self) -> bool:
        """Whether something waits for the game."""
        return bool(self._waiting)

    def open(self, opened: session_pb2.StreamOpened) -> None:
        with self._news:
            super().open(opened)

    def receive(self, response: session_pb2.PlayResponse, now: float) -> None:
        with self._news:
            try:
                super().receive(response, now)
            finally:
                self._news.notify_all()  # what came before a gap is news too

    def take(self, now: float) -> Event | None:
        with self._news:
            return super().take(now)

    def take_all(self, now: float) -> list[Event]:
        """Everything that waits for the game."""
        events = []
        with self._news:
            while (event := super().take(now)) is not None:
                events.append(event)
        return events

    def ack_due(self) -> float | None:
        with self._news:
            return super().ack_due()

    def acknowledge(self) -> int:
        with self._news:
            return super().acknowledge()

    def wait(self, seconds: float | None, ended: Callable[[], bool]) -> None:
        """Until an event waits, the end (to be told by `tell`), or this much time is over."""
        with self._news:
            self._news.wait_for(lambda: self.has_events or ended(), seconds)

    def tell(self) -> None:
        """Has everyone who waits look again."""
        with self._news:
            self._news.notify_all()


class SharedOutbox(Outbox):
    """An outbox that one thread fills and another empties."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()

    @property
    def unsafe(self) -> int:
        with self._lock:
            return super().unsafe

    def has_room(self, size: int) -> bool:
        with self._lock:
            return super().has_room(size)

    def put(self, data: bytes, kind: str, delivery: Delivery, key: str, to: Iterable[int] = (), team: int = 0) -> None:
        with self._lock:
            super().put(data, kind, delivery, key, to, team)

    def offer(
        self, data: bytes, kind: str, delivery: Delivery, key: str, to: Iterable[int] = (), team: int = 0
    ) -> bool:
        """Adds a command if there is room for it, and tells whether there was."""
        with self._lock:
            if delivery is Delivery.RELIABLE and not self.has_room(len(data)):
                return False
            self.put(data, kind, delivery, key, to, team)
            return True

    def take(self) -> list[session_pb2.Command]:
        with self._lock:
            return super().take()

    def hold(self) -> None:
        with self._lock:
            super().hold()

    def acknowledge(self, number: int) -> None:
        with self._lock:
            super().acknowledge(number)

    def reopen(self, accepted: int) -> None:
        with self._lock:
            super().reopen(accepted)
