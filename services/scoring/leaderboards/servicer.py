"""LeaderboardService on the wire: who is where. Definitions and submissions have modules of their own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from oofgg.v1 import leaderboard_pb2 as pb
from pkg.clock import Clock
from pkg.errors import invalid_field
from pkg.games import GameDirectory
from pkg.ids import is_id
from pkg.pagination import decode_token, encode_token, foreign_token, page_size
from pkg.rpc.call import Call
from services.scoring.leaderboards.definitions import DefinitionServicer
from services.scoring.leaderboards.directory import BoardDirectory
from services.scoring.leaderboards.messages import (
    decode_place,
    encode_place,
    fill_entries,
    fill_entry,
    moment_of,
    no_entry,
    season_message,
    window_message,
)
from services.scoring.leaderboards.reading import BoardReader, Part
from services.scoring.leaderboards.removing import RemovalServicer
from services.scoring.leaderboards.rules import RESERVED, Leaderboard
from services.scoring.leaderboards.store import SeasonStore
from services.scoring.leaderboards.submissions import SubmissionServicer
from services.scoring.leaderboards.windows import EPOCH, Window
from services.scoring.standings.boards import Board
from services.scoring.standings.builtin import BuiltInBoards


class LeaderboardServicer:
    """All leaderboards of a game: the two that it has by itself, and those that were defined."""

    def __init__(
        self,
        builtin: BuiltInBoards,
        definitions: DefinitionServicer,
        submissions: SubmissionServicer,
        removals: RemovalServicer,
        seasons: SeasonStore,
        reader: BoardReader,
        directory: BoardDirectory,
        games: GameDirectory,
        clock: Clock,
    ) -> None:
        self.create_leaderboard = definitions.create_leaderboard
        self.update_leaderboard = definitions.update_leaderboard
        self.delete_leaderboard = definitions.delete_leaderboard
        self.list_leaderboards = definitions.list_leaderboards
        self.get_leaderboard_info = definitions.get_leaderboard_info
        self.submit_score = submissions.submit_score
        self.submit_scores = submissions.submit_scores
        self.remove_entry = removals.remove_entry
        self._builtin = builtin
        self._seasons = seasons
        self._reader = reader
        self._directory = directory
        self._games = games
        self._clock = clock

    async def get_leaderboard(self, request: pb.GetLeaderboardRequest, call: Call) -> pb.GetLeaderboardResponse:
        if self._is_builtin(request):
            return await self._builtin.get_leaderboard(request, call)
        board, window = await self._find(request, call)
        after = b""
        if (key := decode_place(request.page_token)) is not None:
            (leaderboard_id, start), after = key
            if not request.HasField("window_time") and EPOCH <= start < window.start:
                # The window has ended since the first page; the list goes on where it was.
                window = board.schedule.window_at(start)
            if (leaderboard_id, start) != (board.leaderboard_id, window.start):
                raise foreign_token()
        part = await self._reader.page(board, window, after, page_size(request.page_size))
        response = pb.GetLeaderboardResponse(
            next_page_token=_next(board, window, part), season=window_message(window, self._clock.now())
        )
        fill_entries(response.entries, part.entries)
        return response

    async def get_around(self, request: pb.GetAroundRequest, call: Call) -> pb.GetAroundResponse:
        board, window = await self._find(request, call)
        user_id = request.user_id or call.caller.user_id
        size = page_size(request.page_size)
        part = await self._reader.around(board, window, user_id, size) if is_id(user_id) else None
        if part is None:
            raise no_entry(user_id)
        response = pb.GetAroundResponse(
            next_page_token=_next(board, window, part),
            total=part.total,
            season=window_message(window, self._clock.now()),
        )
        fill_entries(response.entries, part.entries)
        return response

    async def get_rank(self, request: pb.GetRankRequest, call: Call) -> pb.GetRankResponse:
        if self._is_builtin(request):
            return await self._builtin.get_rank(request, call)
        board, window = await self._find(request, call)
        user_id = request.user_id or call.caller.user_id
        part = await self._reader.of_users(board, window, [user_id]) if is_id(user_id) else None
        if part is None or not part.entries:
            raise no_entry(user_id)
        found = part.entries[0]
        response = pb.GetRankResponse(total=part.total)
        fill_entry(response.entry, found.rank, found.entry)
        return response

    async def get_entries(self, request: pb.GetEntriesRequest, call: Call) -> pb.GetEntriesResponse:
        board, window = await self._find(request, call)
        for number, user_id in enumerate(request.user_ids):
            if not is_id(user_id):
                raise invalid_field(f"user_ids[{number}]", "is not the id of an account")
        part = await self._reader.of_users(board, window, request.user_ids)
        response = pb.GetEntriesResponse(total=part.total, season=window_message(window, self._clock.now()))
        fill_entries(response.entries, part.entries)
        return response

    async def list_seasons(self, request: pb.ListSeasonsRequest, call: Call) -> pb.ListSeasonsResponse:
        board = await self._board(request, call)
        key = decode_token(request.page_token, str, int)
        if key is not None and key[0] != board.leaderboard_id:
            raise foreign_token()
        try:
            before = datetime.fromtimestamp(int(key[1]), UTC) if key else None
        except (ValueError, OverflowError, OSError):
            raise foreign_token() from None
        size = page_size(request.page_size)
        found = await self._seasons.page(board.leaderboard_id, before, size + 1)
        now = self._clock.now()
        response = pb.ListSeasonsResponse(seasons=[season_message(season, now) for season in found[:size]])
        if found[size:]:
            last = int(found[size - 1].window.start.timestamp())
            response.next_page_token = encode_token([board.leaderboard_id, last])
        return response

    @staticmethod
    def _is_builtin(request: Any) -> bool:
        if request.leaderboard and request.leaderboard not in RESERVED:
            return False
        if request.HasField("window_time"):
            raise invalid_field("window_time", f"{' and '.join(Board)} have no windows")
        return True

    async def _board(self, request: Any, call: Call) -> Leaderboard:
        await self._games.require_access(call.caller, request.game_id, call)
        if request.leaderboard in RESERVED:
            raise invalid_field("leaderboard", "must be one that was defined; this is not offered for wins and score")
        return await self._directory.get(request.game_id, request.leaderboard)

    async def _find(self, request: Any, call: Call) -> tuple[Leaderboard, Window]:
        board = await self._board(request, call)
        return board, self._directory.window(board, moment_of(request))


def _next(board: Leaderboard, window: Window, part: Part) -> str:
    if not part.more or not part.entries:
        return ""
    return encode_place((board.leaderboard_id, window.start), part.entries[-1].entry.place)
