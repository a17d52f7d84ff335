"""The history made again from the log of results, while matches are taken in: docs/architecture/events.md.

What the log says of a match is compared with what is served of it. Only matches count that the projection has been
through: those that are on their way come by themselves, those that were put aside come when they are replayed. What
differs is written in one transaction, which holds up nothing but deletions of accounts.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.message import DecodeError

from oofgg.events.v1 import match_pb2
from pkg.db.database import Connection, Database
from pkg.events.outbox import Event
from pkg.events.topics import MATCH_RESULTS, spec_of
from pkg.ids import NewId
from services.scoring.consumer import MATCH_FINISHED
from services.scoring.forget import NAMELESS, forgotten
from services.scoring.history.store import MatchStore, matches_of
from services.scoring.matches import Match
from services.scoring.projection import read_match
from services.scoring.rebuilding.from_history import Folded
from services.scoring.rebuilding.history_fold import Differences
from services.scoring.rebuilding.locks import STATEMENT_SECONDS, alone, held, working

_PAGE: Final = 200
# How long it is known which events were applied (`Projection`); no topic tells of older ones.
_KNOWN: Final = timedelta(days=spec_of(MATCH_RESULTS).retention_days + 3)

_SHADOW: Final = """
    create temporary table match_rebuilt (
        match_id uuid primary key, event_id uuid not null, payload bytea not null, occur_time timestamptz not null)
"""
_STAGE: Final = "insert into match_rebuilt values ($1, $2, $3, $4) on conflict do nothing"
_STAGED: Final = """
    select event_id::text, match_id::text, payload, occur_time from match_rebuilt
    where match_id > $1 order by match_id limit $2
"""
_APPLIED: Final = "select event_id::text from applied_event where topic = $1 and event_id = any($2::uuid[])"
_ASIDE: Final = "select key from dead_letter where topic = $1 and key = any($2::bytea[])"
_MEND: Final = """
    update match set game_id = $2, result_state = $3, label = $4, attributes = $5::jsonb, start_time = $6,
        finish_time = $7, queue = $8
    where match_id = $1
