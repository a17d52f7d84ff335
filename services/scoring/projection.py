"""Projects finished matches, each once: into history, standings, leaderboards, ratings, and onto their game's topic."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from oofgg.events.v1 import match_pb2
from pkg.db.database import Connection
from pkg.events.outbox import Event, append
from pkg.ids import NewId
from services.scoring.forget import NAMELESS, forgotten
from services.scoring.history.feed import announce
from services.scoring.history.store import MatchStore
from services.scoring.leaderboards.feed import ResultFeed, Scored
from services.scoring.matches import Match, Participant, RatingView, ResultState, outcomes
from services.scoring.ratings.rules import Rating, RatingRules, beginning, rate
from services.scoring.ratings.store import RatingStore
from services.scoring.standings.store import StandingStore

_STATES = {
    match_pb2.RESULT_STATE_AGREED: ResultState.AGREED,
    match_pb2.RESULT_STATE_DISPUTED: ResultState.DISPUTED,
    match_pb2.RESULT_STATE_STATED: ResultState.STATED,
}


class MatchProjection:
    """Applies `oofgg.events.v1.MatchFinished`."""

    def __init__(
        self, matches: MatchStore, standings: StandingStore, ratings: RatingStore, feed: ResultFeed, new_id: NewId
    ) -> None:
        """`new_id` makes the ids that stand for accounts which were deleted meanwhile."""
        self._matches = matches
        self._standings = standings
        self._ratings = ratings
        self._feed = feed
        self._new_id = new_id

    async def apply(self, connection: Connection, told: Event) -> None:
        """Takes a match in, in the caller's transaction; one that was taken in before changes nothing.

        Raises ValueError or DecodeError for an event that makes no sense, which then belongs to the dead letters.
        """
        event = match_pb2.MatchFinished.FromString(told.payload)
        match = read_match(event)
        gone = await forgotten(connection, [participant.user_id for participant in match.participants])
        played = tuple(
            replace(each, user_id=self._new_id(), username=NAMELESS) if each.user_id in gone else each
            for each in match.participants
        )
        match = replace(match, participants=played)
        if match.result_state is ResultState.DISPUTED:
            if not await self._matches.insert(connection, match):
                return
        else:
            # Before the match gets its number: whoever shares a player waits here. So numbers are in the order in
            # which ratings moved, and the history can be rated again (`folds`).
            rules, ratings = await self._begin(connection, match)
            if not await self._matches.insert(connection, match, rules):
                return
            counted = tuple(participant for participant in played if participant.username != NAMELESS)
            await self._standings.count(connection, replace(match, participants=counted))
            scored = [Scored(one.user_id, one.username, one.score) for one in counted]
            await self._feed.count(connection, match.game_id, match.finish_time, scored)
            match = await self._rate(connection, match, rules, ratings)
        await announce(connection, match.game_id)
        if event.match_history_topic:
            # The same id as the event it follows from: should it ever be taken in again, it is not published again.
            history = replace(told, payload=_published(event, match).SerializeToString())
            await append(connection, history, [event.match_history_topic])

    async def _begin(self, connection: Connection, match: Match) -> tuple[RatingRules, dict[str, Rating]]:
        """How the match is rated, and the ratings of those who played, locked."""
        rules = await self._ratings.rules(match.game_id, match.queue, connection)
        users = [each.user_id for each in match.participants if each.username != NAMELESS]
        return rules, await self._ratings.lock(connection, match, users, rules)

    async def _rate(
        self, connection: Connection, match: Match, rules: RatingRules, ratings: dict[str, Rating]
    ) -> Match:
        """The match with what it did to the ratings of those who played."""
        # Who is gone has taken part, and has no rating any more.
        strangers = {each.user_id: beginning(rules) for each in match.participants if each.user_id not in ratings}
        rated = rate(match.participants, {**ratings, **strangers}, rules)
        changes = {user: change for user, change in rated.items() if user in ratings}
        if not changes:
            return match
        await self._ratings.change(connection, match, changes, rules)
        return replace(
            match,
            participants=tuple(
                replace(each, rating=changes[each.user_id].shown(rules)) if each.user_id in changes else each
                for each in match.participants
            ),
        )


def _published(event: match_pb2.MatchFinished, match: Match) -> match_pb2.MatchFinished:
    """What the game's developer is told: with the changes of ratings, without accounts that are gone."""
    by_seat = {participant.seat: participant for participant in match.participants}
    message = match_pb2.MatchFinished()
    message.CopyFrom(event)
    message.match_history_topic = ""
    for told in message.participants:
        known = by_seat[told.seat]
        told.user_id, told.username = known.user_id, known.username
        if known.rating is not None:
            told.rating_change.before.CopyFrom(_rating(known.rating.before))
            told.rating_change.after.CopyFrom(_rating(known.rating.after))
    return message


def _rating(view: RatingView) -> match_pb2.Rating:
    return match_pb2.Rating(mu=view.mu, sigma=view.sigma, matches=view.matches, provisional=view.provisional)


def read_match(event: match_pb2.MatchFinished) -> Match:
    """The match in an event. Raises ValueError."""
    state = _STATES.get(event.result_state)
    if state is None:
        raise ValueError(f"match {event.match_id} has no result state")
    if not event.match_id or not event.game_id or not event.HasField("finish_time"):
        raise ValueError("a match needs an id, a game and the time it finished")
    participants = [
        Participant(p.seat, p.user_id, p.username, p.team, p.placement, p.score, stats=dict(p.stats))
        for p in event.participants
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
        queue=event.queue,
    )


def _datetime(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(UTC)
