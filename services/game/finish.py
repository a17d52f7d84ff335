"""Carries decided results to the database: once each, whatever dies on the way.

FINISHING is in the session's log first. Then one transaction writes the result, unique per session, and what is
published. Then FINISHED is in the log. Whoever owns the session drives on from wherever it stands.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Final

from pkg.clock import Clock
from pkg.db.database import Database
from pkg.errors import OofggError
from pkg.events.outbox import Event, append
from pkg.events.topics import MATCH_RESULTS
from pkg.ids import NewId
from pkg.telemetry.logs import get_logger
from services.game.codec import match_finished
from services.game.engine.facts import State
from services.game.engine.results import Decision, ResultState, SeatResult
from services.game.engine.room import Room
from services.game.live import LiveSession
from services.game.replays import ReplayStore

_log = get_logger(__name__)

MATCH_FINISHED: Final = "oofgg.events.v1.MatchFinished"
_RETRY_SECONDS: Final = 0.5

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
        first. Raises Unavailable.
        """
        session = room.session
        decision, facts = session.decision, session.facts
        if decision is None or session.finish_time is None:
            raise AssertionError("only a decided result can be recorded")
        seats = None
        if decision.result is not None:
            seats = json.dumps([entry.as_list() for entry in decision.result])
        finish_time = _datetime(session.finish_time)
        recording = await self._replays.record(room)
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
            if recording is not None:
                await self._replays.keep(connection, room, recording)
        return decision


class Finisher:
    """Drives sessions from FINISHING to FINISHED."""

    def __init__(self, results: ResultStore, clock: Clock) -> None:
        self._results = results
        self._clock = clock
        self._waiting: dict[str, LiveSession] = {}
        self._wake = asyncio.Event()

    def decided(self, live: LiveSession) -> None:
        """The result of a session is decided: see to it in the background, should nobody wait for it."""
        self._waiting[live.session_id] = live
        self._wake.set()

    async def drive(self, live: LiveSession) -> None:
        """Carries a session on to FINISHED if its result is decided. Raises Unavailable; can be repeated."""
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
        """Drives what was decided until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            failed = False
            for session_id, live in list(self._waiting.items()):
                try:
                    await self.drive(live)
                except OofggError as error:
                    if live.lost is None:
                        failed = True
                        _log.info("a result waits", session_id=session_id, reason=error.reason)
                        continue
                self._waiting.pop(session_id, None)
            if failed:
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
