"""The one place that builds a gRPC server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from pkg.rpc.binder import Binding, handlers_of
from pkg.rpc.pipeline import Pipeline
from pkg.rpc.reflection import Reflection

# 1 MiB, like Envoy's limit on request bodies; payloads of commands are at most 64 KiB each.
_MAX_REQUEST_BYTES = 1024 * 1024
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    # Backstops against buffering ahead of a slow reader; acknowledgement is the real bound (docs/architecture).
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.write_buffer_size", 64 * 1024),
    # Calls that have come and not begun, a few KB each: so many may come at the same moment. Beyond the first number
    # some are refused with CANCELLED, beyond the second all; by default 1,000 and 3,000.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 30_000),
    # Envoy keeps connections open; these find its death.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]


def build_server(
    address: str,
    bindings: Sequence[Binding],
    pipeline: Pipeline,
    health: HealthServicer,
    reflection: Reflection | None,
) -> tuple[grpc.aio.Server, int]:
    """A server bound to `address` (host:port; port 0 for any), not started, and its port.

    Raises OSError when the address is taken, TypeError when a servicer lacks an RPC.
    """
    server = grpc.aio.server(options=_OPTIONS)
    by_method = {
        f"/{binding.service.full_name}/{name}": handler
        for binding in bindings
        for name, handler in handlers_of(binding, pipeline).items()
    }
    # Not registered one by one too, as generated code does: in grpc.aio that makes a unary call an eighth dearer.
    server.add_generic_rpc_handlers((_Handlers(by_method),))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if reflection is not None:
        reflection.bind(server)
    return server, _listen(server, address)


@asynccontextmanager
async def open_private_server(
    address: str, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
) -> AsyncIterator[int]:
    """Serves one protocol that is not ours, at a port of its own, until left: no pipeline, no reflection.

    Yields the port. Raises OSError when the address is taken.
    """
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, dict(handlers)),))
    port = _listen(server, address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0.0)


class _Handlers(grpc.GenericRpcHandler):
    """All RPCs in one table. With a table for each service a call asks one after the other until it is in one."""

    def __init__(self, by_method: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._by_method = by_method

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._by_method.get(handler_call_details.method)


def _listen(server: grpc.aio.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error
