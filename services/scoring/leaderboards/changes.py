"""What Redis is owed: tells it what a writer wrote and could not tell, what results brought, what a lost second took.

Every transaction that writes entries leaves a row that names them (`EntryStore.note`). Whoever has told Redis says so;
a row of which nobody has said so in time is told again, from the entries as they are then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import asyncpg

from pkg.db.database import Connection, Database
from pkg.errors import OofggError
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken
from services.scoring.leaderboards.entries import EntryStore, Key, keys_of
from services.scoring.leaderboards.places import member_of, user_bytes
from services.scoring.leaderboards.ranks import Moves, Ranks

_log = get_logger(__name__)

CHANNEL: Final = "leaderboard_change"
KEPT_MINUTES: Final = 10

_POLL_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 2.0
_BATCH: Final = 50
_DUE_AGAIN_SECONDS: Final = 8.0
_KEYS_AT_ONCE: Final = 1_000
# Less than any that was taken.
_LEAST_TURN: Final = 0
# While somebody tells them, they are nobody else's.
_TAKE: Final = """
    update leaderboard_change set due_time = now() + make_interval(secs => $2) where change_id in (
        select change_id from leaderboard_change where not applied and due_time <= now()
        order by due_time limit $1 for update skip locked
    ) returning change_id, leaderboard_ids, window_starts, user_ids, turn
"""
_RECENT: Final = """
    select change_id, leaderboard_ids, window_starts, user_ids, turn from leaderboard_change
    where change_id > $1 order by change_id limit $2
