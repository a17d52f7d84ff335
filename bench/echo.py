"""A raw unary echo on a plain `grpc.aio` server: `python -m bench.echo`. Its CPU per call is the unit U.

No uvloop, no interceptors, no messages: bytes in, the same bytes out. Prints its port; ends when its input does.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc

METHOD = "/bench.Echo/Echo"


async def serve() -> None:
    """Serves until standard input is closed."""

    async def echo(request: bytes, _: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return request

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_registered_method_handlers("bench.Echo", handlers)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve())
