"""Who is where: from Redis, or from PostgreSQL while Redis does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pkg.db.lookups import Lookup
from services.scoring.leaderboards.builder import Builder
from services.scoring.leaderboards.entries import EntryStore, Spot
from services.scoring.leaderboards.places import user_bytes, users_in
from services.scoring.leaderboards.ranks import Question, Ranks, Slice
from services.scoring.leaderboards.rules import Entry, Leaderboard, Ranked
from services.scoring.leaderboards.windows import Window

# How long a call waits for ranks that are being built, before it counts in PostgreSQL.
_BUILD_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a window's entries, best first; how many there are; whether more come after them."""

    total: int
    entries: Sequence[Ranked]
    more: bool


class _Found(NamedTuple):
    """What Redis said, and the rows that belong to it: from its place on, or of the players that were asked for."""

    slice: Slice
    rows: Sequence[Entry]


class BoardReader:
    """Entries with their ranks."""

    def __init__(self, entries: EntryStore, ranks: Ranks, builder: Builder) -> None:
        self._entries = entries
        self._ranks = ranks
        self._builder = builder
        self._found = Lookup[Question, _Found](self._find)

    async def page(self, board: Leaderboard, window: Window, after: bytes, size: int) -> Part:
        """Entries behind a place, `b""` for the best."""
        spot = (board.leaderboard_id, window.start)
        if found := await self._ask((spot, "page", after, size), window):
            return _part(found.slice.total, found.slice.first, found.rows)
        rows = await self._entries.page(*spot, after, size)
        first = (await self._entries.before(*spot, [rows[0].place]))[0] + 1 if rows and after else 1
        return _part(await self._entries.total(*spot), first, rows)

    async def around(self, board: Leaderboard, window: Window, user_id: str, size: int) -> Part | None:
        """Entries around a player's; None when there is none."""
        spot = (board.leaderboard_id, window.start)
        found = await self._ask((spot, "around", user_bytes(user_id), size), window)
        if found and not found.slice.ranks[0]:
            return None
        if found and any(row.user_id == user_id for row in found.rows):
            return _part(found.slice.total, found.slice.first, found.rows)
        # Redis does not know, or not yet that the player has moved: PostgreSQL does.
        entry = (await self._entries.of_users(spot, [user_id])).get(user_id)
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
        if found := await self._ask((spot, "users", b"".join(map(user_bytes, users)), 0), window):
            total, rows = found.slice.total, {row.user_id: row for row in found.rows}
            pairs = zip(found.slice.ranks, users, strict=True)
            ranked = [Ranked(rank, rows[user]) for rank, user in pairs if rank and user in rows]
        else:
            entries = list((await self._entries.of_users(spot, users)).values())
            before = await self._entries.before(*spot, [entry.place for entry in entries])
            total = await self._entries.total(*spot)
            ranked = [Ranked(count + 1, entry) for count, entry in zip(before, entries, strict=True)]
        return Part(total, sorted(ranked, key=lambda one: one.rank), more=False)

    async def rank_known(self, board: Leaderboard, window: Window, user_id: str) -> int:
        """A rank if it can be told quickly, else 0."""
        found = await self._ask(((board.leaderboard_id, window.start), "users", user_bytes(user_id), 0), window)
        return found.slice.ranks[0] if found else 0

    async def _ask(self, question: Question, window: Window) -> _Found | None:
        """What Redis says; None when it does not answer, or does not know soon."""
        if self._ranks.away:
            return None
        found = await self._found.get(question)
        spot = question[0]
        if found is None and not self._ranks.away and (window.end is None or await self._entries.any(*spot)):
            await self._builder.want(spot, window, within=_BUILD_SECONDS)
            found = await self._found.get(question)
        return found

    async def _find(self, questions: list[Question]) -> dict[Question, _Found]:
        asked = list(dict.fromkeys(questions))
        slices = {
            question: found for question, found in zip(asked, await self._ranks.read(asked), strict=True) if found
        }
        by_spot: dict[Spot, list[Question]] = {}
        for question in slices:
            by_spot.setdefault(question[0], []).append(question)
        found: dict[Question, _Found] = {}
        for spot, together in by_spot.items():
            found |= await self._rows(spot, {question: slices[question] for question in together})
        return found

    async def _rows(self, spot: Spot, slices: Mapping[Question, Slice]) -> dict[Question, _Found]:
        """The rows of questions about one window."""
        of_users = {question: users_in(question[2]) for question in slices if question[1] == "users"}
        runs = [question for question, found in slices.items() if found.size]
        rows: dict[Question, Sequence[Entry]] = {}
        if of_users:
            by_user = await self._entries.of_users(spot, list({user for users in of_users.values() for user in users}))
            rows |= {asked: [by_user[user] for user in users if user in by_user] for asked, users in of_users.items()}
        if runs:
            wanted = [(slices[question].place, slices[question].size) for question in runs]
            rows |= zip(runs, await self._entries.runs(spot, wanted), strict=True)
        return {question: _Found(found, rows.get(question, ())) for question, found in slices.items()}


def _part(total: int, first: int, rows: Sequence[Entry]) -> Part:
    entries = [Ranked(first + index, row) for index, row in enumerate(rows)]
    return Part(total, entries, first - 1 + len(rows) < total)
