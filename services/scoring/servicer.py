"""HistoryService on the wire."""

from __future__ import annotations

from oofgg.v1 import history_pb2, rating_pb2, session_pb2
from pkg.errors import NotFound, Reason, invalid_field
from pkg.games import GameDirectory
from pkg.ids import is_id
from pkg.pagination import decode_time_token, encode_time_token, page_size
from pkg.rpc.call import Call
from services.scoring.outcomes import Match, Outcome, RatingView, ResultState
from services.scoring.store import MatchStore

_OUTCOMES = {
    Outcome.WIN: history_pb2.MATCH_OUTCOME_WIN,
    Outcome.LOSS: history_pb2.MATCH_OUTCOME_LOSS,
    Outcome.DRAW: history_pb2.MATCH_OUTCOME_DRAW,
}
_STATES = {
    ResultState.AGREED: session_pb2.RESULT_STATE_AGREED,
    ResultState.DISPUTED: session_pb2.RESULT_STATE_DISPUTED,
    ResultState.STATED: session_pb2.RESULT_STATE_STATED,
}


class HistoryServicer:
    """What was played."""

    def __init__(self, matches: MatchStore, games: GameDirectory) -> None:
        self._matches = matches
        self._games = games

    async def list_matches(
        self, request: history_pb2.ListMatchesRequest, call: Call
    ) -> history_pb2.ListMatchesResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        if request.user_id and not is_id(request.user_id):
            raise invalid_field("user_id", "is not the id of an account")
        size = page_size(request.page_size)
        found = await self._matches.page(
            request.game_id, request.user_id or None, decode_time_token(request.page_token), size + 1
        )
        response = history_pb2.ListMatchesResponse(matches=[_match(match) for match in found[:size]])
        if found[size:]:
            last = found[size - 1]
            response.next_page_token = encode_time_token(last.finish_time, last.match_id)
        return response

    async def get_match(self, request: history_pb2.GetMatchRequest, call: Call) -> history_pb2.GetMatchResponse:
        match = await self._matches.by_id(request.match_id) if is_id(request.match_id) else None
        if match is None:
            raise NotFound(
                Reason.MATCH_NOT_FOUND,
                "There is no such match; one that has just finished may take a moment.",
                match_id=request.match_id,
            )
        await self._games.require_access(call.caller, match.game_id, call)
        return history_pb2.GetMatchResponse(match=_match(match))


def _match(match: Match) -> history_pb2.Match:
    message = history_pb2.Match(
        match_id=match.match_id,
        game_id=match.game_id,
        result_state=_STATES[match.result_state],
        label=match.label,
        attributes=match.attributes,
        queue=match.queue,
        participants=[
            history_pb2.MatchParticipant(
                seat=p.seat,
                user_id=p.user_id,
                username=p.username,
                team=p.team,
                placement=p.placement,
                score=p.score,
                outcome=_OUTCOMES[p.outcome] if p.outcome else history_pb2.MATCH_OUTCOME_UNSPECIFIED,
                rating_change=history_pb2.RatingChange(
                    before=_rating(p.user_id, p.rating.before), after=_rating(p.user_id, p.rating.after)
                )
                if p.rating
                else None,
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
