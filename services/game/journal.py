"""Has every change of every session kept in Redis before anyone sees it.

One append in flight per session, one round trip for all sessions that have something: under load, batches form by
themselves. A failed append is offered again as it is until Redis answers; meanwhile those who wait are told, and new
reliable commands are refused. Where Redis refuses the append of one session and takes others, that session alone
waits, with a pause of its own; after a while this node lets go of it, and it is read from Redis anew.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pkg.clock import Clock
from pkg.errors import OofggError, Reason, ResourceExhausted, Unavailable, backend_unavailable
from pkg.telemetry.logs import get_logger
from services.game.engine.room import Batch
from services.game.live import LiveSession
from services.game.metrics import GameMetrics
from services.game.stores.listing import Listing
from services.game.stores.sessions import FAILED, FENCED, KEPT, Append, Outcome, SessionStore, wrong_node

_log = get_logger(__name__)

_RETRY_SECONDS: Final = 0.1
_LONGEST_RETRY_SECONDS: Final = 1.0
# How often in a row Redis may refuse one session while it takes others.
_REFUSALS: Final = 8
# Sessions in one round trip.
_MOST_AT_ONCE: Final = 256


class Journal:
    """Writes the batches of this node's sessions."""

    def __init__(self, store: SessionStore, listing: Listing, clock: Clock, metrics: GameMetrics) -> None:
        self._store = store
        self._listing = listing
        self._clock = clock
        self._due: dict[LiveSession, None] = {}
        self._paced: set[LiveSession] = set()
        self._unlisted: dict[LiveSession, None] = {}
        self._refusals: dict[LiveSession, int] = {}
        self._metrics = metrics
        self._kept_at = clock.monotonic()
        self._wake = asyncio.Event()
        self.available = True

    def require_available(self) -> None:
        """Raises Unavailable while Redis does not keep what it is given."""
        if not self.available:
            raise backend_unavailable("Redis")

    def touch(self, live: LiveSession) -> None:
        """A session may have something to keep: at once when idle, within its window when busy."""
        if live in self._due or live in self._paced or live.lost is not None or live.room.idle:
            return
        now = self._clock.monotonic()
        due = live.room.pacer.due(now)
        if due <= now:
            self._due[live] = None
            self._wake.set()
        else:
            self._paced.add(live)
            asyncio.get_running_loop().call_later(due - now, self._pace_over, live)

    async def run(self) -> None:
        """Writes until cancelled."""
        delay = 0.0
        while True:
            if not self._due and not self._unlisted:
                self._measure(idle=True)
                await self._wake.wait()
                self._kept_at = self._clock.monotonic()
            self._wake.clear()
            try:
                await self._write_due()
                await self._list_changed()
                self._measure(idle=True)
            except Unavailable as error:
                self._measure(idle=False)
                if self.available:
                    _log.warning("live sessions cannot be kept", cause=repr(error.__cause__))
                self.available = False
                delay = min(delay * 2 or _RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
                await asyncio.sleep(delay)
                continue
            if not self.available:
                _log.info("live sessions are kept again")
            self.available = True
            delay = 0.0

    def _measure(self, *, idle: bool) -> None:
        now = self._clock.monotonic()
        if idle:
            self._kept_at = now
        self._metrics.journal_sessions.set(len(self._due))
        self._metrics.journal_seconds.set(now - self._kept_at)

    def _pace_over(self, live: LiveSession) -> None:
        self._paced.discard(live)
        if live.lost is None:
            self._due[live] = None
            self._wake.set()

    async def _write_due(self) -> None:
        chosen = list(self._due)[:_MOST_AT_ONCE]
        now = self._clock.monotonic()
        appends: list[tuple[LiveSession, Append]] = []
        for live in chosen:
            batch = live.room.begin()
            if batch is None:
                self._due.pop(live, None)
                continue
            live.room.pacer.spend(now)
            appends.append((live, self._append_of(live, batch)))
        if not appends:
            return
        try:
            outcomes = await self._store.append([append for _, append in appends])
        except Unavailable as error:
            for live, _ in appends:
                live.fail(error)
            raise
        refused: Unavailable | None = None
        for (live, append), outcome in zip(appends, outcomes, strict=True):
            if outcome.status == FAILED:
                refused = backend_unavailable("Redis")
                refused.__cause__ = RuntimeError(outcome.detail)
                live.fail(refused)
                continue
            # Only now: while a batch is on its way, its session must not be offered twice.
            self._due.pop(live, None)
            self._refusals.pop(live, None)
            await self._settle(live, append, outcome)
        if refused is None:
            return
        if all(outcome.status == FAILED for outcome in outcomes) and (len(outcomes) > 1 or not await self._takes()):
            raise refused
        for (live, _), outcome in zip(appends, outcomes, strict=True):
            if outcome.status == FAILED:
                self._set_back(live, refused)

    async def _takes(self) -> bool:
        """Whether Redis can be written to, so that what it refused was the fault of one session."""
        try:
            await self._store.probe()
        except Unavailable:
            return False
        return True

    def _set_back(self, live: LiveSession, refused: Unavailable) -> None:
        """Redis refuses one session, and takes others: it is offered again later, and holds up nobody."""
        count = self._refusals[live] = self._refusals.get(live, 0) + 1
        self._due.pop(live, None)
        if count >= _REFUSALS:
            del self._refusals[live]
            _log.error("a session cannot be kept", session_id=live.session_id, cause=repr(refused.__cause__))
            live.lose(refused)
            return
        self._paced.add(live)
        pause = min(_LONGEST_RETRY_SECONDS, _RETRY_SECONDS * 2**count)
        asyncio.get_running_loop().call_later(pause, self._pace_over, live)

    def _append_of(self, live: LiveSession, batch: Batch) -> Append:
        # The log keeps what the tail will keep; the events of this batch come on top until the next one.
        return Append(live.session_id, live.epoch, batch, live.room.tail.first, live.room.lineage)

    async def _settle(self, live: LiveSession, append: Append, outcome: Outcome) -> None:
        if outcome.status not in (KEPT, FENCED):
            try:
                append, outcome = await self._restore(live)
            except Unavailable:
                self._due[live] = None
                raise
        if outcome.status == FENCED:
            _log.warning("another node has taken a session", session_id=live.session_id, owner=outcome.detail)
            live.lose(wrong_node(live.session_id, outcome.detail))
            return
        room = live.room
        room.confirm(append.batch)
        live.resolve()
        for receiver in room.slow_receivers():
            if stream := live.streams.get(receiver.place):
                stream.close(_slow(room.tail.head - receiver.cursor))
        if (room.state, room.label) != live.listed:
            self._unlisted[live] = None
        self.touch(live)

    async def _restore(self, live: LiveSession) -> tuple[Append, Outcome]:
        """Redis has lost what it confirmed, but this node has not."""
        _log.warning("Redis has lost a session's state; it is written again", session_id=live.session_id)
        batch, pieces, first, fields = live.room.everything()
        append = self._append_of(live, batch)
        outcome = await self._store.restore(append, pieces, first, fields)
        await self._listing.update(live.room.session, batch.state, batch.label)
        return append, outcome

    async def _list_changed(self) -> None:
        for live in list(self._unlisted):
            state, label = live.room.state, live.room.label
            await self._listing.update(live.room.session, state, label, old_label=live.listed[1])
            live.listed = state, label
            if (live.room.state, live.room.label) == (state, label):
                self._unlisted.pop(live, None)


def _slow(behind: int) -> OofggError:
    return ResourceExhausted(
        Reason.SLOW_CONSUMER,
        f"This receiver is {behind} events behind and acknowledges too slowly. Open the stream again after the last "
        "event you have.",
    )
