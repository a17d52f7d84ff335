"""Logins that were ended before their tokens expire.

`auth` writes each to PostgreSQL, then to one Redis stream. Every process reads that stream from its beginning before
it is ready, follows it from then on, and asks this map at every call: a revocation takes effect everywhere within a
second and survives restarts. The stream keeps entries as long as an access token can live.

A Redis that lost its data has an empty stream, which must not pass for "nobody was revoked". So `auth` keeps a mark
beside the stream that names the run of Redis in which the stream is complete, and after a restart of Redis writes
everything again before it renews the mark. A process is not ready before it has seen the mark; one that has read the
stream keeps what it knows whatever happens to Redis.

The stream also carries the new names of accounts that were renamed: their tokens have the old one until they expire.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import Final

import redis.asyncio as redis
from redis.exceptions import RedisError

from pkg.auth.caller import Caller
from pkg.clock import Clock
from pkg.errors import Reason, Unauthenticated
from pkg.telemetry.logs import get_logger

_log = get_logger(__name__)

STREAM: Final = "oofgg:revocations"
MARK: Final = "oofgg:revocations:complete"
# No access token may be set to live longer than this (pkg.config).
LONGEST_TOKEN_LIFE_SECONDS: Final = 86_400
_BLOCK_MILLISECONDS = 500
_BLOCK_AT_FIRST_MILLISECONDS = 20
_BATCH = 1_000
_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 2.0


async def publish(client: redis.Redis, login_id: str, reason: str, *, keep_seconds: int, clock: Clock) -> None:
    """Tells every process that this login has ended; the entry is kept at least `keep_seconds`."""
    oldest = int((clock.now().timestamp() - keep_seconds) * 1000)
    await client.xadd(STREAM, {"sid": login_id, "reason": reason}, minid=str(oldest), approximate=True)


async def publish_name(client: redis.Redis, user_id: str, username: str, *, keep_seconds: int, clock: Clock) -> None:
    """Tells every process the new name of an account; the entry is kept at least `keep_seconds`."""
    oldest = int((clock.now().timestamp() - keep_seconds) * 1000)
    await client.xadd(STREAM, {"user": user_id, "name": username}, minid=str(oldest), approximate=True)


async def mark_complete(client: redis.Redis, run_id: str) -> None:
    """Says that everything that was ended is in the stream of this run of Redis."""
    await client.set(MARK, run_id)


async def run_of(client: redis.Redis) -> tuple[str, bool]:
    """Which run of Redis this is, and whether its stream is complete: a Redis that came back may have lost its end."""
    run_id = str((await client.info("server"))["run_id"])
    return run_id, await client.get(MARK) == run_id.encode()


class Revocations:
    """The ended logins as this process knows them."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        # Login id → milliseconds of the entry, and the reason; grows in that order.
        self._ended: dict[str, tuple[int, Reason]] = {}
        # User id → milliseconds of the entry, and the account's new name; grows in that order.
        self._names: dict[str, tuple[int, str]] = {}
        self._complete = asyncio.Event()
        self._position = "0"
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._read_at = time.monotonic()

    @property
    def unread_seconds(self) -> float:
        """Since the stream was read last: below a second while Redis answers."""
        return time.monotonic() - self._read_at

    def is_revoked(self, login_id: str) -> bool:
        """Whether this login has ended."""
        return login_id in self._ended

    def refusal(self, login_id: str) -> Unauthenticated | None:
        """The error for a call with a token of this login; None while it has not ended."""
        ended = self._ended.get(login_id)
        return Unauthenticated(ended[1], _MESSAGES[ended[1]]) if ended is not None else None

    def named_now(self, caller: Caller) -> Caller:
        """The caller of a token under the name that the account has now."""
        renamed = self._names.get(caller.user_id)
        if renamed is None or caller.is_api_key:
            return caller
        return replace(caller, username=renamed[1])

    async def check(self) -> None:
        """Raises until the stream was seen complete once (a check of health)."""
        if not self._complete.is_set():
            raise RuntimeError("it is not known yet which logins have ended")

    async def settle(self, *, within: float) -> None:
        """Waits until `check` passes, so many seconds at the most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._complete.wait()

    def watch(self, login_id: str, event: asyncio.Event | None = None) -> asyncio.Event:
        """An event, a new one or the caller's own, that is set when the login ends: for streams that outlive their
        token. Hand it to `unwatch`."""
        event = event or asyncio.Event()
        if self.is_revoked(login_id):
            event.set()
        self._watchers.setdefault(login_id, set()).add(event)
        return event

    def unwatch(self, login_id: str, event: asyncio.Event) -> None:
        """Forgets an event of `watch`."""
        events = self._watchers.get(login_id, set())
        events.discard(event)
        if not events:
            self._watchers.pop(login_id, None)

    async def load(self) -> None:
        """Reads everything published so far. A process is not ready before `check` passes."""
        # In this order: what was written before the mark is read after it.
        _, marked = await run_of(self._client)
        while await self._read(block=None):
            pass
        if marked:
            self._complete.set()

    async def follow(self) -> None:
        """Follows the stream until cancelled; waits out a Redis that is away."""
        retry = _RETRY_SECONDS
        while True:
            try:
                if not self._complete.is_set():
                    await self.load()
                known = self._complete.is_set()
                await self._read(block=_BLOCK_MILLISECONDS if known else _BLOCK_AT_FIRST_MILLISECONDS)
            except (RedisError, OSError, TimeoutError) as error:
                _log.warning("revocations cannot be followed", error=repr(error), retry_seconds=retry)
                await asyncio.sleep(retry)
                retry = min(_LONGEST_RETRY_SECONDS, retry * 2)
            else:
                retry = _RETRY_SECONDS

    async def _read(self, *, block: int | None) -> bool:
        reply = await self._client.xread({STREAM: self._position}, count=_BATCH, block=block)
        self._read_at = time.monotonic()
        if not reply:
            return False
        for position, fields in _entries(reply):
            self._position = position
            milliseconds = int(position.partition("-")[0])
            if b"user" in fields:
                user_id = fields[b"user"].decode()
                self._names.pop(user_id, None)
                self._names[user_id] = (milliseconds, fields[b"name"].decode())
                continue
            login_id = fields[b"sid"].decode()
            self._ended[login_id] = (milliseconds, _reason(fields.get(b"reason", b"")))
            for event in self._watchers.get(login_id, ()):
                event.set()
        self._forget(before=int(self._position.partition("-")[0]) - LONGEST_TOKEN_LIFE_SECONDS * 1000)
        return True

    def _forget(self, *, before: int) -> None:
        """Drops logins and names whose last access token has expired by itself."""
        while self._ended and self._ended[oldest := next(iter(self._ended))][0] < before:
            del self._ended[oldest]
        while self._names and self._names[oldest := next(iter(self._names))][0] < before:
            del self._names[oldest]


_MESSAGES: Final = {
    Reason.TOKEN_REVOKED: "This login was ended. Log in again.",
    Reason.LOGGED_IN_ELSEWHERE: "You logged in to this game elsewhere. It allows one login at a time.",
}


def _reason(text: bytes) -> Reason:
    return Reason.LOGGED_IN_ELSEWHERE if text.decode() == Reason.LOGGED_IN_ELSEWHERE else Reason.TOKEN_REVOKED


def _entries(reply: object) -> list[tuple[str, dict[bytes, bytes]]]:
    """The entries of an XREAD reply, which is a list of pairs in RESP2 and a mapping in RESP3."""
    if isinstance(reply, dict):
        lists = [part for value in reply.values() for part in value]
    elif isinstance(reply, list):
        lists = [entries for _, entries in reply]
    else:
        raise TypeError(f"unexpected XREAD reply: {type(reply).__name__}")
    return [(position.decode(), fields) for entries in lists for position, fields in entries]
