"""Replies kept for repeats: a mutation that comes twice with one request id happens once.

The reply is stored in the transaction of the effect, scoped to (caller, RPC, request id), for 24 hours. A repeat with
other content is refused. Each schema that uses this has the table:

    create table reply (
        caller text not null, rpc text not null, request_id text not null, digest bytea not null,
        response bytea not null, create_time timestamptz not null default now(),
        primary key (caller, rpc, request_id));
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from pkg.db.database import Connection, Database
from pkg.errors import InvalidArgument, Reason

M = TypeVar("M", bound=Message)
KEEP_HOURS = 24


class Sealer(Protocol):
    """Encrypts what must not lie readable in the database."""

    def seal(self, plain: bytes) -> bytes: ...
    def unseal(self, sealed: bytes) -> bytes: ...


class _Plain:
    def seal(self, plain: bytes) -> bytes:
        return plain

    def unseal(self, sealed: bytes) -> bytes:
        return sealed


PLAIN = _Plain()


def request_digest(request: Message) -> bytes:
    """What two requests with one request id must have in common."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


async def once(
    database: Database,
    *,
    caller: str,
    rpc: str,
    request_id: str,
    request: Message,
    response: type[M],
    effect: Callable[[Connection], Awaitable[M]],
    sealer: Sealer = PLAIN,
) -> M:
    """Runs `effect` in a transaction and keeps its reply, or returns the reply that was kept.

    Without a request id the effect just runs. Raises InvalidArgument(REQUEST_ID_REUSED) when the request id was
    used with other content. Two repeats at the same moment: one waits for the other.
    """
    async with database.transaction() as connection:
        if not request_id:
            return await effect(connection)
        digest = request_digest(request)
        # Serialises repeats without a row to lock yet; released at the end of the transaction.
        await connection.execute(
            "select pg_advisory_xact_lock(hashtextextended($1, 0))", f"{caller} {rpc} {request_id}"
        )
        kept = await connection.fetchrow(
            "select digest, response from reply where caller = $1 and rpc = $2 and request_id = $3",
            caller, rpc, request_id,
        )  # fmt: skip
        if kept is not None:
            if kept["digest"] != digest:
                raise InvalidArgument(
                    Reason.REQUEST_ID_REUSED, "request_id: was used before with other content. Choose a new one."
                )
            return response.FromString(sealer.unseal(kept["response"]))
        reply = await effect(connection)
        await connection.execute(
            "insert into reply (caller, rpc, request_id, digest, response) values ($1, $2, $3, $4, $5)",
            caller, rpc, request_id, digest, sealer.seal(reply.SerializeToString()),
        )  # fmt: skip
        return reply


async def forget_old_replies(database: Database) -> None:
    """Drops replies older than 24 hours; call it now and then."""
    async with database.acquire() as connection:
        await connection.execute("delete from reply where create_time < now() - make_interval(hours => $1)", KEEP_HOURS)
