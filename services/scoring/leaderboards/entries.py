"""The entries of leaderboards in PostgreSQL: the truth.

Methods that take a connection run in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Final

from pkg.db.database import Connection, Database
from pkg.errors import Reason
from services.scoring.leaderboards.rules import Entry, Operator, Outcome, Submission, Submitters
from services.scoring.leaderboards.upsert import COLUMNS, upsert

Spot = tuple[str, datetime]
"""A window of a leaderboard: the leaderboard's id, and when it begins."""
Key = tuple[str, datetime, str]
"""The same, and a player."""

_OF: Final = "from leaderboard_entry e where e.leaderboard_id = $1 and e.window_start = $2"
# Entry by entry (`offset 0` keeps it so): whatever the planner thinks of a window of which it knows nothing, it must
# not read all of it.
_OF_USERS: Final = f"""
    select found.* from unnest(string_to_array((select $3::text), ',')) i cross join lateral (
        select {COLUMNS} from leaderboard_entry e
        where e.user_id = i::uuid and e.leaderboard_id = $1 and e.window_start = $2 offset 0
    ) found
"""  # noqa: S608
# Runs of entries, each from a place on: a walk along the index, which costs half of finding as many by player. How long
# the walk may be is in the text, for a planner that does not know it may rather sort the window.
_RUNS: Final = f"""
    select found.*, i.number from unnest((select $3::bytea[])) with ordinality i (place, number) cross join lateral (
        select {COLUMNS} {{of}} and e.place >= i.place order by e.place limit {{limit}}
    ) found
"""  # noqa: S608
_RUN_LENGTHS: Final = (10, 20, 50, 100)
_BY_KEYS: Final = f"""
    select found.*, i.leaderboard_id, i.window_start
    from unnest((select $1::uuid[]), (select $2::timestamptz[]), (select $3::uuid[])) as i
        (leaderboard_id, window_start, user_id)
    cross join lateral (
        select {COLUMNS} from leaderboard_entry e
        where e.user_id = i.user_id and e.leaderboard_id = i.leaderboard_id and e.window_start = i.window_start
        offset 0
    ) found
"""  # noqa: S608
_NOTE: Final = """
    insert into leaderboard_change (due_time, leaderboard_ids, window_starts, user_ids, turn)
    values (now() + make_interval(secs => $1), $2, $3, string_to_array($4, ',')::uuid[], $5) returning change_id
"""


