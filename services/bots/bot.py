"""One player: sends at its rate, sees what comes, and tells both to the check of its session."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

import oofgg
from oofgg import Delivery
from services.bots.breach import Breach, Promise, What
from services.bots.figures import Figures, Outage
from services.bots.payload import KIND, Mark, decode
from services.bots.plan import Plan, choose
from services.bots.promises import SessionCheck

# RELIABLE commands that have not come back; then the bot waits instead of sending.
_MOST_AWAY: Final = 1_000
_FLUSH_EVERY: Final = 1.0
_FLUSH_MORE: Final = 10.0
# Seconds between two misdeeds of a bot, and how long one takes.
_BEHAVES: Final = (2.0, 5.0)
_STAYS_AWAY: Final = (0.0, 1.0)
_DOES_NOT_READ: Final = (1.0, 3.0)

# What a player who comes back tries again after; the SDK does that by itself while a stream is to be kept.
_NOT_REACHED: Final = (oofgg.errors.Unavailable, oofgg.errors.DeadlineExceeded)


class _Dropped(Exception):
    """The bot cuts its stream."""


class Bot:
    """Plays one seat from its beginning to the session's end."""

    def __init__(
        self, plan: Plan, client: oofgg.Client, session: oofgg.Session, check: SessionCheck, figures: Figures,
        chance: random.Random, *, drops: bool = False, slow: bool = False, watches: int = 0,
    ) -> None:  # fmt: skip
        """`watches`: it is a spectator, the one of that number in its session."""
        self.client = client
        self.session = session
        self.seat = 0
        """Negative for a spectator: those have none."""
        self.ready = asyncio.Event()
        """It has a stream, and all seats are taken."""
        self.done = asyncio.Event()
        """Everything it sent is safe, the platform has said."""
        self.failed: oofgg.OofggError | None = None
        self._plan = plan
        self._check = check
        self._figures = figures
        self._chance = chance
        self._drops = drops
        self._slow = slow
        self._watches = watches
        self._go = asyncio.Event()
        self._stop = asyncio.Event()
        self._began = 0.0
        self._play: oofgg.PlaySession | None = None
        self._back_by = 0.0
        self._seq = 0
        self._reliable = 0
        self._safe = 0
        self._volatile = 0
        self._latest = {f"key-{n}": 0 for n in range(plan.keys)}
        self._away: deque[tuple[int, float]] = deque()

    @property
    def connected(self) -> bool:
        """Whether it has an open stream."""
        return self._play is not None and self._play.connected

    @property
    def misbehaves(self) -> bool:
        """Whether its own times say nothing about the platform."""
        return self._drops or self._slow

    def go(self, began: float) -> None:
        """Begin to send."""
        self._began = began
        self._go.set()

    def stop(self) -> None:
        """Send the last of everything."""
        self._stop.set()

    def waiting(self, now: float) -> Outage | None:
        """How long its oldest command has not come back, if one has not."""
        if not self._away or self.misbehaves:
            return None
        number, sent = self._away[0]
        return self._outage(number, sent, now)

    async def run(self) -> None:
        """Plays until the session is over. Failures of the platform are breaches, everything else is raised."""
        try:
            while await self._stream():
                await asyncio.sleep(self._chance.uniform(*_STAYS_AWAY))
        except oofgg.OofggError as error:
            self.failed = error
        except TimeoutError:
            self.failed = oofgg.errors.DeadlineExceeded(
                f"not safe {self._plan.reconnect_for + _FLUSH_MORE:.0f} s later"
            )
        finally:
            for event in (self.ready, self.done):
                event.set()
        if self.failed is not None:
            self.breach(Promise.STAYS, f"it was thrown out: {self.failed!r}: {self.failed}")
            self._check.left(self.seat)

    def breach(self, promise: Promise, evidence: str) -> None:
        """A promise to this bot was broken."""
        self._check.broken(Breach(promise, self.session.session_id, self.seat, self._seq, evidence))

    async def _stream(self) -> bool:
        """Plays as long as it keeps its stream; whether it comes back for another."""
        join = self.client.spectate if self._watches else self.client.play
        play = join(self.session, after_seq=self._seq, reconnect_for=self._plan.reconnect_for)
        loop = asyncio.get_running_loop()
        opened, again, failures = False, False, list[Exception]()
        try:
            async with play, asyncio.TaskGroup() as tasks:
                self._play, opened = play, True
                if not self.seat:
                    self.seat = play.seat or -self._watches
                    self._check.joined(self.seat)
                beside = [
                    tasks.create_task(_while_open(each)) for each in (self._send(play), self._keep_flushing(play))
                ]
                await self._read(play)
                for each in beside:
                    each.cancel()
        except* _Dropped:
            again = True
            self._figures.drops += 1
            self._back_by = loop.time() + self._plan.reconnect_for
        except* (oofgg.OofggError, TimeoutError) as group:
            failures += group.exceptions
        self._check.abandoned(self.seat, self._safe + 1, self._reliable)
        if self._drops:
            self._away.clear()
        if failures and (opened or loop.time() > self._back_by or not isinstance(failures[0], _NOT_REACHED)):
            raise failures[0]
        return again or bool(failures)

    async def _read(self, play: oofgg.PlaySession) -> None:
        loop = asyncio.get_running_loop()
        while True:
            until = loop.time() + self._chance.uniform(*_BEHAVES) if self.misbehaves else None
            try:
                async with asyncio.timeout_at(until) as patience:
                    async for event in play:
                        self._see(event, loop.time())
                    return
            except TimeoutError:
                if not patience.expired():
                    raise
            if self._stop.is_set() or not self._go.is_set():
                continue
            if self._drops:
                raise _Dropped
            await asyncio.sleep(self._chance.uniform(*_DOES_NOT_READ))

    def _see(self, event: oofgg.Event, now: float) -> None:
        if isinstance(event, oofgg.LogReset):
            self._figures.log_resets += 1
            self._away.clear()  # nobody knows what of it was lost
            self._check.reset(self.seat, event.seq)
        elif isinstance(event, oofgg.Message) and event.kind == KIND:
            self._see_command(event, now)
        elif event.seq:
            self._check.reliable(self.seat, event.seq, _what(event))
            if isinstance(event, oofgg.Presence):
                self._see_presence(event)
        self._seq = event.seq or self._seq

    def _see_command(self, event: oofgg.Message, now: float) -> None:
        mark = decode(event.data)
        if event.seq:
            self._figures.seen[Delivery.RELIABLE] += 1
            self._check.reliable(self.seat, event.seq, What("command", event.seat, mark.number))
            if event.seat == self.seat:
                self._came_back(mark, now)
        elif event.key:
            self._figures.seen[Delivery.LATEST] += 1
            self._check.latest(self.seat, event.seat, event.key, mark.number)
        else:
            self._figures.seen[Delivery.VOLATILE] += 1
            self._check.volatile(self.seat, event.seat, mark.number)

    def _see_presence(self, event: oofgg.Presence) -> None:
        again = event.change in (oofgg.PresenceChange.RECONNECTED, oofgg.PresenceChange.REPLACED)
        if again and event.participant.seat == self.seat:
            self._figures.resumes += 1

    def _came_back(self, mark: Mark, now: float) -> None:
        while self._away and self._away[0][0] <= mark.number:
            self._away.popleft()
        if not self.misbehaves:
            self._figures.came_back(self._outage(mark.number, mark.sent, now))

    def _outage(self, number: int, sent: float, now: float) -> Outage:
        return Outage(now - sent, sent - self._began, self.session.session_id, self.seat, number)

    async def _send(self, play: oofgg.PlaySession) -> None:
        await play.started()
        self.ready.set()
        await self._go.wait()
        if self._watches:
            await self._stop.wait()
            self.done.set()
            return
        loop = asyncio.get_running_loop()
        pause = 1 / self._plan.rate
        due = loop.time() + self._chance.uniform(0, pause)
        while not self._stop.is_set():
            if due > loop.time() and await _set_within(self._stop, due - loop.time()):
                break
            # Who could not send for a while does not catch up.
            due = max(due + pause, loop.time() - 1)
            await self._say(play, choose(self._plan.mix, self._chance))
        for key in self._latest:
            await self._say(play, Delivery.LATEST, key)
        await self._flush(play)
        self.done.set()

    async def _keep_flushing(self, play: oofgg.PlaySession) -> None:
        await self._go.wait()
        while not await _set_within(self._stop, self._chance.uniform(0.5, 1.5) * _FLUSH_EVERY):
            await self._flush(play)

    async def _flush(self, play: oofgg.PlaySession) -> None:
        number = self._reliable
        async with asyncio.timeout(self._plan.reconnect_for + _FLUSH_MORE):
            await play.flush()
        self._safe = number
        self._check.acknowledged(self.seat, number)

    async def _say(self, play: oofgg.PlaySession, delivery: Delivery, key: str = "") -> None:
        now = asyncio.get_running_loop().time()
        if delivery is Delivery.RELIABLE:
            if len(self._away) >= _MOST_AWAY:
                self._figures.skipped += 1
                return
            self._reliable += 1
            number = self._reliable
            self._away.append((number, now))
        elif delivery is Delivery.LATEST:
            key = key or self._chance.choice(list(self._latest))
            self._latest[key] += 1
            number = self._latest[key]
            self._check.newest(self.seat, key, number)
        else:
            self._volatile += 1
            number = self._volatile
        self._figures.sent[delivery] += 1
        data = Mark(number, now).encode(self._plan.payload)
        async with asyncio.timeout(self._plan.reconnect_for + _FLUSH_MORE):
            await play.send(data, kind=KIND, delivery=delivery, key=key)


async def _while_open(doing: Coroutine[Any, Any, None]) -> None:
    """Ends with the stream: what ended it, its reader is told."""
    with contextlib.suppress(oofgg.OofggError):
        await doing


def _what(event: oofgg.Event) -> What:
    if isinstance(event, oofgg.Presence):
        return What(event.change, event.participant.seat)
    if isinstance(event, oofgg.StateChange):
        return What(event.state, event.seat)
    return What(type(event).__name__, event.seat)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
