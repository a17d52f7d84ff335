"""Carries decided results to the database: once each, whatever dies on the way.

FINISHING is in the session's log first. Then one transaction writes the result, unique per session, and what is
published. Then FINISHED is in the log. Whoever owns the session drives on from wherever it stands.

While PostgreSQL is away, results wait, each with pauses of its own. A result that PostgreSQL refuses for good ends as
DISPUTED after a few attempts: it counts for nobody, and the session is over.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pkg.clock import Clock
from pkg.db.database import Database
from pkg.db.faults import may_pass
from pkg.events.outbox import Event, append
from pkg.events.topics import MATCH_RESULTS
from pkg.ids import NewId
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken
from services.game.codec import match_finished
from services.game.engine.facts import State
from services.game.engine.results import Decision, ResultState, SeatResult
from services.game.engine.room import Room
from services.game.live import LiveSession
from services.game.metrics import GameMetrics
from services.game.replays import ReplayStore

_log = get_logger(__name__)

MATCH_FINISHED: Final = "oofgg.events.v1.MatchFinished"
_RETRY_SECONDS: Final = 0.5
_LONGEST_RETRY_SECONDS: Final = 15.0
_AT_ONCE: Final = 8
# How often a result may fail for a reason that is not the moment's.
_REFUSALS: Final = 3

_INSERT = """
insert into result (session_id, game_id, state, seats, start_time, finish_time)
values ($1, $2, $3, $4::jsonb, $5, $6) on conflict (session_id) do nothing returning 1
"""
_SELECT = "select state, seats from result where session_id = $1"


class ResultStore:
    """Results in PostgreSQL."""

    def __init__(self, database: Database, replays: ReplayStore, new_id: NewId) -> None:
        self._database = database
        self._replays = replays
        self._new_id = new_id

    async def record(self, room: Room, trace_parent: str) -> Decision:
        """Writes a session's decided result, what is published of it, and its log, unless that was done before.

        `trace_parent` is the span it belongs to, or empty. Returns the decision that counts: the one that was written
        first. Raises Unavailable when PostgreSQL is away, and whatever else keeps it from being written.
        """
        session = room.session
        decision, facts = session.decision, session.facts
        if decision is None or session.finish_time is None:
            raise AssertionError("only a decided result can be recorded")
        seats = None
        if decision.result is not None:
            seats = json.dumps([entry.as_list() for entry in decision.result])
        finish_time = _datetime(session.finish_time)
        async with self._database.transaction() as connection:
            new = await connection.fetchval(
                _INSERT, facts.session_id, facts.game_id, decision.state.value, seats,
                None if session.start_time is None else _datetime(session.start_time), finish_time,
            )  # fmt: skip
            if not new:
                row = await connection.fetchrow(_SELECT, facts.session_id)
                if row is None:
                    raise AssertionError("a result that conflicts must be there")
                kept = row["seats"]
                result = None if kept is None else tuple(map(SeatResult.from_list, json.loads(kept)))
                return Decision(ResultState(row["state"]), result)
            event = Event(
                event_id=self._new_id(),
                type=MATCH_FINISHED,
                key=facts.session_id,
                payload=match_finished(session).SerializeToString(),
                occur_time=finish_time,
                trace_parent=trace_parent,
            )
            await append(connection, event, [MATCH_RESULTS])
            # Last, for it costs most: nothing is packed for a result that cannot be written.
            recording = await self._replays.record(room)
            if recording is not None:
                await self._replays.keep(connection, room, recording)
        return decision


@dataclass(slots=True)
class _Waiting:
    """A session whose result is on its way."""

    live: LiveSession
    at: float
    """When it is tried next."""
    running: bool = False
    attempts: int = 0
    refusals: int = 0


class Finisher:
    """Drives sessions from FINISHING to FINISHED."""

    def __init__(self, results: ResultStore, clock: Clock, metrics: GameMetrics) -> None:
        self._results = results
        self._clock = clock
        self._metrics = metrics
        self._waiting: dict[str, _Waiting] = {}
        self._wake = asyncio.Event()

    def decided(self, live: LiveSession) -> None:
        """The result of a session is decided: see to it in the background, should nobody wait for it."""
        known = self._waiting.get(live.session_id)
        if known is None or known.live is not live:
            self._waiting[live.session_id] = _Waiting(live, self._clock.monotonic())
            self._wake.set()

    async def drive(self, live: LiveSession) -> None:
        """Carries a session on to FINISHED if its result is decided. Can be repeated.

        Raises Unavailable, or what keeps the result from being written.
        """
        async with live.finishing:
            room = live.room
            session = room.session
            if session.state is State.FINISHING:
                await live.confirmed(room.outstanding)
                session.decision = await self._results.record(room, live.trace_parent)
                room.apply(session.finished(), self._clock.now().timestamp())
                live.touch()
            if session.over:
                await live.confirmed(room.outstanding)

    async def run(self) -> None:
        """Drives what was decided until cancelled, several at a time: one that cannot be written holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                now = self._clock.monotonic()
                self._metrics.results_waiting.set(len(self._waiting))
                free = _AT_ONCE - sum(each.running for each in self._waiting.values())
                idle = sorted((each for each in self._waiting.values() if not each.running), key=lambda each: each.at)
                for waiting in idle[:free]:
                    if waiting.at <= now:
                        waiting.running = True
                        tasks.create_task(self._attempt(waiting), name=f"finish {waiting.live.session_id}")
                soonest = idle[0].at - now if free and idle else _LONGEST_RETRY_SECONDS
                if soonest > 0:
                    await woken(self._wake, within=soonest)
                else:
                    await asyncio.sleep(0)

    async def _attempt(self, waiting: _Waiting) -> None:
        live = waiting.live
        try:
            if waiting.refusals >= _REFUSALS:
                await self._refuse(live)
            else:
                await self.drive(live)
        except Exception as error:
            if live.lost is None:
                self._postpone(waiting, error)
                return
        finally:
            waiting.running = False
            self._wake.set()
        if self._waiting.get(live.session_id) is waiting:
            del self._waiting[live.session_id]

    def _postpone(self, waiting: _Waiting, error: Exception) -> None:
        pause = min(_LONGEST_RETRY_SECONDS, _RETRY_SECONDS * 2 ** min(waiting.attempts, 10))
        if may_pass(error):
            _log.info("a result waits", session_id=waiting.live.session_id, error=repr(error), retry_seconds=pause)
        else:
            waiting.refusals += 1
            pause = _RETRY_SECONDS
            _log.warning("a result cannot be written", session_id=waiting.live.session_id, error=repr(error))
        waiting.attempts += 1
        waiting.at = self._clock.monotonic() + pause

    async def _refuse(self, live: LiveSession) -> None:
        """Ends a session whose result cannot be written: it counts for nobody. Raises Unavailable."""
        async with live.finishing:
            room = live.room
            session = room.session
            if session.state is not State.FINISHING:
                return
            await live.confirmed(room.outstanding)
            refused = session.decision
            session.decision = Decision(ResultState.DISPUTED, None)
            try:
                session.decision = await self._results.record(room, live.trace_parent)
            except Exception as error:
                if may_pass(error):
                    session.decision = refused
                    raise
                _log.exception("a session ends without a result in the database", session_id=live.session_id)
            _log.error("a result is refused and counts for nobody", session_id=live.session_id, result=repr(refused))
            self._metrics.results_refused.inc()
            room.apply(session.finished(), self._clock.now().timestamp())
            live.touch()


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
