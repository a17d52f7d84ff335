"""The leaderboards that every game has, on the wire."""

from __future__ import annotations

from oofgg.v1 import leaderboard_pb2
from pkg.errors import NotFound, Reason
from pkg.games import GameDirectory
from pkg.ids import is_id
from pkg.pagination import decode_token, encode_token, foreign_token, page_size
from pkg.rpc.call import Call
from services.scoring.standings.boards import Board, Standing, board_of, places
from services.scoring.standings.store import BoardPosition, StandingStore, position_of

_MOST = 2**63 - 1


class BuiltInBoards:
    """`wins` and `score`."""

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
