"""Takes the sessions of nodes that are dead, and those that other nodes give to this one.

So their timers go on, and whoever comes back finds them at once. Every live node takes part; for each session one is
first. A node that slept finds out what it lost meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pkg.clock import Clock
from pkg.errors import Unavailable
from pkg.telemetry.logs import get_logger
from services.game.metrics import GameMetrics
from services.game.nodes.claims import Claims
from services.game.nodes.owner import Owner
from services.game.nodes.peers import Peer, Peers

_log = get_logger(__name__)

_LOOK_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 0.5
_AT_ONCE: Final = 32


class Takeover:
    """Background work of one node."""

    def __init__(
        self, owner: Owner, claims: Claims, peers: Peers, clock: Clock, metrics: GameMetrics, *, lease_seconds: float
    ) -> None:
        self._owner = owner
        self._claims = claims
        self._peers = peers
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._metrics = metrics
        self._given: list[str] = []  # that it has not taken yet

    async def run(self, draining: asyncio.Event) -> None:
        """Looks around until the node drains, or until cancelled."""
        entered, looked_at = False, self._clock.monotonic()
        while not draining.is_set():
            try:
                if not entered:
                    await self._claims.enter()
                    entered = True
                await self._peers.read()
                now = self._clock.monotonic()
                if now - looked_at > self._lease_seconds:
                    await self._owner.verify()
                looked_at = now
                await self._peers.watch()
                await self._look()
                self._metrics.takeover_seconds.set(self._clock.monotonic() - now)
            except Unavailable as error:
                _log.info("cannot look for sessions without a node", reason=error.reason)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        while self._given or (given := await self._claims.given(_AT_ONCE)):
            # Kept until it is done: Redis has forgotten that they were given.
            self._given = self._given or given
            await self._owner.take_all(self._given)
            self._given = []
        for peer in await self._claims.owners():
            if peer.incarnation != self._peers.me.incarnation and self._peers.is_dead(peer):
                await self._take_over(peer)

    async def _take_over(self, dead: Peer) -> None:
        taken = 0
        while session_ids := await self._claims.some(dead, _AT_ONCE):
            taken += await self._owner.take_all(session_ids)
            if not self._peers.is_dead(dead):
                # Redis is so slow that what was read of the node is too old to count: none was taken for that reason,
                # and to drop them would leave them to nobody. The next look goes on.
                return
            await self._claims.drop(dead, session_ids)
            await self._peers.read()
        await self._claims.forget(dead)
        _log.info("took over what a node left", left_by=dead.node, sessions=taken)
