"""Who is where: from Redis, or from PostgreSQL while Redis does not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from pkg.db.lookups import Lookup
from services.scoring.leaderboards.builder import Builder
from services.scoring.leaderboards.entries import EntryStore
from services.scoring.leaderboards.ranks import Ranks, Spot
from services.scoring.leaderboards.rules import Entry, Leaderboard, Ranked
from services.scoring.leaderboards.windows import Window

# How long a call waits for ranks that are being built, before it counts in PostgreSQL.
_BUILD_SECONDS: Final = 0.25

T = TypeVar("T")
_Rows = tuple[str, datetime, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a window's entries, best first; how many there are; whether more come after them."""

    total: int
    entries: Sequence[Ranked]
    more: bool


class BoardReader:
    """Entries with their ranks."""

    def __init__(self, entries: EntryStore, ranks: Ranks, builder: Builder) -> None:
        self._entries = entries
        self._ranks = ranks
        self._builder = builder
        self._rows = Lookup[_Rows, list[Entry]](self._fetch)

    async def page(self, board: Leaderboard, window: Window, after: bytes, size: int) -> Part:
        """Entries behind a place, `b""` for the best."""
        spot = (board.leaderboard_id, window.start)
        found = await self._ready(spot, window, lambda: self._ranks.page(spot, after, size))
        if found is not None:
            return await self._part(spot, found.total, found.first, found.users)
        rows = await self._entries.page(*spot, after, size)
        first = (await self._entries.before(*spot, [rows[0].place]))[0] + 1 if rows and after else 1
        return _part(await self._entries.total(*spot), first, rows)

    async def around(self, board: Leaderboard, window: Window, user_id: str, size: int) -> Part | None:
        """Entries around a player's; None when there is none."""
        spot = (board.leaderboard_id, window.start)
        found = await self._ready(spot, window, lambda: self._ranks.around(spot, user_id, size))
        if found is not None:
            return await self._part(spot, found.total, found.first, found.users) if found.rank else None
        entry = (await self._entries.by_keys([(*spot, user_id)])).get((*spot, user_id))
        if entry is None:
            return None
        before = (await self._entries.before(*spot, [entry.place]))[0]
        total = await self._entries.total(*spot)
        first = max(0, min(before - (size - 1) // 2, total - size))
        above = await self._entries.page(*spot, entry.place, before - first, upwards=True)
        below = await self._entries.page(*spot, entry.place, size - 1 - len(above))
        return _part(total, before - len(above) + 1, [*reversed(above), entry, *below])

    async def of_users(self, board: Leaderboard, window: Window, user_ids: Sequence[str]) -> Part:
        """The entries of these players that have one, with their ranks among all."""
        spot = (board.leaderboard_id, window.start)
        users = list(dict.fromkeys(user_ids))
        found = await self._ready(spot, window, lambda: self._ranks.of_users(spot, users))
        if found is not None:
            ranks = {user: rank for user, rank in zip(users, found[1], strict=True) if rank}
            rows = await self._rows.get((*spot, tuple(ranks))) if ranks else []
            ranked = [Ranked(ranks[row.user_id], row) for row in rows or []]
            return Part(found[0], sorted(ranked, key=lambda one: one.rank), more=False)
        entries = list((await self._entries.by_keys([(*spot, user) for user in users])).values())
        before = await self._entries.before(*spot, [entry.place for entry in entries])
        ranked = [Ranked(count + 1, entry) for count, entry in zip(before, entries, strict=True)]
        return Part(await self._entries.total(*spot), sorted(ranked, key=lambda one: one.rank), more=False)

    async def rank_known(self, board: Leaderboard, window: Window, user_id: str) -> int:
        """A rank if it can be told quickly, else 0."""
        spot = (board.leaderboard_id, window.start)
        found = await self._ready(spot, window, lambda: self._ranks.of_users(spot, [user_id]))
        return found[1][0] if found else 0

    async def _ready(self, spot: Spot, window: Window, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        found = await ask()
        if found is None and not self._ranks.away and (window.end is None or await self._entries.any(*spot)):
            await self._builder.want(spot, window, within=_BUILD_SECONDS)
            found = await ask()
        return found

    async def _part(self, spot: Spot, total: int, first: int, users: Sequence[str]) -> Part:
        rows = await self._rows.get((*spot, tuple(users))) if users else []
        known = {row.user_id: row for row in rows or []}
        entries = [Ranked(first + index, known[user]) for index, user in enumerate(users) if user in known]
        return Part(total, entries, first - 1 + len(users) < total)

    async def _fetch(self, asked: list[_Rows]) -> dict[_Rows, list[Entry]]:
        keys = {(leaderboard_id, start, user) for leaderboard_id, start, users in asked for user in users}
        rows = await self._entries.by_keys(list(keys))
        return {
            (leaderboard_id, start, users): [row for user in users if (row := rows.get((leaderboard_id, start, user)))]
            for leaderboard_id, start, users in asked
        }


def _part(total: int, first: int, rows: Sequence[Entry]) -> Part:
    entries = [Ranked(first + index, row) for index, row in enumerate(rows)]
    return Part(total, entries, first - 1 + len(rows) < total)
