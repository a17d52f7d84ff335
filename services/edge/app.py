"""Composition root of `edge`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pkg.registry.store import Registry
from pkg.runtime.host import App, Host
from services.edge.ads import Discovery
from services.edge.board import Board
from services.edge.metrics import EdgeMetrics


@asynccontextmanager
async def app(host: Host) -> AsyncIterator[App]:
    """Needs the registry once; when Redis goes away later, it goes on with what it knows."""
    metrics = EdgeMetrics(host.metrics.registry)
    board = Board(Registry(host.redis), host.clock, metrics)
    await board.prepare()
    async with Discovery(board, metrics).served(host.settings.xds_address):
        host.spawn(board.follow(), name="registry")
        yield App(name="edge", bindings=[], checks={"registry": board.check})
