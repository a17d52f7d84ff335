"""LeaderboardService and HistoryService on the wire."""

from __future__ import annotations

from oofgg.v1 import history_pb2, leaderboard_pb2, rating_pb2, session_pb2
from pkg.errors import NotFound, Reason, invalid_field
from pkg.games import GameDirectory
from pkg.ids import is_id
from pkg.pagination import (
    decode_time_token,
    decode_token,
    encode_time_token,
    encode_token,
    foreign_token,
    page_size,
)
from pkg.rpc.call import Call
from services.scoring.boards import Board, Standing, board_of, places
from services.scoring.outcomes import Match, Outcome, RatingView, ResultState
from services.scoring.store import BoardPosition, MatchStore, StandingStore, position_of

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
_MOST = 2**63 - 1


class LeaderboardServicer:
    """Who is best."""

    def __init__(self, standings: StandingStore, games: GameDirectory) -> None:
        self._standings = standings
        self._games = games

    async def get_leaderboard(
        self, request: leaderboard_pb2.GetLeaderboardRequest, call: Call
    ) -> leaderboard_pb2.GetLeaderboardResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        board = board_of(request.leaderboard)
        size = page_size(request.page_size)
        after = _board_key(request.page_token, board)
        found = await self._standings.page(request.game_id, board, after, size + 1)
        response = leaderboard_pb2.GetLeaderboardResponse()
        if found:
            position, rank = 1, 1
            if after is not None:
                position, rank = await self._standings.place(request.game_id, board, position_of(found[0], board))
            for place, standing in places(found[:size], board, position=position, rank=rank):
                response.entries.append(_entry(place, standing))
        if found[size:]:
            last = position_of(found[size - 1], board)
            response.next_page_token = encode_token([board, last.first, last.second, last.user_id])
        return response

    async def get_rank(self, request: leaderboard_pb2.GetRankRequest, call: Call) -> leaderboard_pb2.GetRankResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        board = board_of(request.leaderboard)
        user_id = request.user_id or call.caller.user_id
        standing = await self._standings.of_player(request.game_id, user_id) if is_id(user_id) else None
        if standing is None:
            raise NotFound(
                Reason.ENTRY_NOT_FOUND,
                "This player has finished no match that counts in this game yet.",
                user_id=user_id,
            )
        _, rank = await self._standings.place(request.game_id, board, position_of(standing, board))
        total = await self._standings.total(request.game_id)
        return leaderboard_pb2.GetRankResponse(entry=_entry(rank, standing), total=total)


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


def _board_key(token: str, board: Board) -> BoardPosition | None:
    key = decode_token(token, str, int, int, str)
    if key is None:
        return None
    name, first, second, user_id = key
    numbers_fit = all(isinstance(number, int) and abs(number) <= _MOST for number in (first, second))
    if name != board or not is_id(str(user_id)) or not numbers_fit:
        raise foreign_token()
    return BoardPosition(int(first), int(second), str(user_id))


def _entry(rank: int, standing: Standing) -> leaderboard_pb2.LeaderboardEntry:
    entry = leaderboard_pb2.LeaderboardEntry(
        rank=rank,
        user_id=standing.user_id,
        username=standing.username,
        wins=standing.wins,
        losses=standing.losses,
        draws=standing.draws,
        score=standing.score,
    )
    entry.update_time.FromDatetime(standing.update_time)
    return entry


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
