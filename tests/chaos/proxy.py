"""A TCP proxy that breaks connections on demand: what a network does between players and the platform."""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import Enum
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 64 * 1024
_MOST_CHUNKS: Final = 64
_CONNECT_SECONDS: Final = 5.0
# Closing a socket that lingers for no time sends RST instead of FIN.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Direction(Enum):
    """Which way bytes go."""

    UP = "from players"
    DOWN = "to players"


class Link:
    """A connection of a player, and the one to the target that belongs to it."""

    def __init__(self, proxy: Proxy, player: asyncio.StreamWriter, target: asyncio.StreamWriter) -> None:
        self.flows = {direction: asyncio.Event() for direction in Direction}
        for flow in self.flows.values():
            flow.set()
        self._proxy = proxy
        self._writers = (player, target)

    async def carry(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forwards until one end is closed."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_CHUNKS)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read(reader, chunks))
            tasks.create_task(self._write(direction, chunks, writer))

    async def _read(self, reader: asyncio.StreamReader, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            data = await reader.read(_CHUNK)
            await chunks.put((loop.time() + self._proxy.delay, data))
            if not data:
                return

    async def _write(
        self, direction: Direction, chunks: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await chunks.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await self.flows[direction].wait()
            if not data:
                raise ConnectionResetError("one end has closed")
            writer.write(data)
            await writer.drain()

    def reset(self) -> None:
        """Ends both connections with RST, whatever is on its way."""
        for writer in self._writers:
            found: socket.socket | None = writer.get_extra_info("socket")
            if found is not None and found.fileno() >= 0:
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()


class Proxy:
    """Forwards connections to `target` from an address of its own, until it is told otherwise.

    The target is host:port, or the path of a Unix socket.
    """

    def __init__(self, target: str) -> None:
        self.delay = 0.0
        """Seconds that bytes take, each way."""
        self.address = ""
        self.accepted = 0
        """Connections, ever."""
        self._target = target
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def open(self) -> int:
        """Connections at the moment."""
        return len(self._links)

    def cut(self) -> int:
        """Ends all connections with RST; new ones are taken. Returns how many those were."""
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def stall(self, direction: Direction) -> int:
        """Forwards nothing more in one direction on the connections there are; nobody is told. Returns how many."""
        for link in self._links:
            link.flows[direction].clear()
        return len(self._links)

    def heal(self) -> None:
        """Goes on where `stall` stopped, and delays no longer."""
        self.delay = 0.0
        for link in self._links:
            for flow in link.flows.values():
                flow.set()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.startswith("/"):
            return await asyncio.open_unix_connection(self._target)
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _serve(self, from_player: asyncio.StreamReader, to_player: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                from_target, to_target = await self._connect()
        except (OSError, TimeoutError):  # nobody is there: that is what the player finds, too
            to_player.transport.abort()
            return
        link = Link(self, to_player, to_target)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(link.carry(Direction.UP, from_player, to_target))
                tasks.create_task(link.carry(Direction.DOWN, from_target, to_player))
        except* OSError:
            pass
        finally:
            self._links.discard(link)
            link.reset()
