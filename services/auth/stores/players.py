"""Who has ever logged in to which game."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pkg.db.database import Connection
from pkg.errors import Reason, ResourceExhausted

_JOIN: Final = """
    insert into game_player (game_id, user_id, create_time) values ($1, $2, $3) on conflict do nothing returning 1
"""
# One statement, so that two newcomers at the same time cannot both take the last place.
_COUNT: Final = """
    insert into game_population as p (game_id, players) values ($1, 1)
    on conflict (game_id) do update set players = p.players + 1 where $2 = 0 or p.players < $2 returning p.players
"""


class PlayerStore:
    """Players of games."""

    async def join(self, connection: Connection, game_id: str, user_id: str, most: int, now: datetime) -> None:
        """Notes that an account plays a game. Raises ResourceExhausted(QUOTA_EXCEEDED) beyond `most`; 0: no limit."""
        if not await connection.fetchval(_JOIN, game_id, user_id, now):
            return
        if not await connection.fetchval(_COUNT, game_id, most):
            raise ResourceExhausted(
                Reason.QUOTA_EXCEEDED,
                f"This game may have {most} players and has them. Its developer can ask the operator for more.",
                quota="players",
            )
