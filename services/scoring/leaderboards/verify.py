"""Compares the ranks in Redis with the entries in PostgreSQL, while scores come in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from services.scoring.leaderboards.entries import EntryStore, Spot
from services.scoring.leaderboards.places import PLACE_BYTES, standing_at
from services.scoring.leaderboards.ranks import Ranks

_PAGE: Final = 1_000
_PAUSE_SECONDS: Final = 0.5


class Verifier:
    """Finds players of whom Redis says something else than PostgreSQL."""

    def __init__(self, entries: EntryStore, ranks: Ranks, patience: float) -> None:
        """`patience`: seconds for which a difference is looked at before it is believed: it may be on its way."""
        self._entries = entries
        self._ranks = ranks
        self._looks = 1 + int(patience / _PAUSE_SECONDS)

    async def differences(
        self, spot: Spot, *, ascending: bool, told: Callable[[int], None] = lambda _: None
    ) -> list[str] | None:
        """What differs in a window, each in a line; None for one without ranks, which is read from PostgreSQL.

        `told` hears how many entries were compared. Raises Unavailable(BACKEND_UNAVAILABLE).
        """
        ready, count = await self._ranks.members(spot)
        if not ready:
            return None
        suspects, compared, after = list[str](), 0, b""
        while rows := await self._entries.page(*spot, after, _PAGE):
            places = await self._ranks.index(spot, [row.user_id for row in rows])
            suspects += [row.user_id for row, place in zip(rows, places, strict=True) if row.place != place]
            compared += len(rows)
            after = rows[-1].place
            told(compared)
        if count != compared or suspects:
            suspects += await self._strangers(spot, count)
        for look in range(self._looks):
            if not suspects:
                break
            if look:
                await asyncio.sleep(_PAUSE_SECONDS)
            suspects = [user for user, *places in await self._compared(spot, suspects) if places[0] != places[1]]
        found = [
            f"player {user}: PostgreSQL says {_shown(truth, ascending)}, Redis {_shown(rank, ascending)}"
            for user, truth, rank in await self._compared(spot, suspects)
            if truth != rank
        ]
        _, count = await self._ranks.members(spot)
        if not found and count != compared and count != await self._entries.total(*spot):
            found.append(f"Redis counts {count:,} players, PostgreSQL {await self._entries.total(*spot):,}")
        return found

    async def _strangers(self, spot: Spot, count: int) -> list[str]:
        """Players in Redis of whom PostgreSQL knows nothing."""
        strangers = list[str]()
        for first in range(0, count, _PAGE):
            users = await self._ranks.scan(spot, first, _PAGE)
            known = await self._entries.by_keys([(*spot, user) for user in users])
            strangers += [user for user in users if (*spot, user) not in known]
        return strangers

    async def _compared(self, spot: Spot, users: Sequence[str]) -> list[tuple[str, bytes | None, bytes | None]]:
        compared = list[tuple[str, bytes | None, bytes | None]]()
        chosen = list(dict.fromkeys(users))
        for first in range(0, len(chosen), _PAGE):
            page = chosen[first : first + _PAGE]
            rows = await self._entries.by_keys([(*spot, user) for user in page])
            truths = [row.place if (row := rows.get((*spot, user))) else None for user in page]
            compared += zip(page, truths, await self._ranks.index(spot, page), strict=True)
        return compared


def _shown(place: bytes | None, ascending: bool) -> str:
    if place is None or len(place) != PLACE_BYTES:
        return "nothing"
    standing = standing_at(place, ascending=ascending)
    return f"({standing.score:,}, {standing.subscore:,}), turn {standing.turn}"
