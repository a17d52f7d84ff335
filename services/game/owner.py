"""The sessions this node runs: taken from Redis when they are asked for, dropped when they are over.

A node that was killed takes its sessions back when it starts again; those of a node that is gone are taken by the node
that is asked for them.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

from pkg.clock import Clock
from pkg.errors import FailedPrecondition, NotFound, Unavailable
from pkg.telemetry.logs import get_logger
from services.game.delivery import DeliveryLimits
from services.game.journal import Journal
from services.game.listing import Listing
from services.game.live import LiveSession
from services.game.order import Tail
from services.game.room import Encoder, Room
from services.game.sessions import Session, State
from services.game.store import SessionStore, Taken

_log = get_logger(__name__)

_TICK_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 1.0
_PAGE: Final = 500
# A session that is over leaves memory when nobody has a stream to it for this long; it can be read back.
_LINGER_SECONDS: Final = 10.0


class Owner:
    """Sessions by id."""

    def __init__(
        self,
        store: SessionStore,
        listing: Listing,
        journal: Journal,
        encoder: Encoder,
        clock: Clock,
        *,
        limits: DeliveryLimits,
        lease_seconds: float,
        decided: Callable[[LiveSession], None],
    ) -> None:
        """`decided` is told of a session whose result has to be written."""
        self._store = store
        self._listing = listing
        self._journal = journal
        self._encoder = encoder
        self._clock = clock
        self._limits = limits
        self._lease_seconds = lease_seconds
        self._decided = decided
        self._sessions: dict[str, LiveSession] = {}
        self._taking: dict[str, asyncio.Task[LiveSession]] = {}
        self._deadlines: list[tuple[float, int, LiveSession]] = []
        self._pushed = 0
        self._was_available = True

    @property
    def running(self) -> int:
        """Sessions that are not over."""
        return sum(not live.room.session.over for live in self._sessions.values())

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now().timestamp()

    def add(self, session: Session, epoch: int) -> LiveSession:
        """A session that was just made here."""
        session.quiet_since = self.now()
        return self._adopt(Taken(session, epoch, {}, Tail()))

    async def get(self, session_id: str) -> LiveSession:
        """The session, taken if this node does not run it yet.

        Raises NotFound(SESSION_NOT_FOUND), FailedPrecondition(WRONG_NODE), Unavailable.
        """
        live = self._sessions.get(session_id)
        if live is not None and live.lost is None:
            return live
        task = self._taking.get(session_id)
        if task is None:
            task = self._taking[session_id] = asyncio.create_task(self._take(session_id))
            task.add_done_callback(lambda _: self._taking.pop(session_id, None))
        # Others may wait for the same: one who gives up must not take it from them.
        return await asyncio.shield(task)

    async def recover(self) -> None:
        """Takes back what this node ran before it was killed, so that its timers go on. Ends when done."""
        after = ""
        while True:
            try:
                ids = await self._listing.live(after, _PAGE)
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for session_id in ids:
                await self._recover(session_id)
            if len(ids) < _PAGE:
                return
            after = ids[-1]

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

    async def run_lease(self) -> None:
        """Says that this node is alive, until cancelled; then says that it is gone."""
        try:
            while True:
                await self.renew_lease()
                await asyncio.sleep(self._lease_seconds / 3)
        finally:
            try:
                await self._store.end_lease()
            except Unavailable as error:
                _log.warning("the lease cannot be ended", cause=repr(error.__cause__))

    async def renew_lease(self) -> None:
        """Says that this node is alive; without Redis nobody can ask."""
        try:
            await self._store.renew_lease(self._lease_seconds)
        except Unavailable as error:
            _log.warning("the lease cannot be renewed", cause=repr(error.__cause__))

    async def _recover(self, session_id: str) -> None:
        while True:
            try:
                await self.get(session_id)
            except FailedPrecondition:
                return  # another node runs it
            except NotFound:
                await self._listing.forget(session_id)
                return
            except Unavailable:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            return

    async def _take(self, session_id: str) -> LiveSession:
        taken = await self._store.take(session_id)
        session = taken.session
        now = self.now()
        live = self._adopt(taken)
        if session.over:
            return live
        session.quiet_since = now
        for number in list(session.seats):
            # Whoever had a stream here has lost it.
            live.room.apply(session.disconnect(number, now), now)
        session.renew_grace(now)
        live.touch()
        await self._listing.update(session, session.state)
        return live

    def _adopt(self, taken: Taken) -> LiveSession:
        room = Room(taken.session, self._encoder, tail=taken.tail, commands=taken.commands, limits=self._limits)
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
