"""A name server as small as Docker's: a name stands for all containers of a service, at this moment."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

_HEADER = struct.Struct(">6H")
_ANSWERED, _NO_SUCH_NAME = 0x8580, 0x8583
_TYPE_A, _CLASS_IN = 1, 1


class NameServer:
    """Answers at `address` over UDP until closed. `lookup` returns IPv4 addresses, or None for an unknown name."""

    def __init__(self, lookup: Callable[[str], Sequence[str] | None]) -> None:
        self._lookup = lookup
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.host, self.port = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, name="names", daemon=True)
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.host, self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            if self._closed.is_set():
                return
            self._socket.sendto(self.answer(query), client)

    def answer(self, query: bytes) -> bytes:
        """The reply to a query of one question."""
        number = _HEADER.unpack_from(query)[0]
        labels, at = [], _HEADER.size
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        end = at + 5
        kind = struct.unpack_from(">H", query, at + 1)[0]
        found = self._lookup(".".join(labels).lower())
        addresses = found if found is not None and kind == _TYPE_A else ()
        flags = _NO_SUCH_NAME if found is None else _ANSWERED
        records = b"".join(
            struct.pack(">HHHIH4s", 0xC00C, _TYPE_A, _CLASS_IN, 1, 4, socket.inet_aton(address))
            for address in addresses
        )
        return _HEADER.pack(number, flags, 1, len(addresses), 0, 0) + query[_HEADER.size : end] + records
