"""Ranks in Redis: places come in, who is where comes out.

What does not answer or is not ready is None, not an error, except where a method says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import redis.asyncio as redis
from redis.exceptions import RedisError

from pkg.cache.answers import answers
from pkg.cache.scripts import Call, run_each
from pkg.clock import Clock
from pkg.errors import OofggError
from pkg.telemetry.logs import get_logger
from services.scoring.leaderboards import scripts
from services.scoring.leaderboards.entries import Spot
from services.scoring.leaderboards.places import MEMBER_BYTES, user_bytes, user_of

_log = get_logger(__name__)

READY: Final = b"ready"

_READ_SECONDS: Final = 0.5
_WRITE_SECONDS: Final = 2.0
_CLEAR_SECONDS: Final = 10.0
# Which database the ranks are made from.
_OWNER: Final = "boards:database"
# How long a Redis that did not answer is left alone.
_REST_SECONDS: Final = 2.0
# How long a builder may be silent before another one takes over.
_BUILDER_SECONDS: Final = 30


Question = tuple[Spot, str, bytes, int]
"""What to read of a window: `around` a user id (in bytes), a `page` behind a place, or the ranks of joined `users`."""


@dataclass(slots=True)
class Moves:
    """What happened in a window: members that are there now, joined; (user, turn) of removals, joined; whose rank to
    tell."""

    members: list[bytes] = field(default_factory=list)
    removals: list[bytes] = field(default_factory=list)
    asking: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Applied:
    """The state a window was found in, and, where it is ready, the ranks (from 1; 0 for none) that were asked for."""

    state: bytes
    ranks: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a ready window: how many there are in all; the rank (from 1) of the first entry that was asked for, how
    many those are, and a place that is not behind the first of them, nor before any other; the ranks that were asked
    for, 0 for none."""

    total: int
    first: int
    size: int
    ranks: Sequence[int]
    place: bytes