"""


_GONE: Final = "select user_id::text from forgotten where user_id = any($1::uuid[])"


@dataclass(frozen=True, slots=True)
class Removal:
    """Entries that were removed, and the turn that this took."""

    change_id: int
    turn: int
    keys: Sequence[Key]


async def announce(connection: Connection) -> None:
    """Wakes whoever tells Redis, when the transaction commits: for transactions that nobody follows up."""
    await connection.execute(f"select pg_notify('{CHANNEL}', '')")


class Changes:
    """The changes of all processes, as one process looks after them."""

    def __init__(self, database: Database, entries: EntryStore, ranks: Ranks) -> None:
        self._database = database
        self._entries = entries
        self._ranks = ranks
        self._applied: list[int] = []
        self._most = _BATCH
        self._clock = time.monotonic
        self._wake = asyncio.Event()
        self._run_id: str | None = None

    def applied(self, change_id: int) -> None:
        """Says that Redis has been told of a change. It is noted with others, within a second."""
        self._applied.append(change_id)

    async def removed(self, removal: Removal) -> None:
        """Tells Redis of a removal that was committed, if it answers. Raises Unavailable when PostgreSQL is away."""
        if not self._ranks.away and await self.tell((key, removal.turn) for key in removal.keys):
            self.applied(removal.change_id)

    async def run(self) -> None:
        """Works until cancelled, whatever PostgreSQL and Redis do meanwhile."""
        while True:
            try:
                async with self._database.hold() as connection:
                    await self._follow(connection)
            except OofggError as error:
                _log.warning("leaderboard changes wait for PostgreSQL", cause=repr(error.__cause__))
            except asyncpg.PostgresError:
                _log.exception("leaderboard changes start over")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _follow(self, connection: Connection) -> None:
        def told(*_: object) -> None:
            self._wake.set()

        await connection.add_listener(CHANNEL, told)
        try:
            while True:
                self._wake.clear()
                await self.tend()
                await woken(self._wake, within=_POLL_SECONDS)
        finally:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):  # it may be gone
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await connection.remove_listener(CHANNEL, told)

    async def tend(self) -> None:
        """One look at what there is to do. Raises Unavailable when PostgreSQL is away."""
        await self._mark_applied()
        if self._ranks.away or not await self._greet():
            return
        while await self._tell_due():
            # In between, or what writers have told meanwhile would be due as well, and be told again.
            await self._mark_applied()

    async def _mark_applied(self) -> None:
        marks, self._applied = self._applied, []
        try:
            await self._mark(marks)
        except BaseException:
            self._applied += marks
            raise

    async def _mark(self, change_ids: Sequence[int]) -> None:
        if change_ids:
            async with self._database.acquire() as connection:
                await connection.execute(
                    "update leaderboard_change set applied = true where change_id = any($1::bigint[])", change_ids
                )

    async def _greet(self) -> bool:
        """A Redis that has started since may lack its newest seconds: it is told all recent changes again."""
        run_id = await self._ranks.run_id()
        if run_id is None or run_id == self._run_id:
            return run_id is not None
        async with self._database.acquire() as connection:
            known = await connection.fetchval("select true from leaderboard_redis where run_id = $1", run_id)
            oid = await connection.fetchval("select oid::text from pg_database where datname = current_database()")
        if not await self._ranks.belong_to(oid):
            return False
        if not known:
            last = 0
            while True:
                async with self._database.acquire() as connection:
                    rows = await connection.fetch(_RECENT, last, _BATCH)
                if not rows:
                    break
                if not await self.tell(key for row in rows for key in _keys(row)):
                    return False
                last = rows[-1]["change_id"]
            async with self._database.acquire() as connection:
                await connection.execute(
                    "insert into leaderboard_redis (run_id) values ($1) on conflict do nothing", run_id
                )
        self._run_id = run_id
        return True

    async def _tell_due(self) -> bool:
        """Tells some changes that are due. Whether there may be more, and Redis takes them."""
        most, began = self._most, self._clock()
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_TAKE, most, _DUE_AGAIN_SECONDS)
        if rows and not await self.tell(key for row in rows for key in _keys(row)):
            self._most = max(1, most // 4)
            return False
        if rows:
            await self._mark([row["change_id"] for row in rows])
        # What is taken has to be told before it is due again, or others would tell it, too.
        slow = self._clock() - began > _DUE_AGAIN_SECONDS / 4
        self._most = max(1, most // 2) if slow else min(_BATCH, most * 2)
        return len(rows) == most

    async def tell(self, changed: Iterable[tuple[Key, int | None]]) -> bool:
        """Brings these entries to Redis as they are now. False when it does not answer.

        With each comes the turn of its removal, or None. An entry that is not there and has none was removed by a
        change that will be told too, or belongs to an account that is gone, and comes back no more.
        """
        turns: dict[Key, int] = {}
        for key, turn in changed:
            turns[key] = max(turns.get(key, _LEAST_TURN), _LEAST_TURN if turn is None else turn)
        left = list(turns)
        while left:
            some, left = left[:_KEYS_AT_ONCE], left[_KEYS_AT_ONCE:]
            found = await self._entries.by_keys(some)
            untold = {key[2] for key in some if key not in found and turns[key] == _LEAST_TURN}
            gone = await self._gone(untold) if untold else {}
            moves: dict[tuple[str, object], Moves] = {}
            for key in some:
                told = moves.setdefault(key[:2], Moves())
                if entry := found.get(key):
                    told.members.append(member_of(entry.place, key[2]))
                elif (turn := max(turns[key], gone.get(key[2], _LEAST_TURN))) != _LEAST_TURN:
                    told.removals.append(user_bytes(key[2]) + (turn ^ (1 << 63)).to_bytes(8, "big"))
            if await self._ranks.apply(moves) is None:  # type: ignore[arg-type]
                return False
        return True

    async def _gone(self, user_ids: Iterable[str]) -> dict[str, int]:
        """Accounts among these that were deleted, with a turn that is later than all they had."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_GONE, list(user_ids))
            turn = await connection.fetchval("select nextval('leaderboard_turn')") if rows else 0
        return {row["user_id"]: turn for row in rows}


def _keys(row: asyncpg.Record) -> Iterable[tuple[Key, int | None]]:
    turn = row["turn"]
    return ((key, turn) for key in keys_of(row["leaderboard_ids"], row["window_starts"], row["user_ids"]))
