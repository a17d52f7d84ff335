"""The leader of one queue: keeps its pool, proposes matches, and sees to what time brings.

One task per queue that this node leads. It ends when the node stops, when another leads, or when nothing is left to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeVar

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.clock import Clock
from pkg.errors import OofggError
from pkg.ids import NewId
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken
from services.matchmaking.directory import QueueDirectory
from services.matchmaking.engine.matching import Pool
from services.matchmaking.engine.queues import Queue
from services.matchmaking.engine.tickets import Opening, Proposal, Ticket, Why
from services.matchmaking.leading.figures import Figures
from services.matchmaking.leading.making import Making
from services.matchmaking.stores.leading import Claim, Fenced, LeaderStore, News, QueueKey
from services.matchmaking.ticket_messages import opening_of, stored_match, ticket_of

_log = get_logger(__name__)
T = TypeVar("T")

_TIDY_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 30.0
_WHY_SECONDS: Final = 2.0
_WHY_AT_ONCE: Final = 500
# After a quiet time, those who come at the same moment are waited for.
_GATHER_SECONDS: Final = 0.01
_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 8.0
_CLAIMS_AT_ONCE: Final = 250
_STRANGE_TIMES: Final = 3
_QUIET_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look at the pool brought."""

    proposals: Sequence[Proposal]
    overdue: Sequence[Ticket]
    misfits: Sequence[Ticket]
    next_change: float | None
    reasons: Mapping[str, Why]


