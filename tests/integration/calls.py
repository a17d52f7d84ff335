"""Calls that many tests make."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from oofgg.v1 import auth_pb2 as pb
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error

PASSWORD = "correct horse"


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def register(auth: Any, name: str, **fields: str) -> pb.RegisterResponse:
    request = pb.RegisterRequest(username=name, email=f"{name}@example.org", password=PASSWORD, **fields)
    response: pb.RegisterResponse = await auth.Register(request, timeout=10)
    return response


async def reason_of(call: Any) -> Reason:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value).reason


async def eventually(condition: Callable[[], Awaitable[bool]], *, within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)
