"""The private HTTP port of a process: /metrics, /healthz, /readyz and the documents of its services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from pkg.runtime.health import HealthMonitor
from pkg.runtime.host import OpsHandler
from pkg.telemetry.metrics import Metrics

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SHUTDOWN_SECONDS = 1.0


@asynccontextmanager
async def ops_server(
    address: str, metrics: Metrics, monitor: HealthMonitor, documents: Mapping[str, OpsHandler]
) -> AsyncIterator[None]:
    """Serves at `address` (host:port) until left. Raises OSError when the address is taken."""

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"content-type": _CONTENT_TYPE})

    async def show_alive(_: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def show_ready(_: web.Request) -> web.Response:
        report = monitor.report
        return web.json_response(report.document(), status=200 if report.ready else 503)

    application = web.Application()
    application.router.add_get("/metrics", show_metrics)
    application.router.add_get("/healthz", show_alive)
    application.router.add_get("/readyz", show_ready)
    for path, handler in documents.items():
        application.router.add_get(path, _document(handler))
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        host, _, port = address.rpartition(":")
        await web.TCPSite(runner, host, int(port)).start()
        yield
    finally:
        await runner.cleanup()


def _document(handler: OpsHandler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def show(_: web.Request) -> web.Response:
        return web.json_response(dict(await handler()))

    return show
