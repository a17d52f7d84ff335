"""HistoryService on the wire."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from google.protobuf.json_format import MessageToJson

from oofgg.v1 import history_pb2 as pb
from oofgg.v1 import rating_pb2, session_pb2
from pkg.auth.revocations import Revocations
from pkg.errors import NotFound, Reason, Unavailable, invalid_field
from pkg.games import GameDirectory
from pkg.ids import is_id
from pkg.pagination import decode_time_token, decode_token, encode_time_token, encode_token, page_size
from pkg.rpc.call import Call, StreamCall
from pkg.wakes import woken
from services.scoring.history.feed import MatchFeed, Position
from services.scoring.history.store import MatchStore
from services.scoring.matches import Match, MatchFilter, Outcome, RatingView, ResultState

_OUTCOMES: Final = {
    Outcome.WIN: pb.MATCH_OUTCOME_WIN,
    Outcome.LOSS: pb.MATCH_OUTCOME_LOSS,
    Outcome.DRAW: pb.MATCH_OUTCOME_DRAW,
}
_STATES: Final = {
    ResultState.AGREED: session_pb2.RESULT_STATE_AGREED,
    ResultState.DISPUTED: session_pb2.RESULT_STATE_DISPUTED,
    ResultState.STATED: session_pb2.RESULT_STATE_STATED,
}
_OUTCOMES_BY_NUMBER: Final = {number: outcome for outcome, number in _OUTCOMES.items()}
_STATES_BY_NUMBER: Final = {number: state for state, number in _STATES.items()}
_AT_ONCE: Final = 100
_QUIET_SECONDS: Final = 5.0
# A match is told of once no earlier transaction is open: mostly at once, and soon after.
_AGAIN_SECONDS: Final = 0.1
_MOST: Final = 2**63 - 1


class HistoryServicer:
    """What was played."""

    def __init__(
        self,
        matches: MatchStore,
        feed: MatchFeed,
        games: GameDirectory,
        revocations: Revocations,
        draining: asyncio.Event,
    ) -> None:
        self._matches = matches
        self._feed = feed
        self._games = games
        self._revocations = revocations
        self._draining = draining

    async def list_matches(self, request: pb.ListMatchesRequest, call: Call) -> pb.ListMatchesResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        wanted = _filter(request.filter, request.user_id)
        size = page_size(request.page_size)
        found = await self._matches.page(request.game_id, wanted, decode_time_token(request.page_token), size + 1)
        response = pb.ListMatchesResponse(matches=[_match(match) for match in found[:size]])
        if found[size:]:
            last = found[size - 1]
            response.next_page_token = encode_time_token(last.finish_time, last.match_id)
        return response

    async def get_match(self, request: pb.GetMatchRequest, call: Call) -> pb.GetMatchResponse:
        match = await self._matches.by_id(request.match_id) if is_id(request.match_id) else None
        if match is None:
            raise NotFound(
                Reason.MATCH_NOT_FOUND,
                "There is no such match; one that has just finished may take a moment.",
                match_id=request.match_id,
            )
        await self._games.require_access(call.caller, match.game_id, call)
        return pb.GetMatchResponse(match=_match(match))

    async def watch_matches(self, request: pb.WatchMatchesRequest, call: StreamCall) -> None:
        await self._games.require_access(call.caller, request.game_id, call)
        position = _position(request.position)
        if position is None:
            position = (0, 0) if request.from_start else await self._feed.now()
        quiet = 0.0
        with self._feed.watching(request.game_id) as news:
            while True:
                heard = news.is_set()
                news.clear()
                self._require_open(call)
                told = False
                while found := await self._feed.after(request.game_id, position, _AT_ONCE):
                    matches = await self._matches.by_ids([match_id for _, match_id in found])
                    for position, match_id in found:
                        if match := matches.get(match_id):
                            await call.write(_news(position, match))
                            told = True
                if not told and quiet >= _QUIET_SECONDS:
                    await call.write(_news(position, None))
                    quiet = 0.0
                wait = _AGAIN_SECONDS if heard and not told else _QUIET_SECONDS
                quiet = 0.0 if told else quiet + wait
                await woken(news, within=wait)

    async def export_matches(self, request: pb.ExportMatchesRequest, call: StreamCall) -> None:
        await self._games.require_access(call.caller, request.game_id, call)
        wanted = _filter(request.filter, "")
        after: tuple[datetime, str] | None = None
        while found := await self._matches.page(request.game_id, wanted, after, _AT_ONCE):
            self._require_open(call)
            lines = [MessageToJson(_match(match), indent=None, preserving_proto_field_name=True) for match in found]
            await call.write(pb.ExportMatchesResponse(ndjson="".join(f"{line}\n" for line in lines)))
            after = found[-1].finish_time, found[-1].match_id

    def _require_open(self, call: StreamCall) -> None:
        """Raises Unavailable(SHUTTING_DOWN), or what ended the login of the caller."""
        if self._draining.is_set():
            raise Unavailable(
                Reason.SHUTTING_DOWN, "This node is shutting down. Go on from the last position.", retry_after=0.1
            )
        if refusal := self._revocations.refusal(call.caller.login_id):
            raise refusal


def _filter(told: pb.MatchFilter, user_id: str) -> MatchFilter:
    player = told.user_id or user_id or None
    for name, value in (("user_id", player), ("filter.opponent_user_id", told.opponent_user_id)):
        if value and not is_id(value):
            raise invalid_field(name, "is not the id of an account")
    if player is None and (told.opponent_user_id or told.outcome):
        raise invalid_field("filter.user_id", "is needed for an opponent or an outcome")
    return MatchFilter(
        user_id=player,
        opponent_id=told.opponent_user_id or None,
        outcome=_OUTCOMES_BY_NUMBER.get(told.outcome),
        result_state=_STATES_BY_NUMBER.get(told.result_state),
        queue=told.queue if told.HasField("queue") else None,
        label=told.label or None,
        from_time=told.from_time.ToDatetime(UTC) if told.HasField("from_time") else None,
        until_time=told.until_time.ToDatetime(UTC) if told.HasField("until_time") else None,
    )


def _position(token: str) -> Position | None:
    key = decode_token(token, int, int)
    if key is None:
        return None
    transaction, number = int(key[0]), int(key[1])
    if not (0 <= transaction <= _MOST and 0 <= number <= _MOST):
        raise invalid_field("position", "is not one that this call gave out")
    return transaction, number


def _news(position: Position, match: Match | None) -> pb.WatchMatchesResponse:
    return pb.WatchMatchesResponse(match=_match(match) if match else None, position=encode_token(list(position)))


def _match(match: Match) -> pb.Match:
    message = pb.Match(
        match_id=match.match_id,
        game_id=match.game_id,
        result_state=_STATES[match.result_state],
        label=match.label,
        attributes=match.attributes,
        queue=match.queue,
        participants=[
            pb.MatchParticipant(
                seat=p.seat,
                user_id=p.user_id,
                username=p.username,
                team=p.team,
                placement=p.placement,
                score=p.score,
                outcome=_OUTCOMES[p.outcome] if p.outcome else pb.MATCH_OUTCOME_UNSPECIFIED,
                rating_change=pb.RatingChange(
                    before=_rating(p.user_id, p.rating.before), after=_rating(p.user_id, p.rating.after)
                )
                if p.rating
                else None,
                stats=p.stats,
            )
            for p in match.participants
        ],
    )
    if match.start_time is not None:
        message.start_time.FromDatetime(match.start_time)
    message.finish_time.FromDatetime(match.finish_time)
    return message


def _rating(user_id: str, view: RatingView) -> rating_pb2.Rating:
    return rating_pb2.Rating(
        user_id=user_id,
        mu=view.mu,
        sigma=view.sigma,
        ordinal=view.mu - 3 * view.sigma,
        matches=view.matches,
        provisional=view.provisional,
    )
