"""The addresses that a process serves at, claimed before anything else is opened."""

from __future__ import annotations

import errno
import socket
import sys
from contextlib import ExitStack
from typing import Final, Self

from pkg.config import Settings

_SERVED: Final = ("grpc_address", "ops_address")


class CannotStart(Exception):
    """The process cannot start; the message says why and what to do, and needs no traceback."""


class AddressClaims:
    """Keeps the addresses of a process from others until its servers listen there.

    A claim is a socket that is bound and does not listen. Linux lets a server that sets SO_REUSEADDR, as gRPC and
    aiohttp do, bind beside it, and gives its port to nobody who asks for a free one. On other systems the claim only
    finds out who was first.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises CannotStart when an address is taken or cannot be bound."""
        self._sockets = ExitStack()
        try:
            claimed = {name: self._claim(name, getattr(settings, name)) for name in _SERVED}
        except BaseException:
            self._sockets.close()
            raise
        self.settings = settings.model_copy(update=claimed)
        """The same settings with the port that was found in the place of each port 0."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """To be called once the servers listen; does nothing the second time."""
        self._sockets.close()

    def _claim(self, name: str, address: str) -> str:
        host, _, port = address.rpartition(":")
        variable = f"OOFGG_{name.upper()}"
        try:
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
            family, kind, protocol, _, where = found[0]
            claim = self._sockets.enter_context(socket.socket(family, kind, protocol))
            claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            claim.bind(where)
        except (OSError, ValueError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "another process listens there. Stop it, or choose another port" if taken else str(error)
            raise CannotStart(f"cannot listen on {address} ({variable}): {why}") from error
        bound = claim.getsockname()[1]
        if sys.platform != "linux":
            claim.close()
        return f"{host}:{bound}"