class Leader:
    """Works one queue with one epoch."""

    def __init__(
        self,
        key: QueueKey,
        epoch: str,
        *,
        store: LeaderStore,
        directory: QueueDirectory,
        making: Callable[[QueueKey, str], Making],
        executor: Executor,
        clock: Clock,
        new_id: NewId,
        cycle_seconds: float,
    ) -> None:
        self.key = key
        self.epoch = epoch
        self._store = store
        self._directory = directory
        self._making = making(key, epoch)
        self._executor = executor
        self._clock = clock
        self._new_id = new_id
        self._cycle = cycle_seconds
        self._wake = asyncio.Event()
        self._pool: Pool | None = None
        self._queue: Queue | None = None
        self._position = "0-0"
        self._next_change: float | None = None
        self._told: set[str] = set()  # tickets, of those whose reasons were told in this round
        self._figures = Figures()
        self._strange = 0  # how often in a row the pool was not what is in Redis
        self._quiet_since = clock.monotonic()
        self._looked_at = clock.monotonic()

    @property
    def silent_seconds(self) -> float:
        """Since the last look at the queue that succeeded: about a second at most, when all is well."""
        return self._clock.monotonic() - self._looked_at

    def news(self) -> None:
        """Something entered, left, or was answered."""
        self._wake.set()

    async def run(self) -> None:
        """Works until cancelled, until another leads the queue, or until it has been empty for a while."""
        async with asyncio.TaskGroup() as group:
            making = group.create_task(self._making.run())
            try:
                await self._work()
            except Fenced:
                _log.info("another node leads a queue", game=self.key.game_id, queue=self.key.name)
            finally:
                making.cancel()

    async def _work(self) -> None:
        looked = tidied = told = float("-inf")
        retry = _RETRY_SECONDS
        while True:
            now = self._clock.monotonic()
            try:
                why = now - told >= _WHY_SECONDS
                looked = now
                await self._look(why=why)
                self._looked_at = self._clock.monotonic()
                told = now if why else told
                if now - tidied >= _TIDY_SECONDS:
                    tidied = now
                    if await self._tidy():
                        return
                retry = _RETRY_SECONDS
            except OofggError as error:
                # What was read and not done, claimed and not answered: what is in Redis will tell.
                self._pool = None
                _log.warning("a queue waits", queue=self.key.name, error=repr(error))
                # Reading a queue anew costs most: a Redis that is slow is asked for it ever less often.
                await asyncio.sleep(retry)
                retry = min(_LONGEST_RETRY_SECONDS, retry * 2)
                self._wake.set()
            await self._pause(looked, tidied)

    async def _pause(self, looked: float, tidied: float) -> None:
        """Until there is something to do."""
        now = self._clock.monotonic()
        until = tidied + _TIDY_SECONDS
        if self._next_change is not None:
            until = min(until, now + max(0.0, self._next_change - self._clock.now().timestamp()))
        if (deadline := self._making.next_deadline()) is not None:
            until = min(until, now + max(0.0, deadline - self._clock.now().timestamp()))
        earliest = looked + self._cycle
        if not self._wake.is_set() and await woken(self._wake, within=max(0.0, until - now, 0.001)):
            # What comes after a quiet time is looked at soon; what comes all the time, in cycles.
            earliest = max(earliest, self._clock.monotonic() + _GATHER_SECONDS)
        if (rest := earliest - self._clock.monotonic()) > 0:
            await asyncio.sleep(rest)
        self._wake.clear()

    async def _load(self, queue: Queue) -> Pool:
        """The pool as it is in Redis."""
        self._position = await self._store.feed_end(self.key)
        self._queue, self._next_change = queue, None
        pool = Pool(queue)
        self._figures = Figures((await self._store.read_stats([self.key]))[0][0])
        openings = await self._store.openings(self.key)
        changes = [
            *await self._store.waiting(self.key),
            *(opening for opening in openings.values() if opening is not None),
        ]
        await self._in_thread(lambda: self._apply(pool, changes))
        self._making.take(await self._store.matches(self.key))
        return pool

    async def _look(self, *, why: bool) -> None:
        """Takes in what is new, and makes the matches that there are."""
        self._position, news = await self._store.feed(self.key, self.epoch, self._position)
        queue = await self._directory.find(self.key)
        if queue is None:
            await self._close_down()
            return
        if self._pool is None:
            self._pool, news = await self._load(queue), []
        pool = self._pool
        if self._making.waits_for_answers:
            self._making.take(await self._store.matches(self.key, self._making.unanswered))
        news = await self._with_openings(news)
        if news:
            self._quiet_since = self._clock.monotonic()
        now = self._clock.now().timestamp()
        due = self._next_change is None or now >= self._next_change
        if not (news or why or due or queue != self._queue):
            return
        paused = self._making.paused
        found = await self._in_thread(lambda: self._step(pool, news, queue, now, why=why, paused=paused))
        self._queue, self._next_change = queue, found.next_change
        await self._dismiss(found.overdue, pb.TICKET_STATE_EXPIRED, pb.TICKET_REASON_WAITED_TOO_LONG)
        await self._dismiss(found.misfits, pb.TICKET_STATE_FAILED, pb.TICKET_REASON_DOES_NOT_FIT)
        for start in range(0, len(found.proposals), _CLAIMS_AT_ONCE):
            await self._claim(queue, found.proposals[start : start + _CLAIMS_AT_ONCE], now)
        if found.reasons:
            await self._store.tell_why(self.key, found.reasons)

    def _step(self, pool: Pool, news: Sequence[News], queue: Queue, now: float, *, why: bool, paused: bool) -> _Found:
        """All of the work on the pool; in a thread."""
        misfits = pool.redefine(queue) if queue != self._queue else []
        self._apply(pool, news)
        overdue = pool.overdue(now)
        proposals = [] if paused else pool.match(now)
        reasons = self._reasons(pool) if why else {}
        return _Found(proposals, overdue, misfits, pool.next_change(now), reasons)

    def _apply(self, pool: Pool, news: Iterable[News]) -> None:
        for each in news:
            if each.kind == "+":
                pool.add(ticket_of(each.data, each.enter_ms, self.key.name))
            elif each.kind == "-":
                pool.remove(each.subject)
            elif each.data:
                pool.open(opening_of(each.subject, each.data, each.enter_ms))
            else:
                pool.close(each.subject)

    def _reasons(self, pool: Pool) -> dict[str, Why]:
        """Of some tickets at a time, so that all have their turn."""
        reasons: dict[str, Why] = {}
        waiting = pool.ticket_ids()
        fresh = [ticket_id for ticket_id in waiting if ticket_id not in self._told]
        if not fresh:
            self._told.clear()
            fresh = waiting
        for ticket_id in fresh[:_WHY_AT_ONCE]:
            self._told.add(ticket_id)
            if (why := pool.why(ticket_id)) is not None:
                reasons[ticket_id] = why
        return reasons

    async def _with_openings(self, news: Sequence[News]) -> list[News]:
        """Entries of the feed, with the data of sessions that look for players."""
        sessions = sorted({each.subject for each in news if each.kind == "o"})
        if not sessions:
            return list(news)
        told = await self._store.openings(self.key, sessions)
        gone = [News("o", session, b"", 0) for session, opening in told.items() if opening is None]
        found = [opening for opening in told.values() if opening is not None]
        return [*(each for each in news if each.kind != "o"), *gone, *found]

    async def _claim(self, queue: Queue, proposals: Sequence[Proposal], now: float) -> None:
        claims: list[Claim] = []
        matches = []
        for proposal in proposals:
            match = stored_match(proposal, queue, now)
            matches.append(match)
            claims.append(
                Claim(
                    self._new_id(),
                    match.SerializeToString(),
                    len(match.match.players),
                    int(queue.acceptance * 1000) if queue.acceptance else None,
                    {ticket.ticket_id: len(ticket.players) for ticket in proposal.tickets},
                )
            )
        told = await self._store.claim(self.key, self.epoch, claims)
        again: list[Ticket | Opening] = []
        for proposal, claim, match, gone in zip(proposals, claims, matches, told, strict=True):
            if gone:
                again += [ticket for ticket in proposal.tickets if ticket.ticket_id not in gone]
                if proposal.opening:
                    again.append(proposal.opening)
                continue
            self._quiet_since = self._clock.monotonic()
            if claim.answer_ms is None:
                for ticket, waited in zip(proposal.tickets, match.tickets, strict=True):
                    self._figures.matched(waited.wait_seconds, now, len(ticket.players))
            self._making.claimed(claim.match_id, match, now + queue.acceptance if queue.acceptance else None)
        if again:
            await self._in_thread(lambda: self._give_back(again))
            self._next_change = None
            self._wake.set()

    def _give_back(self, subjects: Iterable[Ticket | Opening]) -> None:
        pool = self._pool
        if pool is None:
            return
        for subject in subjects:
            if isinstance(subject, Ticket):
                pool.add(subject)
            else:
                pool.open(subject)

    async def _dismiss(
        self, tickets: Sequence[Ticket], state: pb.TicketState.ValueType, reason: pb.TicketReason.ValueType
    ) -> None:
        if tickets:
            await self._store.dismiss(self.key, self.epoch, [ticket.ticket_id for ticket in tickets], state, reason)

    async def _close_down(self) -> None:
        """The queue was deleted: what waits in it leaves."""
        self._pool, self._queue = None, None
        waiting = await self._store.waiting(self.key)
        await self._store.dismiss(
            self.key,
            self.epoch,
            [each.subject for each in waiting],
            pb.TICKET_STATE_FAILED,
            pb.TICKET_REASON_QUEUE_DELETED,
        )
        for session_id in await self._store.openings(self.key):
            await self._store.open(self.key, session_id, b"")

    async def _tidy(self) -> bool:
        """What has to be looked after now and then. Whether there is nothing left to do here."""
        now = self._clock.now().timestamp()
        await self._store.expire_unwatched(self.key, self.epoch, int(now * 1000))
        if late := self._making.late(now):
            await self._store.overdue(self.key, self.epoch, late)
            self._making.take(await self._store.matches(self.key, late))
        if self._pool is not None and self._figures.changed(self._pool.players):
            await self._store.write_stats(self.key, self._figures.dump(now))
        await self._compare()
        if self._clock.monotonic() - self._quiet_since < _IDLE_SECONDS:
            return False
        return await self._store.release(self.key, self.epoch, only_idle=True)

    async def _compare(self) -> None:
        """Reads the queue anew when, in a quiet time, the pool is not what is in Redis: something was missed."""
        if self._pool is None or self._clock.monotonic() - self._quiet_since < _QUIET_SECONDS:
            return
        ((_, waiting),) = await self._store.read_stats([self.key])
        self._strange = self._strange + 1 if waiting != self._pool.tickets else 0
        if self._strange >= _STRANGE_TIMES:
            _log.warning("a pool is read anew", queue=self.key.name, here=self._pool.tickets, there=waiting)
            self._strange, self._pool = 0, None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
