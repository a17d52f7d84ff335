"""Who plays, and where: the game, the players' logins, the sessions."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, Self, TypeVar

import grpc

import oofgg
from services.bots.plan import Plan

T = TypeVar("T")

# Calls at the same time: setting up must not be the load.
_AT_ONCE: Final = 8
_SETUP_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 1.0
# One call with its repeats: long enough for a platform that is being restarted.
_CALL_SECONDS: Final = 15.0
_MOST_SEATS: Final = 512


class Cast:
    """Clients that are logged in. Close it at the end."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stack = AsyncExitStack()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self.game = plan.game

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def guests(self, count: int) -> list[oofgg.Client]:
        """So many clients, each logged in as somebody else. Raises OofggError, TimeoutError."""
        async with asyncio.timeout(_SETUP_SECONDS):
            if not self.game:
                self.game = await self._make_game()
            clients = [await self._client(self.game) for _ in range(count)]
            await asyncio.gather(*map(self._log_in, clients))
            return clients

    async def _log_in(self, client: oofgg.Client) -> None:
        # Whoever knows a device's id has its account: never from the seed.
        device_id = str(uuid.uuid4())
        await self._patiently(lambda: client.login_guest(device_id))

    async def sessions(self, creators: list[oofgg.Client]) -> list[oofgg.Session]:
        """A session by each of these. Raises OofggError, TimeoutError."""
        plan = self._plan

        async def make(client: oofgg.Client) -> oofgg.Session:
            return await self._patiently(
                lambda: client.sessions.create(
                    label="bots",
                    min_seats=plan.session_size,
                    max_seats=plan.session_size,
                    max_spectators=plan.watched_by(0),
                    flush_window_ms=plan.flush_window_ms,
                )
            )

        async with asyncio.timeout(_SETUP_SECONDS):
            return list(await asyncio.gather(*map(make, creators)))

    async def _make_game(self) -> str:
        client = await self._client(None)
        suffix = os.urandom(4).hex()
        if self._plan.developer:
            await client.login(self._plan.developer, self._plan.password)
        else:
            name = f"bots-{suffix}"
            await client.register(name, f"{name}@example.org", os.urandom(12).hex())
            await client.become_developer()
        settings = oofgg.GameSettings(max_seats=min(_MOST_SEATS, self._plan.session_size))
        return (await client.games.create(f"Bots {suffix}", settings=settings)).game_id

    async def _client(self, game: str | None) -> oofgg.Client:
        credentials = None
        if self._plan.tls:
            roots = self._plan.tls_ca.read_bytes() if self._plan.tls_ca else None
            credentials = grpc.ssl_channel_credentials(roots)
        return await self._stack.enter_async_context(
            oofgg.Client(self._plan.target, game=game, credentials=credentials, timeout=_CALL_SECONDS)
        )

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Waits as long as the platform says; the caller's deadline ends that."""
        async with self._turns:
            while True:
                try:
                    return await call()
                except oofgg.errors.ResourceExhausted as error:
                    if error.reason is oofgg.Reason.QUOTA_EXCEEDED:
                        raise
                    await asyncio.sleep(error.retry_after or _PAUSE_SECONDS)