class Ranks:
    """The sorted sets of all windows."""

    def __init__(self, client: redis.Redis, clock: Clock) -> None:
        self._redis = client
        self._clock = clock
        self._rest_until = 0.0

    @property
    def away(self) -> bool:
        """Whether Redis did not answer a moment ago."""
        return self._clock.monotonic() < self._rest_until

    async def apply(self, moves: Mapping[Spot, Moves], builder: bytes = b"") -> dict[Spot, Applied] | None:
        """Brings what happened to Redis, each in one step; None when it cannot be known whether it got there."""
        calls = [
            (_keys(spot)[:2],
             (b"".join(told.members), b"".join(told.removals), b"".join(map(user_bytes, told.asking)), builder))
            for spot, told in moves.items()
        ]  # fmt: skip
        found = await self._ask(scripts.APPLY, calls, _WRITE_SECONDS)
        if found is None:
            return None
        answered = {}
        for (spot, told), answer in zip(moves.items(), found, strict=True):
            ready = answer[0] == READY
            ranks = {user: rank + 1 for user, rank in zip(told.asking, answer[2], strict=True)} if ready else {}
            answered[spot] = Applied(answer[0], ranks)
        return answered

    async def read(self, questions: Sequence[Question]) -> list[Slice | None]:
        """The answers to these questions, in one round trip; None for windows that are not ready."""
        if self.away:
            return [None] * len(questions)
        asked: dict[Spot, list[int]] = {}
        for number, question in enumerate(questions):
            asked.setdefault(question[0], []).append(number)
        calls = [
            (_keys(spot)[:2], [part for number in numbers for part in questions[number][1:]])
            for spot, numbers in asked.items()
        ]
        found: list[Slice | None] = [None] * len(questions)
        answered = await self._ask(scripts.READ, calls, _READ_SECONDS)
        for numbers, texts in zip(asked.values(), answered or (), strict=bool(answered)):
            for number, text in zip(numbers, texts, strict=False):  # none at all unless ready
                found[number] = _slice(text)
        return found

    async def begin(self, spot: Spot, builder: str, *, force: bool, keep_seconds: int) -> bytes | None:
        """Makes a window's keys anew for a builder, unless it is ready (without `force`) or being built.

        Returns its state: the builder's name if it may build; None when Redis does not answer.
        """
        told = (builder, int(force), _BUILDER_SECONDS, keep_seconds)
        found = await self._ask(scripts.BEGIN, [(_keys(spot), told)], _WRITE_SECONDS)
        return found[0] if found else None

    async def built(self, spot: Spot, builder: str, *, whole: bool) -> bytes | None:
        """Says that a builder is still at work, or that all is there. Returns the state."""
        told = (builder, int(whole), _BUILDER_SECONDS)
        found = await self._ask(scripts.BUILT, [(_keys(spot), told)], _WRITE_SECONDS)
        return found[0] if found else None

    async def drop(self, spot: Spot) -> None:
        """Forgets a window, if Redis answers."""
        try:
            async with answers(_WRITE_SECONDS):
                await self._redis.unlink(*_keys(spot))
        except OofggError as error:
            self._rest(error)

    async def index(self, spot: Spot, user_ids: Sequence[str]) -> list[bytes | None]:
        """What the index has for players; whether the set has the same is part of it. For the verifier.

        Raises Unavailable(BACKEND_UNAVAILABLE).
        """
        ranks, index, _ = _keys(spot)
        async with answers(_WRITE_SECONDS):
            users = list(map(user_bytes, user_ids))
            places: list[bytes | None] = await self._command("HMGET", index, *users)
            members = [(place or b"") + user for place, user in zip(places, users, strict=True)]
            scores = await self._command("ZMSCORE", ranks, *members)
        return [place if score is not None else None for place, score in zip(places, scores, strict=True)]

    async def members(self, spot: Spot) -> tuple[bool, int]:
        """Whether a window is ready, and how many there are in it. Raises Unavailable(BACKEND_UNAVAILABLE)."""
        ranks, index, _ = _keys(spot)
        async with answers(_WRITE_SECONDS):
            state = await self._command("HGET", index, "state")
            count = await self._command("ZCARD", ranks)
        return state == READY and count > 0, count - 1

    async def scan(self, spot: Spot, first: int, size: int) -> list[str]:
        """Players from this position on (from 0). Raises Unavailable(BACKEND_UNAVAILABLE)."""
        async with answers(_WRITE_SECONDS):
            found = await self._command("ZRANGE", _keys(spot)[0], first, first + size - 1)
        return [user_of(member) for member in found if len(member) == MEMBER_BYTES]

    async def run_id(self) -> str | None:
        """Which start of which server this is; None when it does not answer."""
        try:
            async with answers(_WRITE_SECONDS):
                return str((await self._redis.info("server"))["run_id"])
        except OofggError as error:
            self._rest(error)
            return None

    async def belong_to(self, database: str) -> bool:
        """Forgets all ranks if they were made from another database, such as one from before a restore: its turns may
        be ahead of this one's. False when Redis does not answer."""
        try:
            async with answers(_CLEAR_SECONDS):
                before: Any = await self._redis.set(_OWNER, database, get=True)
                if before not in (None, database.encode()):
                    _log.warning("ranks of another database are forgotten")
                    keys = [key async for key in self._redis.scan_iter("board:{*", count=1_000)]
                    for key in keys:
                        await self._redis.unlink(key)
        except OofggError as error:
            self._rest(error)
            return False
        return True

    async def _ask(self, script: str, calls: Sequence[Call], seconds: float) -> list[Any] | None:
        try:
            found = await run_each(self._redis, script, calls, within=seconds)
        except OofggError as error:
            self._rest(error)
            return None
        if failed := next((answer for answer in found if isinstance(answer, RedisError)), None):
            _log.error("redis refuses", cause=repr(failed))
            self._rest(failed)
            return None
        return found

    async def _command(self, *parts: str | bytes | int) -> Any:
        # The client's own methods are typed for clients that decode.
        return await self._redis.execute_command(*parts)  # type: ignore[no-untyped-call]

    def _rest(self, error: BaseException) -> None:
        if not self.away:
            _log.warning("leaderboards are read from PostgreSQL for a moment", cause=repr(error.__cause__ or error))
        self._rest_until = self._clock.monotonic() + _REST_SECONDS


def _keys(spot: Spot) -> tuple[str, str, str]:
    base = f"board:{{{spot[0]}:{int(spot[1].timestamp())}}}"
    return f"{base}:ranks", f"{base}:index", f"{base}:builder"


def _slice(answer: bytes) -> Slice:
    head, _, place = answer.partition(b"\n")
    total, first, size, *ranks = map(int, head.split())
    return Slice(total, first + 1, size, [rank + 1 for rank in ranks], place)
