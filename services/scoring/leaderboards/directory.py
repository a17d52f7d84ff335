"""Leaderboards by name, remembered for a moment, and the windows they are in."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cachetools import LRUCache

from pkg.clock import Clock
from pkg.errors import NotFound, Reason, invalid_field
from pkg.remembering import Remembered
from services.scoring.leaderboards.rules import Leaderboard
from services.scoring.leaderboards.store import LeaderboardStore
from services.scoring.leaderboards.windows import EPOCH, Window

# A changed or deleted leaderboard is noticed after this long at most.
_REMEMBER_SECONDS: Final = 5.0
_REMEMBERED: Final = 10_000


class BoardDirectory:
    """What calls ask about leaderboards."""

    def __init__(self, boards: LeaderboardStore, clock: Clock) -> None:
        self._boards = boards
        self._clock = clock
        self._known: Remembered[tuple[str, str], Leaderboard] = Remembered(
            _REMEMBERED, _REMEMBER_SECONDS, clock.monotonic
        )
        self._windows: LRUCache[str, Window] = LRUCache(_REMEMBERED)

    async def get(self, game_id: str, name: str) -> Leaderboard:
        """Raises NotFound(LEADERBOARD_NOT_FOUND)."""
        board = self._known.get((game_id, name), None)
        if board is not None:
            return board
        board = await self._boards.by_name(game_id, name)
        if board is None:
            raise leaderboard_not_found(name)
        return self._known.put((game_id, name), board)

    def forget(self, game_id: str, name: str) -> None:
        """What this process has changed, it knows at once."""
        self._known.forget((game_id, name))

    def window(self, board: Leaderboard, moment: datetime | None = None) -> Window:
        """The window in which a moment lies, the current one for None. Raises InvalidArgument for one to come."""
        now = self._clock.now()
        if moment is not None and not EPOCH <= moment <= now:
            raise invalid_field("window_time", "must be a moment from 1970 until now")
        known = self._windows.get(board.leaderboard_id)
        if known is not None and known.holds(moment or now):
            return known
        window = board.schedule.window_at(moment or now)
        if moment is None:
            self._windows[board.leaderboard_id] = window
        return window


def leaderboard_not_found(name: str) -> NotFound:
    """The error for a leaderboard that there is not."""
    return NotFound(
        Reason.LEADERBOARD_NOT_FOUND,
        f"This game has no leaderboard “{name[:64]}”. Every game has `wins` and `score`.",
        leaderboard=name[:64],
    )
