"""The sessions this node runs: taken from Redis when they are asked for, dropped when they are over.

Those of a node that is dead are taken by who is asked for one, or comes across it (`takeover`).
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence
from typing import Final

from pkg.clock import Clock
from pkg.errors import OofggError, Reason, Unavailable, backend_unavailable
from services.game.engine.delivery import DeliveryLimits
from services.game.engine.facts import State
from services.game.engine.lineage import Lineage
from services.game.engine.order import Tail
from services.game.engine.room import Encoder, Room
from services.game.engine.sessions import Session
from services.game.journal import Journal
from services.game.live import LiveSession
from services.game.nodes.peers import Peer, Peers
from services.game.stores.listing import Listing
from services.game.stores.sessions import SessionStore, Taken, session_not_found, wrong_node

_TICK_SECONDS: Final = 0.2
_PAGE: Final = 256
# A session that is over leaves memory when nobody has a stream to it for this long; it can be read back.
_LINGER_SECONDS: Final = 10.0


class Owner:
    """Sessions by id."""

    def __init__(
        self,
        store: SessionStore,
        listing: Listing,
        journal: Journal,
        peers: Peers,
        encoder: Encoder,
        clock: Clock,
        *,
        limits: DeliveryLimits,
        decided: Callable[[LiveSession], None],
    ) -> None:
        """`decided` is told of a session whose result has to be written."""
        self._store = store
        self._listing = listing
        self._journal = journal
        self._peers = peers
        self._encoder = encoder
        self._clock = clock
        self._limits = limits
        self._decided = decided
        self._sessions: dict[str, LiveSession] = {}
        self._taking: dict[str, asyncio.Future[LiveSession]] = {}
        self._deadlines: list[tuple[float, int, LiveSession]] = []
        self._pushed = 0
        self._was_available = True
        self.leaving = False  # no sessions are taken any more

    @property
    def running(self) -> int:
        """Sessions that are not over."""
        return sum(not live.room.session.over for live in self._sessions.values())

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now().timestamp()

    def add(self, session: Session, epoch: int, pieces: Sequence[bytes] = ()) -> None:
        """A session that was just made here, and its events so far, which are for everybody.

        Nothing happens for one that was asked for meanwhile: it is taken, with a higher epoch.
        """
        session_id = session.facts.session_id
        if session_id in self._sessions or session_id in self._taking:
            return
        session.quiet_since = self.now()
        tail = Tail()
        tail.extend(pieces)
        self._adopt(Taken(session, epoch, {}, tail, Lineage(((epoch, 0),))))

    def sessions(self) -> list[LiveSession]:
        """Those this node runs, without those that are over."""
        return [live for live in self._sessions.values() if live.lost is None and not live.room.session.over]

    async def get(self, session_id: str) -> LiveSession:
        """The session, taken if this node does not run it yet.

        Raises NotFound(SESSION_NOT_FOUND), FailedPrecondition(WRONG_NODE), Unavailable.
        """
        live = self._sessions.get(session_id)
        if live is not None and live.lost is None:
            return live
        task = self._taking.get(session_id)
        if task is None:
            task = self._taking[session_id] = asyncio.create_task(self._take_one(session_id))
            task.add_done_callback(lambda _: self._taking.pop(session_id, None))
        # Others may wait for the same: one who gives up must not take it from them.
        return await asyncio.shield(task)

    async def take_all(self, session_ids: Sequence[str]) -> int:
        """Takes those of these sessions that are this node's or a dead one's, and passes over the others.

        Returns how many those were. Raises Unavailable.
        """
        each_once = dict.fromkeys(session_ids)
        wanted = [each for each in each_once if each not in self._taking and not self._runs(each)]
        if not wanted:
            return 0
        futures = {each: asyncio.get_running_loop().create_future() for each in wanted}
        # Who asks for one of them meanwhile waits for the same.
        self._taking.update(futures)
        try:
            owners = await self._store.owners(wanted)
            takes = [
                (session_id, owner)
                for session_id, owner in zip(wanted, owners, strict=True)
                if owner is not None and (owner == self._peers.me or self._peers.is_dead(owner))
            ]
            outcomes = await self._take(takes) if takes else []
            found = dict(zip([session_id for session_id, _ in takes], outcomes, strict=True))
            for session_id, owner in zip(wanted, owners, strict=True):
                outcome = found.get(session_id) or (
                    wrong_node(session_id, owner.node) if owner else session_not_found(session_id)
                )
                if isinstance(outcome, OofggError):
                    futures[session_id].set_exception(outcome)
                else:
                    futures[session_id].set_result(outcome)
            return sum(isinstance(outcome, LiveSession) for outcome in outcomes)
        finally:
            for session_id, future in futures.items():
                self._taking.pop(session_id, None)
                if not future.done():
                    future.set_exception(backend_unavailable("Redis"))
                future.exception()  # nobody has to ask for it

    async def verify(self) -> None:
        """Others had to think that this node is dead: lets go of what they took. Raises Unavailable."""
        mine = self.sessions()
        for start in range(0, len(mine), _PAGE):
            page = mine[start : start + _PAGE]
            owners = await self._store.owners([live.session_id for live in page])
            for live, owner in zip(page, owners, strict=True):
                if owner is not None and owner != self._peers.me and live.lost is None:
                    live.lose(wrong_node(live.session_id, owner.node))

    def _runs(self, session_id: str) -> bool:
        live = self._sessions.get(session_id)
        return live is not None and live.lost is None

    async def run_timers(self) -> None:
        """Lets time have its effect on sessions, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if not self._journal.available:
                self._was_available = False
                continue
            now = self.now()
            if not self._was_available:
                self._was_available = True
                self._excuse(now)
            while self._deadlines and self._deadlines[0][0] <= now:
                at, _, live = heapq.heappop(self._deadlines)
                if live.scheduled == at:
                    live.scheduled = None
                    self._tick(live, now)

    async def _take_one(self, session_id: str) -> LiveSession:
        """As `get`, for a session that this node does not run."""
        owner = await self._store.owner(session_id)
        if owner != self._peers.me and not await self._peers.has_died(owner):
            raise wrong_node(session_id, owner.node)
        (found,) = await self._take([(session_id, owner)])
        if isinstance(found, OofggError):
            raise found
        return found

    async def _take(self, takes: Sequence[tuple[str, Peer]]) -> list[LiveSession | OofggError]:
        """Takes sessions from nodes that are dead, or that have given them to this one."""
        if self.leaving:
            raise shutting_down()
        # First, so that whoever looks for what this node left finds it, whenever it should die.
        await self._listing.claim([session_id for session_id, _ in takes])
        found = [
            each if isinstance(each, OofggError) else self._welcome(each) for each in await self._store.take(takes)
        ]
        sessions = [each.room.session for each in found if isinstance(each, LiveSession)]
        if listed := [(session, self._peers.me) for session in sessions if not session.over]:
            await self._listing.add(listed)
        return found

    def _welcome(self, taken: Taken) -> LiveSession:
        session = taken.session
        now = self.now()
        live = self._adopt(taken)
        if session.over:
            return live
        session.quiet_since = session.active_at = now
        for number in list(session.seats):
            # Whoever had a stream here has lost it.
            live.room.apply(session.disconnect(number, now), now)
        session.renew_grace(now)
        live.touch()
        return live

    def _adopt(self, taken: Taken) -> LiveSession:
        room = Room(
            taken.session,
            self._encoder,
            tail=taken.tail,
            commands=taken.commands,
            limits=self._limits,
            lineage=taken.lineage,
        )
        live = LiveSession(room, taken.epoch, touch=self._touched)
        self._sessions[live.session_id] = live
        self._touched(live)
        return live

    def _touched(self, live: LiveSession) -> None:
        self._journal.touch(live)
        session = live.room.session
        at: float | None
        if live.lost is not None:
            at = self.now()
        elif session.over:
            if live.scheduled is not None:
                return
            at = self.now() + _LINGER_SECONDS
        else:
            at = session.deadline()
            if session.state is State.FINISHING:
                self._decided(live)
        if at is not None and (live.scheduled is None or at < live.scheduled):
            live.scheduled = at
            self._pushed += 1
            heapq.heappush(self._deadlines, (at, self._pushed, live))

    def _tick(self, live: LiveSession, now: float) -> None:
        if live.lost is not None:
            self._forget(live)
            return
        session = live.room.session
        if session.over and not live.streams and live.room.idle:
            self._forget(live)
            return
        live.room.apply(session.tick(now), now)
        live.touch()

    def _excuse(self, now: float) -> None:
        """Nobody could come back while Redis was away: that time does not count against them."""
        for live in self._sessions.values():
            if not live.room.session.over:
                live.room.session.renew_grace(now)

    def _forget(self, live: LiveSession) -> None:
        if self._sessions.get(live.session_id) is live:
            del self._sessions[live.session_id]


def shutting_down() -> Unavailable:
    """The error for who asks a node that is about to end."""
    return Unavailable(Reason.SHUTTING_DOWN, "This node is shutting down. Open the stream again.", retry_after=0.1)
