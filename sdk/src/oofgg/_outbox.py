"""What a participant has to send: numbered in the order it leaves, kept until it is safe where that was asked for."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from oofgg import _convert
from oofgg._types import Delivery
from oofgg.v1 import session_pb2

# Bounds of what waits here, and of one request.
_MOST_COMMANDS = 256
_MOST_BYTES = 1 << 20
_BATCH_COMMANDS = 256
_BATCH_BYTES = 128 * 1024
_MOST_KEYS = 256
_MOST_VOLATILE = 64


class Outbox:
    """Commands of one seat, over all its streams.

    RELIABLE commands stay until acknowledged and leave again, under the same numbers, on the next stream. Of LATEST
    only the newest per key is kept, VOLATILE only while it can leave at once.
    """

    def __init__(self) -> None:
        self._number = 0
        self._waiting: deque[session_pb2.Command] = deque()  # reliable, without a number yet
        self._sent: OrderedDict[int, session_pb2.Command] = OrderedDict()  # reliable, not acknowledged
        self._again: deque[session_pb2.Command] = deque()  # of those: to be sent on this stream as well
        self._bytes = 0
        self._latest: OrderedDict[str, session_pb2.Command] = OrderedDict()
        self._changed: dict[str, None] = {}  # keys with a value to be sent
        self._volatile: deque[session_pb2.Command] = deque(maxlen=_MOST_VOLATILE)

    @property
    def unsafe(self) -> int:
        """Reliable commands that are not acknowledged."""
        return len(self._waiting) + len(self._sent)

    def has_room(self, size: int) -> bool:
        """Whether a reliable command of this many bytes may be added."""
        count = self.unsafe
        return count == 0 or (count < _MOST_COMMANDS and self._bytes + size <= _MOST_BYTES)

    def put(self, data: bytes, kind: str, delivery: Delivery, key: str, to: Iterable[int] = (), team: int = 0) -> None:
        """Adds a command, for everybody or for some. For a reliable one, ask for room first."""
        command = session_pb2.Command(
            payload=data, kind=kind, delivery=_convert.DELIVERY[delivery], key=key, to_seats=to, to_team=team
        )
        if delivery is Delivery.RELIABLE:
            self._waiting.append(command)
            self._bytes += len(data)
        elif delivery is Delivery.LATEST:
            self._latest[key] = command
            self._latest.move_to_end(key)
            self._changed[key] = None
            if len(self._latest) > _MOST_KEYS:
                oldest, _ = self._latest.popitem(last=False)
                self._changed.pop(oldest, None)
        else:
            self._volatile.append(command)

    def take(self) -> list[session_pb2.Command]:
        """The next commands to send in one request; none when there is nothing to send."""
        batch: list[session_pb2.Command] = []
        size = 0
        while len(batch) < _BATCH_COMMANDS and size < _BATCH_BYTES:
            if self._again:
                command = self._again.popleft()
                if command.number not in self._sent:
                    continue
            elif self._waiting:
                command = self._numbered(self._waiting.popleft())
                self._sent[command.number] = command
            elif self._changed:
                command = self._numbered(self._latest[self._pop_changed()])
            elif self._volatile:
                command = self._numbered(self._volatile.popleft())
            else:
                break
            batch.append(command)
            size += len(command.payload)
        return batch

    def hold(self) -> None:
        """Nothing can leave for a while: what is not worth waiting for is dropped."""
        self._volatile.clear()

    def acknowledge(self, number: int) -> None:
        """Reliable commands up to this number are safe."""
        while self._sent and (first := next(iter(self._sent))) <= number:
            self._bytes -= len(self._sent.pop(first).payload)

    def reopen(self, accepted: int) -> None:
        """A new stream has begun; the server has accepted reliable commands up to this number."""
        self.acknowledge(accepted)
        self._number = max(self._number, accepted)
        self._again = deque(self._sent.values())
        self._changed = dict.fromkeys(self._latest)
        self._volatile.clear()

    def _numbered(self, command: session_pb2.Command) -> session_pb2.Command:
        self._number += 1
        command.number = self._number
        return command

    def _pop_changed(self) -> str:
        key = next(iter(self._changed))
        del self._changed[key]
        return key
