"""Addresses for servers that have to be told theirs beforehand."""

from __future__ import annotations

import atexit
import socket
from collections import deque
from typing import Final

# More than are in use at the same time. A server that listens keeps its port by itself.
_KEPT: Final[deque[socket.socket]] = deque()
_MOST_KEPT: Final = 200


def _close_oldest(spared: int) -> None:
    while len(_KEPT) > spared:
        _KEPT.popleft().close()


atexit.register(_close_oldest, 0)


def reserve_address(host: str = "127.0.0.1") -> str:
    """host:port where nobody listens, and which nobody else is given; a server started by us can listen there.

    The port stays bound, without listening, by a socket of this process. Linux lets a listener that sets SO_REUSEADDR,
    as gRPC, aiohttp and Envoy do, bind beside it.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((host, 0))
    _KEPT.append(reserved)
    _close_oldest(_MOST_KEPT)
    return f"{host}:{reserved.getsockname()[1]}"
