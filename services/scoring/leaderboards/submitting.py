"""Takes scores in: calls that come together share a transaction, then Redis is told.

A worker does it, not the callers: who gives up must not undo what others wait for, nor leave it open whether it was
written. A call that is alone does not wait for company.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from pkg.clock import Clock
from pkg.db.database import Connection, Database
from pkg.deadline import within
from pkg.errors import InvalidArgument, OofggError, Reason, ResourceExhausted, Unavailable, backend_unavailable
from pkg.grouping import gather_seconds
from pkg.remembering import Remembered
from pkg.telemetry.logs import get_logger
from pkg.time_limit import time_limit
from services.scoring.leaderboards.changes import Changes
from services.scoring.leaderboards.entries import EntryStore, Spot, columns_of, spot_of
from services.scoring.leaderboards.places import member_of
from services.scoring.leaderboards.ranks import Moves, Ranks
from services.scoring.leaderboards.rules import Outcome, Submission
from services.scoring.leaderboards.store import SeasonStore
from services.scoring.leaderboards.windows import Window

_log = get_logger(__name__)

# The second worker is for when the first is held up: what one writes at once costs less than what two write.
_PATIENCE_SECONDS: Final = (0.0, 0.03)
_MOST_SCORES: Final = 500
_MOST_WAITING: Final = 2_000
_TRIES: Final = 3
_CALL_SECONDS: Final = 10.0
# After so long somebody else tells Redis.
_DUE_SECONDS: Final = 3.0
_KNOWN_WINDOWS: Final = 10_000
_KNOWN_SECONDS: Final = 60.0

_KEPT: Final = """
    select r.caller, r.rpc, r.request_id, r.digest, r.response
    from unnest($1::text[], $2::text[], $3::text[]) as i (caller, rpc, request_id)
    join reply r using (caller, rpc, request_id)
"""
_KEEP: Final = """
    insert into reply (caller, rpc, request_id, digest, response)
    select * from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[])
"""
# Both at once: a statement costs more than what is in it.
_KEEP_AND_NOTE: Final = f"""
    with kept as ({_KEEP})
    insert into leaderboard_change (due_time, leaderboard_ids, window_starts, user_ids)
    values (now() + make_interval(secs => $6), $7, $8, string_to_array($9, ',')::uuid[]) returning change_id
"""  # noqa: S608


class _PerhapsRepeated(Exception):
    """A score with a request id was refused, perhaps since its first time was the last that fitted."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """What makes two calls the same, and what both must then have in common."""

    caller: str
    rpc: str
    request_id: str
    digest: bytes

    @property
    def key(self) -> tuple[str, str, str]:
        """Its key in the table of replies."""
        return self.caller, self.rpc, self.request_id


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a call: an outcome for each of its scores, or the reply that was kept of its first time."""

    outcomes: Sequence[Outcome] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)
    kept: bytes | None = None


@dataclass(eq=False, slots=True)
class Job:
    """A call. `reply` encodes what is kept for repeats; None for what must not be."""

    submissions: Sequence[Submission]
    repeat: Repeat | None
    reply: Callable[[Sequence[Outcome]], bytes | None]
    tell_ranks: bool
    future: asyncio.Future[Written] = field(init=False)
    since: float = field(init=False)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.future = loop.create_future()
        self.since = loop.time()