"""
# Deletions of accounts note them here first; taking matches in only reads it.
_HOLD: Final = "lock table forgotten in share row exclusive mode"

Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Mend:
    """What the history should say of a match."""

    match: Match
    event: Event
    missing: bool


class HistoryRebuilding:
    """Compares the history with a log, and mends it."""

    def __init__(self, database: Database, new_id: NewId) -> None:
        self._database = database
        self._matches = MatchStore(database)
        self._new_id = new_id

    async def verify(self, log: AsyncIterable[list[Event]], game_id: str | None, told: Told) -> Folded:
        """Compares. Raises Unavailable."""
        differences, count = Differences(), 0
        async with working(self._database) as connection:
            async for events in log:
                for page in _pages(events):
                    async with connection.transaction(isolation="repeatable_read", readonly=True):
                        _, looked = await self._differing(connection, page, game_id, differences)
                    count += looked
                    told(count)
        return Folded(count, differences)

    async def rebuild(self, log: AsyncIterable[list[Event]], game_id: str | None, told: Told) -> Folded:
        """Compares, and writes what differs. Raises Unavailable, also when somebody else is at it."""
        differences, count = Differences(), 0
        async with working(self._database) as connection:
            await alone(connection, "rebuilding")
            await connection.execute(_SHADOW)
            async for events in log:
                for page in _pages(events):
                    async with connection.transaction(isolation="repeatable_read"):
                        found, looked = await self._differing(connection, page, game_id, differences)
                        staged = [(one.match.match_id, one.event.event_id, one.event.payload, one.event.occur_time)
                                  for one in found]  # fmt: skip
                        await connection.executemany(_STAGE, staged, timeout=STATEMENT_SECONDS)
                    count += looked
                    told(count)
            if differences.count:
                async with held(connection, _HOLD):
                    await self._switch(connection, game_id)
        return Folded(count, differences)

    async def _switch(self, connection: Connection, game_id: str | None) -> None:
        after = "00000000-0000-0000-0000-000000000000"
        while rows := await connection.fetch(_STAGED, after, _PAGE, timeout=STATEMENT_SECONDS):
            after = rows[-1]["match_id"]
            events = [Event(event_id, MATCH_FINISHED, key, payload, time) for event_id, key, payload, time in rows]
            mends, _ = await self._differing(connection, events, game_id, Differences())
            for mend in mends:
                await self._mend(connection, mend)

    async def _mend(self, connection: Connection, mend: _Mend) -> None:
        match = mend.match
        if mend.missing:
            await self._matches.insert(connection, match)
            return
        await connection.execute(
            _MEND, match.match_id, match.game_id, match.result_state, match.label, json.dumps(match.attributes),
            match.start_time, match.finish_time, match.queue, timeout=STATEMENT_SECONDS,
        )  # fmt: skip
        await connection.execute("delete from participant where match_id = $1", match.match_id)
        await self._matches.insert_participants(connection, match)

    async def _differing(
        self, connection: Connection, events: Sequence[Event], game_id: str | None, differences: Differences
    ) -> tuple[list[_Mend], int]:
        """Matches of which something else is served than these events say, and how many were compared."""
        told = await self._projected(connection, [event for event in events if event.type == MATCH_FINISHED])
        pairs = [(match, event) for match, event in told if game_id in (None, match.game_id)]
        served = await matches_of(connection, [match.match_id for match, _ in pairs])
        players = {one.user_id for match, _ in pairs for one in match.participants}
        gone = await forgotten(connection, list(players))
        mends = []
        for match, event in pairs:
            had = served.get(match.match_id)
            wanted = self._as_kept(match, had, gone)
            if had is None or wanted != _comparable(had):
                differences.add(f"match {match.match_id}: " + ("not there" if had is None else f"{had}, not {wanted}"))
                mends.append(_Mend(wanted, event, had is None))
        return mends, len(pairs)

    async def _projected(self, connection: Connection, events: Sequence[Event]) -> list[tuple[Match, Event]]:
        """The matches in those of these events that the projection has been through, and did not put aside."""
        ids, keys = [event.event_id for event in events], [event.key.encode() for event in events]
        applied = {row[0] for row in await connection.fetch(_APPLIED, MATCH_RESULTS, ids)}
        aside = {row[0] for row in await connection.fetch(_ASIDE, MATCH_RESULTS, keys)}
        since = datetime.now(UTC) - _KNOWN
        found = []
        for event in events:
            if event.key.encode() in aside or not (event.event_id in applied or event.occur_time < since):
                continue
            try:
                found.append((read_match(match_pb2.MatchFinished.FromString(event.payload)), event))
            except (ValueError, DecodeError):
                continue  # it was put aside, and then discarded
        return found

    def _as_kept(self, match: Match, had: Match | None, gone: set[str]) -> Match:
        """The match without those whose accounts were deleted, under the ids that stand for them already."""
        seats = {one.seat: one for one in had.participants} if had else {}
        participants = []
        for one in match.participants:
            known = seats.get(one.seat)
            if known is not None and known.username == NAMELESS:
                participants.append(replace(one, user_id=known.user_id, username=NAMELESS))
            elif one.user_id in gone:
                participants.append(replace(one, user_id=self._new_id(), username=NAMELESS))
            else:
                participants.append(one)
        return _comparable(replace(match, participants=tuple(participants)))


def _comparable(match: Match) -> Match:
    """In one order, and without ratings, which are no part of the log."""
    bare = sorted((replace(one, rating=None) for one in match.participants), key=lambda one: one.seat)
    return replace(match, participants=tuple(bare))


def _pages(events: Sequence[Event]) -> list[Sequence[Event]]:
    return [events[first : first + _PAGE] for first in range(0, len(events), _PAGE)]
