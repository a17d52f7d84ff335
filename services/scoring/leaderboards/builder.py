"""Builds the ranks of a window from PostgreSQL, when Redis has none or an operator asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from pkg.clock import Clock
from pkg.db.database import Database
from pkg.errors import OofggError
from pkg.ids import NewId
from pkg.telemetry.logs import get_logger
from services.scoring.leaderboards.entries import Spot
from services.scoring.leaderboards.places import MEMBER_BYTES, PLACE_BYTES
from services.scoring.leaderboards.ranks import READY, Moves, Ranks
from services.scoring.leaderboards.windows import Window

_log = get_logger(__name__)

# Members in one step of Redis: a few milliseconds in which it does nothing else.
_PAGE: Final = 1_000
_SCAN: Final = """
    select string_agg(place || uuid_send(user_id), ''::bytea order by place) from (
        select place, user_id from leaderboard_entry
        where leaderboard_id = $1 and window_start = $2 and place > $3 order by place limit $4
    ) page
"""
# How long the keys of a window that is over are kept, after its end or after they were built again.
_KEEP_SECONDS: Final = 3600

# Windows that a process builds at a time: after a restart of Redis, all of them are wanted at once.
_AT_ONCE: Final = 3

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Builder:
    """Builds windows, each once at a time."""

    def __init__(self, database: Database, ranks: Ranks, clock: Clock, new_id: NewId, spawn: Spawn) -> None:
        """`spawn` runs a build beside the calls that want it, and awaits it at the end of the process."""
        self._database = database
        self._ranks = ranks
        self._clock = clock
        self._new_id = new_id
        self._spawn = spawn
        self._building: dict[Spot, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def want(self, spot: Spot, window: Window, *, within: float) -> None:
        """Has a window built, and waits for it a little: small ones are there at once."""
        task = self._building.get(spot)
        if task is None:
            task = self._building[spot] = self._spawn(self._build_quietly(spot, window))
        await asyncio.wait({task}, timeout=within)

    async def _build_quietly(self, spot: Spot, window: Window) -> None:
        try:
            async with self._slots:
                await self.build(spot, window)
        except OofggError as error:
            _log.warning("a leaderboard was not built", leaderboard=spot[0], cause=repr(error.__cause__ or error))
        except Exception:
            _log.exception("a leaderboard was not built", leaderboard=spot[0])
        finally:
            del self._building[spot]

    async def build(
        self, spot: Spot, window: Window, *, force: bool = False, told: Callable[[int], None] = lambda _: None
    ) -> bool:
        """Whether the window is ready afterwards. `told` hears how many entries are there.

        Writers apply what they write meanwhile, and of two places of one player the later one stays: so it is whole
        once a scan that began after its keys were made has been applied. Raises Unavailable when PostgreSQL is away.
        """
        name = f"builder {self._new_id()}"
        state = await self._ranks.begin(spot, name, force=force, keep_seconds=self._keep_seconds(window))
        if state != name.encode():
            return state == READY
        count, after = 0, b""
        while True:
            async with self._database.acquire() as connection:
                members = await connection.fetchval(_SCAN, *spot, after, _PAGE)
            if not members:
                break
            applied = await self._ranks.apply({spot: Moves(members=[members])}, name.encode())
            if applied is None or applied[spot].state != name.encode():
                return False
            count += len(members) // MEMBER_BYTES
            after = members[-MEMBER_BYTES:][:PLACE_BYTES]
            told(count)
            if await self._ranks.built(spot, name, whole=False) != name.encode():
                return False
        ready = await self._ranks.built(spot, name, whole=True) == READY
        if ready and count:
            _log.info("built a leaderboard", leaderboard=spot[0], entries=count)
        return ready

    def _keep_seconds(self, window: Window) -> int:
        """Seconds to keep the keys; 0 for ever."""
        if window.end is None:
            return 0
        left = (window.end - self._clock.now()).total_seconds()
        return _KEEP_SECONDS + int(max(0.0, left))
