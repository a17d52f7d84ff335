"""The proxy breaks connections as it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Direction, Proxy

WITHIN = 5.0


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that says everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with Proxy(f"{host}:{port}") as proxy:
        yield proxy
    server.close()


async def connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = proxy.address.split(":")
    return await asyncio.open_connection(host, int(port))


async def said(reader: asyncio.StreamReader, within: float = WITHIN) -> bytes:
    async with asyncio.timeout(within):
        return await reader.read(65_536)


async def test_it_forwards_everything(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    data = bytes(range(256)) * 20_000
    writer.write(data)
    async with asyncio.timeout(WITHIN):
        assert await reader.readexactly(len(data)) == data
    assert proxy.open == 1
    writer.close()


async def test_a_cut_is_a_reset_and_a_new_connection_works(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"one")
    assert await said(reader) == b"one"
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await said(reader)
    reader, writer = await connect(proxy)
    writer.write(b"two")
    assert await said(reader) == b"two"
    writer.close()


@pytest.mark.parametrize("direction", list(Direction))
async def test_what_is_stalled_arrives_when_it_is_healed(proxy: Proxy, direction: Direction) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"one")
    assert await said(reader) == b"one"
    assert proxy.stall(direction) == 1
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        await said(reader, within=0.2)
    other_reader, other_writer = await connect(proxy)
    other_writer.write(b"not stalled")
    assert await said(other_reader) == b"not stalled"
    proxy.heal()
    assert await said(reader) == b"two"
    writer.close()
    other_writer.close()


async def test_a_delay_is_each_way_and_holds_nothing_up_behind_it(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    proxy.delay = 0.1
    began = time.monotonic()
    for number in range(10):
        writer.write(b"%d" % number)
        await asyncio.sleep(0.01)
    assert await said(reader) == b"0"
    assert time.monotonic() - began >= 0.2
    async with asyncio.timeout(WITHIN):
        assert await reader.readexactly(9) == b"123456789"
    assert time.monotonic() - began < 1
    writer.close()


async def test_nobody_behind_it_ends_the_connection() -> None:
    async with Proxy("127.0.0.1:1") as proxy:
        reader, writer = await connect(proxy)
        assert await said(reader) == b""
        writer.close()