class Submitting:
    """The queue of a process, and its workers."""

    def __init__(
        self,
        database: Database,
        entries: EntryStore,
        seasons: SeasonStore,
        ranks: Ranks,
        changes: Changes,
        clock: Clock,
    ) -> None:
        self._database = database
        self._entries = entries
        self._seasons = seasons
        self._ranks = ranks
        self._changes = changes
        self._clock = clock
        self._waiting: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._known: Remembered[Spot, bool] = Remembered(_KNOWN_WINDOWS, _KNOWN_SECONDS, clock.monotonic)

    async def submit(self, job: Job) -> Written:
        """Raises InvalidArgument(REQUEST_ID_REUSED), Unavailable. A call that gives up may have been written."""
        if len(self._waiting) >= _MOST_WAITING:
            raise ResourceExhausted(
                Reason.OVERLOADED, "More scores come in than can be written. Try again shortly.", retry_after=1.0
            )
        self._waiting.append(job)
        self._wake.set()
        try:
            with time_limit(within(_CALL_SECONDS)):
                return await job.future
        except TimeoutError as error:
            raise backend_unavailable("PostgreSQL") from error

    async def run(self) -> None:
        """Works until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for number, patience in enumerate(_PATIENCE_SECONDS):
                    tasks.create_task(self._work(patience), name=f"scores {number}")
        finally:
            for job in self._waiting:
                _fail(job, Unavailable(Reason.SHUTTING_DOWN, "This node is shutting down. Try again."))

    async def _work(self, patience: float) -> None:
        """Takes what waits; what has waited for less than so many seconds is left to others."""
        last = 1
        clock = asyncio.get_running_loop().time
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            if (left := self._waiting[0].since + patience - clock()) > 0:
                await asyncio.sleep(left)
                continue
            await asyncio.sleep(gather_seconds(last))
            group = self._take()
            last = len(group)
            if not group:
                continue
            try:
                await self._serve(group)
            except asyncio.CancelledError:
                for job in group:
                    _fail(job, Unavailable(Reason.SHUTTING_DOWN, "This node is shutting down. Try again."))
                raise

    def _take(self) -> list[Job]:
        group: list[Job] = []
        again: list[Job] = []
        repeats = set()
        scores = 0
        while self._waiting and scores < _MOST_SCORES:
            job = self._waiting.popleft()
            if job.future.done():  # its caller has given up
                continue
            if job.repeat is not None and job.repeat.key in repeats:
                again.append(job)  # finds the reply of the other one in the next group
                continue
            if job.repeat is not None:
                repeats.add(job.repeat.key)
            group.append(job)
            scores += len(job.submissions)
        self._waiting.extendleft(reversed(again))
        return group

    async def _serve(self, group: Sequence[Job]) -> None:
        try:
            written = await self._write_again(group)
        except Exception as error:
            if len(group) > 1 and not isinstance(error, Unavailable):
                # One of them brought what PostgreSQL cannot take, which is not the others' fault.
                for job in group:
                    await self._serve([job])
                return
            if not isinstance(error, OofggError):
                _log.exception("scores were not written")
            for job in group:
                _fail(job, error)
            return
        for job, result in zip(group, written, strict=True):
            if job.future.done():
                continue
            if isinstance(result, OofggError):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)

    async def _write_again(self, group: Sequence[Job]) -> list[Written | OofggError]:
        for left in reversed(range(_TRIES)):
            try:
                # Hardly any call is a repeat, and one that is fails when its reply is kept: only then is it looked for.
                return await self._write(group, look=left < _TRIES - 1)
            except (asyncpg.UniqueViolationError, _PerhapsRepeated):
                if not left:
                    raise
            except Unavailable as error:
                if not left or not isinstance(error.__cause__, asyncpg.DeadlockDetectedError):
                    raise
        raise AssertionError("the last try returns or raises")

    async def _write(self, group: Sequence[Job], *, look: bool) -> list[Written | OofggError]:
        outcomes: dict[Job, list[Outcome]] = {}
        moved: dict[Spot, dict[str, bytes]] = {}
        change_id = None
        async with self._database.transaction() as connection:
            kept = await self._kept(connection, [job.repeat for job in group if job.repeat]) if look else {}
            fresh = [job for job in group if job.repeat is None or job.repeat.key not in kept]
            submissions = [one for job in fresh for one in job.submissions]
            new = self._new_windows(submissions)
            if new:
                await self._seasons.played(connection, new)
            if submissions:
                found = iter(await self._entries.submit(connection, submissions))
                outcomes = {job: [next(found) for _ in job.submissions] for job in fresh}
                if not look and any(
                    job.repeat is not None and outcome.entry is None for job in fresh for outcome in outcomes[job]
                ):
                    raise _PerhapsRepeated
                moved = _moved(outcomes)
                change_id = await self._keep(connection, outcomes, moved)
        for leaderboard_id, window in new:
            self._known.put((leaderboard_id, window.start), True)
        ranks = await self._tell_redis(outcomes, moved, change_id)
        return [self._result(job, outcomes, ranks, kept) for job in group]

    @staticmethod
    def _result(
        job: Job,
        outcomes: Mapping[Job, list[Outcome]],
        ranks: Mapping[Spot, Mapping[str, int]],
        kept: Mapping[tuple[str, str, str], tuple[bytes, bytes]],
    ) -> Written | OofggError:
        if job in outcomes:
            told = ranks.get(spot_of(job.submissions[0]), {}) if job.tell_ranks else {}
            return Written(outcomes[job], told)
        if job.repeat is None:
            raise AssertionError("what has no request id is always fresh")
        digest, response = kept[job.repeat.key]
        if digest != job.repeat.digest:
            return InvalidArgument(
                Reason.REQUEST_ID_REUSED, "request_id: was used before with other content. Choose a new one."
            )
        return Written(kept=response)

    async def _kept(
        self, connection: Connection, repeats: Sequence[Repeat]
    ) -> dict[tuple[str, str, str], tuple[bytes, bytes]]:
        if not repeats:
            return {}
        rows = await connection.fetch(
            _KEPT, [one.caller for one in repeats], [one.rpc for one in repeats], [one.request_id for one in repeats]
        )
        return {(row["caller"], row["rpc"], row["request_id"]): (row["digest"], row["response"]) for row in rows}

    async def _keep(
        self, connection: Connection, outcomes: Mapping[Job, Sequence[Outcome]], moved: Mapping[Spot, Iterable[str]]
    ) -> int | None:
        """Keeps replies, and notes what Redis has to be told. Returns the number of the change, if there is one."""
        replies = sorted(
            ((*job.repeat.key, job.repeat.digest, reply))
            for job, told in outcomes.items()
            if job.repeat is not None and (reply := job.reply(told)) is not None
        )
        keys = [(*spot, user_id) for spot, users in moved.items() for user_id in users]
        if not replies:
            return await self._entries.note(connection, keys, _DUE_SECONDS) if keys else None
        columns = [list(column) for column in zip(*replies, strict=True)]
        if not keys:
            await connection.execute(_KEEP, *columns)
            return None
        change_id: int = await connection.fetchval(_KEEP_AND_NOTE, *columns, _DUE_SECONDS, *columns_of(keys))
        return change_id

    def _new_windows(self, submissions: Sequence[Submission]) -> set[tuple[str, Window]]:
        """Windows of which it is not known that they are noted."""
        windows = {spot_of(one): one.window for one in submissions}
        return {(spot[0], window) for spot, window in windows.items() if not self._known.get(spot, False)}

    async def _tell_redis(
        self,
        outcomes: Mapping[Job, Sequence[Outcome]],
        moved: Mapping[Spot, Mapping[str, bytes]],
        change_id: int | None,
    ) -> dict[Spot, Mapping[str, int]]:
        moves = {
            spot: Moves([member_of(place, user_id) for user_id, place in places.items()])
            for spot, places in moved.items()
        }
        for job, told in outcomes.items():
            if not job.tell_ranks:
                continue
            for one, outcome in zip(job.submissions, told, strict=True):
                if outcome.entry is not None:
                    moves.setdefault(spot_of(one), Moves()).asking.append(one.user_id)
        if not moves or self._ranks.away:
            return {}
        applied = await self._ranks.apply(moves)
        if applied is None:
            return {}
        if change_id is not None:
            self._changes.applied(change_id)
        return {spot: told.ranks for spot, told in applied.items()}


def _moved(outcomes: Mapping[Job, Sequence[Outcome]]) -> dict[Spot, dict[str, bytes]]:
    """The places that entries have moved to, by window and player."""
    moved: dict[Spot, dict[str, bytes]] = {}
    for job, told in outcomes.items():
        for one, outcome in zip(job.submissions, told, strict=True):
            if outcome.changed and outcome.entry is not None:
                moved.setdefault(spot_of(one), {})[one.user_id] = outcome.entry.place
    return moved


def _fail(job: Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)
        job.future.exception()  # its caller may have given up, and nobody else looks