class EntryStore:
    """Entries by player and by place."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(self, connection: Connection, submissions: Sequence[Submission]) -> list[Outcome]:
        """Takes scores in and tells what became of each. Of equal ones the first was earlier."""
        outcomes: dict[int, Outcome] = {}
        spots: dict[Spot, list[int]] = {}
        for index, one in enumerate(submissions):
            spots.setdefault(spot_of(one), []).append(index)
        # In one order, so that two transactions cannot wait for each other.
        for spot in sorted(spots):
            waiting = spots[spot]
            while waiting:
                # A statement may touch an entry once; whoever comes twice comes again in the next.
                chosen: dict[str, int] = {}
                for index in waiting:
                    chosen.setdefault(submissions[index].user_id, index)
                outcomes |= await self._statement(connection, spot, submissions, chosen)
                taken = set(chosen.values())
                waiting = [index for index in waiting if index not in taken]
        return [outcomes[index] for index in range(len(submissions))]

    async def _statement(
        self, connection: Connection, spot: Spot, submissions: Sequence[Submission], chosen: Mapping[str, int]
    ) -> dict[int, Outcome]:
        rows = [submissions[index] for index in chosen.values()]
        board = rows[0].board
        adds = board.operator in (Operator.SUM, Operator.INCREMENT)
        in_order = len(rows) > 1 and (adds or len({(one.score, one.subscore) for one in rows}) < len(rows))
        if not in_order:
            rows.sort(key=lambda one: one.user_id)
        found = await connection.fetch(
            upsert(
                board.operator,
                ascending=board.ascending,
                in_order=in_order,
                saturating=board.submitters is Submitters.RESULTS,
            ),
            *spot,
            max(one.submit_time for one in rows),
            board.ascending,
            board.max_attempts,
            ",".join([one.user_id for one in rows]),
            ",".join([str(one.score) for one in rows]),
            ",".join([str(one.subscore) for one in rows]),
            [one.username for one in rows] if any(one.username for one in rows) else [],
            [one.metadata for one in rows] if any(one.metadata for one in rows) else [],
        )
        outcomes = {chosen[row["user_id"]]: Outcome(Entry(*row[:8]), row["changed"]) for row in found}
        refused = [index for index in chosen.values() if index not in outcomes]
        return {**outcomes, **(await self._refusals(connection, submissions, refused) if refused else {})}

    async def _refusals(
        self, connection: Connection, submissions: Sequence[Submission], refused: Sequence[int]
    ) -> dict[int, Outcome]:
        users = [submissions[index].user_id for index in refused]
        rows = await connection.fetch("select user_id from forgotten where user_id = any($1::uuid[])", users)
        gone = {str(row["user_id"]) for row in rows}
        entries = await self._by_keys(connection, [key_of(submissions[index]) for index in refused])
        outcomes = {}
        for index in refused:
            one = submissions[index]
            entry, most = entries.get(key_of(one)), one.board.max_attempts
            if one.user_id in gone:
                refusal = Reason.ACCOUNT_NOT_FOUND
            elif entry is not None and most and entry.attempts >= most:
                refusal = Reason.ATTEMPTS_EXHAUSTED
            else:
                refusal = Reason.SCORE_OUT_OF_RANGE
            outcomes[index] = Outcome(None, refusal=refusal)
        return outcomes

    async def note(
        self, connection: Connection, keys: Iterable[Key], due_seconds: float, turn: int | None = None
    ) -> int:
        """Notes that Redis has to be told of these entries, by somebody else if it was not done in so many seconds.

        `turn` is that of their removal, where they were removed.
        """
        change_id: int = await connection.fetchval(_NOTE, due_seconds, *columns_of(list(keys)), turn)
        return change_id

    async def by_keys(self, keys: Sequence[Key]) -> dict[Key, Entry]:
        """The entries there are."""
        async with self._database.acquire() as connection:
            return await self._by_keys(connection, keys)

    async def _by_keys(self, connection: Connection, keys: Sequence[Key]) -> dict[Key, Entry]:
        rows = await connection.fetch(
            _BY_KEYS, [key[0] for key in keys], [key[1] for key in keys], [key[2] for key in keys]
        )
        return {(str(row[8]), row[9], row[0]): Entry(*row[:8]) for row in rows}

    async def of_users(self, spot: Spot, user_ids: Sequence[str]) -> dict[str, Entry]:
        """The entries of players in a window."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_OF_USERS, *spot, ",".join(user_ids))
        return {row[0]: Entry(*row) for row in rows}

    async def runs(self, spot: Spot, wanted: Sequence[tuple[bytes, int]]) -> list[list[Entry]]:
        """For each place and number so many entries from there on, best first, if there are so many."""
        by_length: dict[int, list[int]] = {}
        for index, (_, size) in enumerate(wanted):
            by_length.setdefault(next((length for length in _RUN_LENGTHS if length >= size), size), []).append(index)
        runs: list[list[Entry]] = [[] for _ in wanted]
        async with self._database.acquire() as connection:
            for length, indices in by_length.items():
                places = [wanted[index][0] for index in indices]
                for row in await connection.fetch(_RUNS.format(of=_OF, limit=length), *spot, places):
                    run = runs[index := indices[row[8] - 1]]
                    if len(run) < wanted[index][1]:
                        run.append(Entry(*row[:8]))
        return runs

    async def page(
        self, leaderboard_id: str, start: datetime, after: bytes | None, limit: int, *, upwards: bool = False
    ) -> list[Entry]:
        """Entries that come after this place, best first; with `upwards` those before it, nearest first."""
        condition = "" if after is None else f"and e.place {'<' if upwards else '>'} $4"
        order = "desc" if upwards else ""
        values = [] if after is None else [after]
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select {COLUMNS} {_OF} {condition} order by e.place {order} limit $3",
                leaderboard_id, start, limit, *values,
            )  # fmt: skip
        return [Entry(*row) for row in rows]

    async def before(self, leaderboard_id: str, start: datetime, places: Sequence[bytes]) -> list[int]:
        """How many entries come before each of these places: one walk along the index, to the last of them."""
        if not places:
            return []
        bounds = sorted(set(places))
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                f"select width_bucket(e.place, $3::bytea[]) as bucket, count(*) {_OF} and e.place < $4 group by bucket",
                leaderboard_id, start, bounds, bounds[-1],
            )  # fmt: skip
        counts = {row["bucket"]: row["count"] for row in rows}
        before = dict(zip(bounds, accumulate(counts.get(number, 0) for number in range(len(bounds))), strict=True))
        return [before[place] for place in places]

    async def any(self, leaderboard_id: str, start: datetime) -> bool:
        """Whether a window has entries."""
        async with self._database.acquire() as connection:
            return bool(await connection.fetchval(f"select exists (select {_OF})", leaderboard_id, start))

    async def total(self, leaderboard_id: str, start: datetime) -> int:
        """How many entries a window has."""
        async with self._database.acquire() as connection:
            return int(await connection.fetchval(f"select count(*) {_OF}", leaderboard_id, start))


def columns_of(keys: Sequence[Key]) -> tuple[list[str], list[datetime], str]:
    """Keys as a change has them: leaderboards, windows, and players (joined by commas). Where all are in one window, as
    nearly always, it is there once."""
    spots = {key[:2] for key in keys}
    several = keys if len(spots) > 1 else keys[:1]
    return [key[0] for key in several], [key[1] for key in several], ",".join([key[2] for key in keys])


def keys_of(leaderboard_ids: Sequence[object], starts: Sequence[datetime], user_ids: Sequence[object]) -> list[Key]:
    """The keys that a change has."""
    if len(leaderboard_ids) == 1:
        leaderboard_id, start = str(leaderboard_ids[0]), starts[0]
        return [(leaderboard_id, start, str(user_id)) for user_id in user_ids]
    listed = zip(leaderboard_ids, starts, user_ids, strict=True)
    return [(str(leaderboard_id), start, str(user_id)) for leaderboard_id, start, user_id in listed]


def spot_of(submission: Submission) -> Spot:
    """The window that a submission is for."""
    return submission.board.leaderboard_id, submission.window.start


def key_of(submission: Submission) -> Key:
    """The entry that a submission is for."""
    return *spot_of(submission), submission.user_id
