"""What was said and done in finished sessions: kept in PostgreSQL for a while, compressed, and read page by page."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pkg.clock import Clock
from pkg.db.database import Connection, Database
from pkg.errors import NotFound, PermissionDenied, Reason, Unavailable
from pkg.telemetry.logs import get_logger
from services.game.codec import read_private, split_pieces
from services.game.engine.order import Tail
from services.game.engine.room import Room

_log = get_logger(__name__)

# Most of the gain for a small part of the time.
_LEVEL: Final = 1
_PRUNE_SECONDS: Final = 600.0
_PRUNE_AT_ONCE: Final = 200
_PAGE_BYTES: Final = 1024 * 1024

_KEEP: Final = """
    insert into replay (session_id, game_id, seats, first_seq, log, expire_time)
    values ($1, $2, $3::jsonb, $4, $5, $6) on conflict do nothing
"""
_READ: Final = """
    select game_id, seats, first_seq, log, expire_time from replay where session_id = $1 and expire_time > $2
"""
_PRUNE: Final = """
    delete from replay where session_id in (select session_id from replay where expire_time <= $1 limit $2)
"""


@dataclass(frozen=True, slots=True)
class Recording:
    """A session's log, ready to be written."""

    seats: Sequence[tuple[int, str, int]]
    first_seq: int
    log: bytes


@dataclass(frozen=True, slots=True)
class Replay:
    """A session's log as it was kept. `seats`: (seat, user id, number of the event from which on it is theirs)."""

    game_id: str
    seats: Sequence[tuple[int, str, int]]
    first_seq: int
    expire_time: datetime
    tail: Tail

    def page(self, user_id: str | None, after: int, most: int) -> tuple[list[bytes], int]:
        """Events after a number as an account gets them (None: all), and the number to go on after; 0 at the end.

        Raises PermissionDenied(NOT_A_PARTICIPANT).
        """
        place, since = 0, 0
        if user_id is not None:
            found = next(((seat, joined) for seat, user, joined in self.seats if user == user_id), None)
            if found is None:
                raise PermissionDenied(
                    Reason.NOT_A_PARTICIPANT, "Only who had a seat at the end and the game's developer can see this."
                )
            place, since = found
        after = max(after, self.first_seq - 1)
        pieces: list[bytes] = []
        size = 0
        while len(pieces) < most and after < self.tail.head:
            piece, last = self.tail.page(
                after, 0, at_least_one=True, place=place, since=since, everything=user_id is None
            )
            size += len(piece)
            if pieces and size > _PAGE_BYTES:
                return pieces, after
            pieces.append(piece)
            after = last
        return pieces, after if after < self.tail.head else 0


class ReplayStore:
    """Replays in PostgreSQL. With `days` 0 none are kept."""

    def __init__(self, database: Database, clock: Clock, *, days: float) -> None:
        self._database = database
        self._clock = clock
        self._days = days

    async def record(self, room: Room) -> Recording | None:
        """What to keep of a session whose result is decided; None when nothing is kept."""
        if not self._days:
            return None
        tail = room.tail
        joined = b"".join(tail.pieces(tail.first - 1))
        log = await asyncio.to_thread(zlib.compress, joined, _LEVEL)
        session = room.session
        seats = [
            (seat.number, seat.user_id, seat.join_seq) for seat in session.roster if seat.number not in session.absent
        ]
        return Recording(seats, tail.first, log)

    async def keep(self, connection: Connection, room: Room, recording: Recording) -> None:
        """Writes it, in the transaction that writes the result."""
        facts = room.session.facts
        expire_time = self._clock.now() + timedelta(days=self._days)
        await connection.execute(
            _KEEP, facts.session_id, facts.game_id, json.dumps(recording.seats), recording.first_seq, recording.log,
            expire_time,
        )  # fmt: skip

    async def read(self, session_id: str) -> Replay:
        """A session's replay. Raises NotFound(REPLAY_NOT_FOUND)."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(_READ, session_id, self._clock.now())
        if row is None:
            raise NotFound(
                Reason.REPLAY_NOT_FOUND, f"There is no replay of session {session_id}.", session_id=session_id
            )
        tail = await asyncio.to_thread(_tail, row["first_seq"], row["log"])
        seats = [(int(seat), str(user), int(since)) for seat, user, since in json.loads(row["seats"])]
        return Replay(str(row["game_id"]), seats, row["first_seq"], row["expire_time"], tail)

    async def prune(self, every: float = _PRUNE_SECONDS) -> None:
        """Forgets what has expired, now and every so many seconds, until cancelled."""
        full = f"DELETE {_PRUNE_AT_ONCE}"
        while True:
            try:
                found = full
                while found == full:  # each with a time limit of its own: all of them may take long
                    async with self._database.acquire() as connection:
                        found = await connection.execute(_PRUNE, self._clock.now(), _PRUNE_AT_ONCE)
            except Unavailable as error:
                _log.info("replays are not pruned now", reason=error.reason)
            await asyncio.sleep(every)


def _tail(first_seq: int, log: bytes) -> Tail:
    pieces = split_pieces(zlib.decompress(log))
    tail = Tail(first_seq - 1, max_events=len(pieces), max_bytes=1 << 62)
    tail.extend(pieces, read_private(pieces))
    return tail
