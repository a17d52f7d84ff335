"""Matches of a queue on their way: from the claim to the session.

What has to be done is in Redis; this is the leader's memory of it, and the one that does it. Every step can be
repeated, by this leader or the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from pkg.clock import Clock
from pkg.errors import OofggError
from pkg.internal.v1 import ticket_pb2 as kept_pb
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken
from services.matchmaking.leading.publishing import Publishing
from services.matchmaking.seating import Refused, Seated, Seating
from services.matchmaking.stores.leading import Fenced, LeaderStore, QueueKey
from services.matchmaking.stores.tickets import MatchRecord
from services.matchmaking.ticket_messages import settled

_log = get_logger(__name__)

_AT_ONCE: Final = 100
_RETRY_FIRST_SECONDS: Final = 0.1
_RETRY_MOST_SECONDS: Final = 2.0
_PAUSE_FIRST_SECONDS: Final = 1.0
_PAUSE_MOST_SECONDS: Final = 30.0
_PUBLISH_SECONDS: Final = 1.0


class Making:
    """Makes sessions for the matches of one queue, with one epoch."""

    def __init__(
        self, key: QueueKey, epoch: str, *, store: LeaderStore, seating: Seating, publishing: Publishing, clock: Clock
    ) -> None:
        self._key = key
        self._epoch = epoch
        self._store = store
        self._seating = seating
        self._publishing = publishing
        self._clock = clock
        self._unanswered: dict[str, float] = {}  # when the time to answer is over
        self._ready: dict[str, kept_pb.StoredMatch] = {}
        self._wake = asyncio.Event()
        self._paused_until = float("-inf")
        self._refusals = 0

    @property
    def paused(self) -> bool:
        """Whether sessions were refused lately, so that no match should be made for now."""
        return self._clock.monotonic() < self._paused_until

    @property
    def waits_for_answers(self) -> bool:
        """Whether players are asked."""
        return bool(self._unanswered)

    @property
    def unanswered(self) -> list[str]:
        """Matches whose players are asked."""
        return list(self._unanswered)

    def next_deadline(self) -> float | None:
        """When the time to answer is over next, in seconds since the epoch."""
        return min(self._unanswered.values(), default=None)

    def late(self, now: float) -> list[str]:
        """Matches for which that is so."""
        return [match_id for match_id, deadline in self._unanswered.items() if deadline <= now]

    def claimed(self, match_id: str, match: kept_pb.StoredMatch, deadline: float | None) -> None:
        """A match was claimed; with a deadline, its players are asked first."""
        if deadline is not None:
            self._unanswered[match_id] = deadline
        else:
            self._ready[match_id] = match
            self._wake.set()

    def take(self, records: Mapping[str, MatchRecord]) -> None:
        """Goes on from what is in Redis."""
        for match_id, record in records.items():
            self._unanswered.pop(match_id, None)
            if record.state == "P":
                self._unanswered[match_id] = record.deadline_ms / 1000
            elif record.state == "A" and match_id not in self._ready:
                self._ready[match_id] = kept_pb.StoredMatch.FromString(record.data)
                self._wake.set()

    async def run(self) -> None:
        """Works until cancelled. Ends when another node leads the queue."""
        retry = _RETRY_FIRST_SECONDS
        published = float("-inf")
        while True:
            try:
                if self._ready:
                    await self._make(dict(list(self._ready.items())[:_AT_ONCE]))
                    retry = _RETRY_FIRST_SECONDS
                    published = float("-inf")
                elif self._clock.monotonic() - published >= _PUBLISH_SECONDS:
                    await self._publishing.drain(self._key)
                    published = self._clock.monotonic()
            except Fenced:
                return
            except OofggError as error:
                _log.warning("matches wait", queue=self._key.name, matches=len(self._ready), error=repr(error))
                await asyncio.sleep(retry)
                retry = min(_RETRY_MOST_SECONDS, 2 * retry)
                continue
            if not self._ready:
                await woken(self._wake, within=_PUBLISH_SECONDS)
                self._wake.clear()

    async def _make(self, matches: dict[str, kept_pb.StoredMatch]) -> None:
        new = {match_id: match for match_id, match in matches.items() if not match.opening_session_id}
        seated: dict[str, Seated | Refused] = {}
        if new:
            seated = await self._seating.open(self._key.game_id, new)
        for match_id, match in matches.items():
            if match.opening_session_id:
                seated[match_id] = await self._seating.take(match.opening_session_id, match.match.players)
        made: dict[str, bytes] = {}
        refused: list[str] = []
        for match_id, outcome in seated.items():
            match = matches[match_id]
            if isinstance(outcome, Seated):
                match = settled(match, outcome.session_id, outcome.node, outcome.join_deadline)
                made[match_id] = match.SerializeToString()
                continue
            refused.append(match_id)
            if match.opening_session_id:
                await self._store.open(self._key, match.opening_session_id, b"")
            else:
                self._refuse(outcome)
        if made:
            await self._store.settle(self._key, self._epoch, made)
            self._refusals = 0 if not refused else self._refusals
        if refused:
            await self._store.undo(self._key, self._epoch, refused)
        for match_id, match in matches.items():
            self._ready.pop(match_id, None)
            if match_id in made and match.opening_session_id:
                await self._fill(match)

    def _refuse(self, outcome: Refused) -> None:
        """Sessions are refused: no more matches for a while, longer each time."""
        if not self.paused:
            pause = min(_PAUSE_MOST_SECONDS, _PAUSE_FIRST_SECONDS * 2 ** min(self._refusals, 10))
            self._refusals += 1
            self._paused_until = self._clock.monotonic() + pause
            _log.warning(
                "sessions of a queue are refused",
                queue=self._key.name, reason=outcome.reason, message=outcome.message, pause_seconds=pause,
            )  # fmt: skip

    async def _fill(self, match: kept_pb.StoredMatch) -> None:
        """A session got players: it looks for fewer now."""
        session_id = match.opening_session_id
        opening = (await self._store.openings(self._key, [session_id]))[session_id]
        if opening is None:
            return
        kept = kept_pb.StoredOpening.FromString(opening.data)
        for player in match.match.players:
            for team in kept.seats:
                if player.ticket_id and team.team == player.team and team.seats:
                    team.seats -= 1
                    if player.role in team.roles:
                        team.roles.remove(player.role)
                    break
        teams = {player.user_id: player.team for player in match.match.players}
        kept.players.extend(match.players)
        kept.teams.extend(teams.get(player.user_id, 0) for player in match.players)
        kept.mu.extend(match.mu)
        left = any(team.seats for team in kept.seats)
        await self._store.open(self._key, session_id, kept.SerializeToString() if left else b"")
