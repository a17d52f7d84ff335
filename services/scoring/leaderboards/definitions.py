"""What a developer says about leaderboards, on the wire."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from oofgg.v1 import leaderboard_pb2 as pb
from pkg.clock import Clock
from pkg.db.database import Connection, Database
from pkg.games import GameDirectory, game_not_found
from pkg.ids import NewId, is_id
from pkg.pagination import decode_token, encode_token, page_size
from pkg.rpc.call import Call
from pkg.rpc.mutations import once_per_call
from services.scoring.leaderboards.directory import BoardDirectory, leaderboard_not_found
from services.scoring.leaderboards.messages import board_message, parse_board, window_message
from services.scoring.leaderboards.rules import Leaderboard, apply_update, check_new
from services.scoring.leaderboards.store import LeaderboardStore

M = TypeVar("M", bound=Message)


class DefinitionServicer:
    """Leaderboards as they are defined."""

    def __init__(
        self,
        database: Database,
        boards: LeaderboardStore,
        directory: BoardDirectory,
        games: GameDirectory,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._database = database
        self._boards = boards
        self._directory = directory
        self._games = games
        self._clock = clock
        self._new_id = new_id

    async def create_leaderboard(
        self, request: pb.CreateLeaderboardRequest, call: Call
    ) -> pb.CreateLeaderboardResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        if not is_id(request.game_id):
            raise game_not_found(request.game_id)
        board = parse_board(request.leaderboard, request.game_id, self._new_id(), self._clock.now())
        check_new(board)

        async def effect(connection: Connection) -> pb.CreateLeaderboardResponse:
            await self._boards.insert(connection, board)
            return pb.CreateLeaderboardResponse(leaderboard=board_message(board))

        return await once_per_call(self._database, call, request, pb.CreateLeaderboardResponse, effect)

    async def update_leaderboard(
        self, request: pb.UpdateLeaderboardRequest, call: Call
    ) -> pb.UpdateLeaderboardResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        name = request.leaderboard.name

        async def effect(connection: Connection) -> pb.UpdateLeaderboardResponse:
            board = await self._lock(connection, request.game_id, name)
            new = parse_board(request.leaderboard, board.game_id, board.leaderboard_id, board.create_time)
            changed = apply_update(board, new, request.update_mask.paths, self._clock.now())
            await self._boards.update(connection, changed)
            return pb.UpdateLeaderboardResponse(leaderboard=board_message(changed))

        response = await once_per_call(self._database, call, request, pb.UpdateLeaderboardResponse, effect)
        self._directory.forget(request.game_id, name)
        return response

    async def delete_leaderboard(
        self, request: pb.DeleteLeaderboardRequest, call: Call
    ) -> pb.DeleteLeaderboardResponse:
        await self._games.require_access(call.caller, request.game_id, call)

        async def effect(connection: Connection) -> pb.DeleteLeaderboardResponse:
            board = await self._lock(connection, request.game_id, request.leaderboard)
            await self._boards.delete(connection, board.leaderboard_id, self._clock.now())
            return pb.DeleteLeaderboardResponse()

        response = await once_per_call(self._database, call, request, pb.DeleteLeaderboardResponse, effect)
        self._directory.forget(request.game_id, request.leaderboard)
        return response

    async def list_leaderboards(self, request: pb.ListLeaderboardsRequest, call: Call) -> pb.ListLeaderboardsResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        key = decode_token(request.page_token, str)
        size = page_size(request.page_size)
        found = await self._boards.page(request.game_id, str(key[0]) if key else "", size + 1)
        return pb.ListLeaderboardsResponse(
            leaderboards=[board_message(board) for board in found[:size]],
            next_page_token=encode_token([found[size - 1].name]) if found[size:] else "",
        )

    async def get_leaderboard_info(
        self, request: pb.GetLeaderboardInfoRequest, call: Call
    ) -> pb.GetLeaderboardInfoResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        board = await self._directory.get(request.game_id, request.leaderboard)
        window = self._directory.window(board)
        return pb.GetLeaderboardInfoResponse(
            leaderboard=board_message(board), season=window_message(window, self._clock.now())
        )

    async def _lock(self, connection: Connection, game_id: str, name: str) -> Leaderboard:
        board = await self._boards.lock(connection, game_id, name) if is_id(game_id) else None
        if board is None:
            raise leaderboard_not_found(name)
        return board
