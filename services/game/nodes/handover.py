"""Hands this node's sessions to other nodes before it ends: clients see their stream end with the node to go on at."""

from __future__ import annotations

import asyncio
from typing import Final

from pkg.errors import OofggError
from pkg.telemetry.logs import get_logger
from services.game.live import LiveSession
from services.game.nodes.claims import Claims
from services.game.nodes.owner import Owner
from services.game.nodes.peers import Peers
from services.game.stores.sessions import FENCED, KEPT, SessionStore, wrong_node
from services.game.streams import Streams

_log = get_logger(__name__)

_AT_ONCE: Final = 16
_SECONDS: Final = 5.0


class Handover:
    """What a node does when it drains."""

    def __init__(self, owner: Owner, store: SessionStore, claims: Claims, peers: Peers, streams: Streams) -> None:
        self._owner = owner
        self._store = store
        self._claims = claims
        self._peers = peers
        self._streams = streams

    async def run(self, draining: asyncio.Event) -> None:
        """Waits until the process drains, gives every session away, and sends off who is left.

        What no other node takes stays in Redis for the next node there is.
        """
        await draining.wait()
        self._owner.leaving = True
        given = 0
        try:
            async with asyncio.timeout(_SECONDS):
                await self._peers.read()
                slots = asyncio.Semaphore(_AT_ONCE)
                outcomes = await asyncio.gather(*(self._give(live, slots) for live in self._owner.sessions()))
                given = sum(outcomes)
        except (OofggError, TimeoutError) as error:
            _log.warning("not every session could be given to another node", error=repr(error))
        _log.info("gave sessions to other nodes", sessions=given, left=len(self._owner.sessions()))
        self._streams.drain()

    async def _give(self, live: LiveSession, slots: asyncio.Semaphore) -> bool:
        async with slots:
            to = self._peers.choose_other()
            if to is None or live.lost is not None:
                return False
            # Most of what is on its way is kept before; what is not was never acknowledged, and is sent again.
            await live.confirmed(live.room.outstanding)
            await self._claims.give([(to, live.session_id)])
            outcome = await self._store.give(live.session_id, live.epoch, to)
            if outcome.status not in (KEPT, FENCED):
                return False
            live.lose(wrong_node(live.session_id, to.node if outcome.status == KEPT else outcome.detail))
            await self._claims.drop(self._peers.me, [live.session_id])
            return outcome.status == KEPT
