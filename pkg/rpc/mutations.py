"""Mutations on the wire: the same request id, the same reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from pkg.db.database import Connection, Database
from pkg.db.replies import once
from pkg.rpc.call import Call

M = TypeVar("M", bound=Message)


async def once_per_call(
    database: Database, call: Call, request: Any, response: type[M], effect: Callable[[Connection], Awaitable[M]]
) -> M:
    """Runs `effect` in a transaction, or returns the reply it gave to the same `request.request_id` of this caller.

    Raises as `pkg.db.replies.once` does.
    """
    return await once(
        database,
        caller=call.caller.user_id,
        rpc=call.method,
        request_id=request.request_id,
        request=request,
        response=response,
        effect=effect,
    )
