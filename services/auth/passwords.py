"""Passwords: argon2id in a small thread pool with a bounded queue.

A hash takes tens of milliseconds of one core and releases the GIL. The pool keeps a storm of logins from stalling
other calls; past the bound of the queue the answer is RESOURCE_EXHAUSTED.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from passlib.context import CryptContext

from pkg.config import Settings
from pkg.errors import Reason, ResourceExhausted

T = TypeVar("T")
_RETRY_AFTER_SECONDS = 1.0
_NICENESS = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a password is the stored one, and its hash by today's parameters where the stored one has others."""

    matches: bool
    renewed: str | None = None


def _step_back() -> None:
    """Lets other threads go first: a hash may wait for the processor, a call may not. Linux knows threads apart."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def composed(password: str) -> str:
    """The password in the one form that is hashed: NFC, as RFC 8265 (OpaqueString) asks for.

    Keyboards differ in how they send `ü`: as one character, or as `u` and two dots.
    """
    return unicodedata.normalize("NFC", password)


class Passwords:
    """Hashes and verifies. Close it when done."""

    def __init__(self, settings: Settings) -> None:
        # Parameters: OWASP Password Storage Cheat Sheet, argon2id with m=19 MiB, t=2, p=1.
        self._hasher = CryptContext(
            schemes=["argon2"],
            argon2__type="ID",
            argon2__memory_cost=settings.argon2_memory_kib,
            argon2__rounds=settings.argon2_time,
            argon2__parallelism=1,
        )
        self._pool = ThreadPoolExecutor(
            settings.password_hash_threads, thread_name_prefix="argon2", initializer=_step_back
        )
        self._most = settings.password_hash_threads + settings.password_hash_queue
        self._admitted = 0
        # What an unknown user's password is compared with, so that the answer takes as long as for a known one.
        self._decoy: str = self._hasher.hash("decoy")

    async def hash(self, password: str) -> str:
        """The hash to store. Raises ResourceExhausted(OVERLOADED) when too many are waiting."""
        return await self._run(lambda: self._hasher.hash(composed(password)))

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """Whether the password is the stored one; no, after as long, when there is none stored.

        Raises ResourceExhausted(OVERLOADED) when too many are waiting.
        """
        known = stored or self._decoy

        def check() -> tuple[bool, str | None]:
            matches, renewed = self._hasher.verify_and_update(composed(password), known)
            if not matches and composed(password) != password and self._hasher.verify(password, known):
                # Stored before passwords were composed.
                return True, self._hasher.hash(composed(password))
            return matches, renewed

        matches, renewed = await self._run(check)
        return Verdict(matches, renewed) if matches and stored is not None else Verdict(False)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._admitted >= self._most:
            raise ResourceExhausted(
                Reason.OVERLOADED, "Too many logins at the moment. Try again shortly.", retry_after=_RETRY_AFTER_SECONDS
            )
        self._admitted += 1
        # Whoever gives up waiting leaves its work in the pool; its place is free when that is done.
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._leave)
        return await asyncio.shield(future)

    def _leave(self, future: asyncio.Future[T]) -> None:
        self._admitted -= 1
        if not future.cancelled():
            future.exception()

    def close(self) -> None:
        """Lets running hashes end and drops waiting ones."""
        self._pool.shutdown(wait=True, cancel_futures=True)
