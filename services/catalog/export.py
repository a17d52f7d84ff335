"""What `catalog` keeps about a person: the games of a developer."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pkg.ids import is_id
from pkg.pagination import decode_time_token, encode_time_token
from services.catalog.store import GameStore

_PAGE = 100


class GameExporter:
    """A developer's games."""

    def __init__(self, games: GameStore) -> None:
        self._games = games

    async def __call__(self, user_id: str, page_token: str) -> tuple[Sequence[str], str]:
        """A page of them (pkg.runtime.user_data.ExportUser)."""
        if not is_id(user_id):
            return [], ""
        games = await self._games.page(user_id, decode_time_token(page_token), _PAGE + 1)
        more = encode_time_token(games[_PAGE - 1].create_time, games[_PAGE - 1].game_id) if games[_PAGE:] else ""
        return [
            json.dumps(
                {
                    "game_id": game.game_id,
                    "name": game.name,
                    "description": game.description,
                    "create_time": game.create_time.isoformat(),
                }
            )
            for game in games[:_PAGE]
        ], more
