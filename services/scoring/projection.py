"""Projects finished matches into history, standings and leaderboards: each once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from oofgg.events.v1 import match_pb2
from pkg.db.database import Connection
from pkg.ids import NewId
from services.scoring.forget import NAMELESS, forgotten
from services.scoring.leaderboards.feed import ResultFeed, Scored
from services.scoring.outcomes import Match, Participant, ResultState, outcomes
from services.scoring.store import MatchStore, StandingStore

_STATES = {
    match_pb2.RESULT_STATE_AGREED: ResultState.AGREED,
    match_pb2.RESULT_STATE_DISPUTED: ResultState.DISPUTED,
    match_pb2.RESULT_STATE_STATED: ResultState.STATED,
}


class MatchProjection:
    """Applies `oofgg.events.v1.MatchFinished`."""

    def __init__(self, matches: MatchStore, standings: StandingStore, feed: ResultFeed, new_id: NewId) -> None:
        """`new_id` makes the ids that stand for accounts which were deleted meanwhile."""
        self._matches = matches
        self._standings = standings
        self._feed = feed
        self._new_id = new_id

    async def apply(self, connection: Connection, event: match_pb2.MatchFinished) -> None:
        """Takes a match in, in the caller's transaction; one that was taken in before changes nothing.

        Raises ValueError for an event that makes no sense, which then belongs to the dead letters.
        """
        match = read_match(event)
        gone = await forgotten(connection, [participant.user_id for participant in match.participants])
        played = tuple(
            replace(each, user_id=self._new_id(), username=NAMELESS) if each.user_id in gone else each
            for each in match.participants
        )
        if not await self._matches.insert(connection, replace(match, participants=played)):
            return
        if match.result_state is not ResultState.DISPUTED:
            counted = tuple(participant for participant in match.participants if participant.user_id not in gone)
            await self._standings.count(connection, replace(match, participants=counted))
            scored = [Scored(one.user_id, one.username, one.score) for one in counted]
            await self._feed.count(connection, match.game_id, match.finish_time, scored)


def read_match(event: match_pb2.MatchFinished) -> Match:
    """The match in an event. Raises ValueError."""
    state = _STATES.get(event.result_state)
    if state is None:
        raise ValueError(f"match {event.match_id} has no result state")
    if not event.match_id or not event.game_id or not event.HasField("finish_time"):
        raise ValueError("a match needs an id, a game and the time it finished")
    participants = [
        Participant(p.seat, p.user_id, p.username, p.team, p.placement, p.score) for p in event.participants
    ]
    if state is not ResultState.DISPUTED:
        participants = [
            replace(participant, outcome=outcome)
            for participant, outcome in zip(participants, outcomes(participants), strict=True)
        ]
    return Match(
        match_id=event.match_id,
        game_id=event.game_id,
        result_state=state,
        participants=tuple(participants),
        label=event.label,
        attributes=dict(event.attributes),
        start_time=_datetime(event.start_time) if event.HasField("start_time") else None,
        finish_time=_datetime(event.finish_time),
    )


def _datetime(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
