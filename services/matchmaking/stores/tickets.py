"""Tickets in Redis, as their players and watchers use them. Everything raises Unavailable when Redis is away."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, cast

import redis.asyncio as redis

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.cache.answers import answers
from pkg.cache.scripts import Argument, Call, run, run_all
from pkg.db.lookups import Lookup
from pkg.errors import FailedPrecondition, NotFound, Reason, ResourceExhausted
from services.matchmaking.engine.tickets import Why
from services.matchmaking.stores import scripts

# Who is not watched or read for so long expires.
UNWATCHED_MILLISECONDS: Final = 30_000
_MOST_TICKETS: Final = 50_000
_AT_ONCE: Final = 500
# How long scripts may take that are run for many tickets at once.
MANY_SECONDS: Final = 5.0
_HELD_MILLISECONDS: Final = 10_000
_FIELDS: Final = ("d", "s", "v", "e", "r", "m", "y", "a", "o")


@dataclass(frozen=True, slots=True)
class Entered:
    """A ticket that was entered; `new` unless the same request had done so before.

    `led`: all its queues have leaders. `enter_ms` is in milliseconds since the epoch.
    """

    ticket_id: str
    new: bool
    led: bool
    enter_ms: int = 0


@dataclass(frozen=True, slots=True)
class MatchRecord:
    """A match as it is kept. `deadline_ms` 0: nobody is asked."""

    match_id: str
    data: bytes
    state: str
    players: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class TicketRecord:
    """A ticket as it is kept. Times are in milliseconds since the epoch."""

    data: bytes
    state: int
    version: int
    enter_ms: int
    reason: int
    accepted: int
    end_ms: int
    why: Why | None
    match: MatchRecord | None


class Leaving(Enum):
    """What came of a player's wish to leave a ticket."""

    LEFT = auto()
    """The others wait on."""
    OVER = auto()
    """The ticket is over, for this or another reason."""
    CHANGED = auto()
    """It is not as it was read; read it again."""


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A ticket on its way in: many share a round trip."""

    base: str
    arguments: Sequence[Argument]


def base_of(game_id: str) -> str:
    """The common beginning of a game's keys, which share a hash slot."""
    return f"{{mm:{game_id}}}"


class TicketStore:
    """Tickets by game and id."""

    def __init__(self, client: redis.Redis, node: str) -> None:
        """`node` is told of changes of the tickets that are watched here."""
        self._redis = client
        self._node = node
        self._entries: Lookup[_Entry, list[Any]] = Lookup(self._enter_all, backend="Redis")

    async def enter(
        self,
        game_id: str,
        ticket_id: str,
        data: bytes,
        *,
        users: Sequence[str],
        queues: Sequence[str],
        request: str = "",
        watched: bool = False,
        enter_ms: int | None = None,
        held: bool = False,
    ) -> Entered:
        """Enters queues; with `enter_ms` again, at an old place; `held`, when `seated` has been told, or ten seconds.

        Raises FailedPrecondition(TICKET_ACTIVE), ResourceExhausted(PENALISED, OVERLOADED).
        """
        answer = await self._entries.get(
            _Entry(
                base_of(game_id),
                [
                    ticket_id, data, request, self._node if watched else "", UNWATCHED_MILLISECONDS,
                    "" if enter_ms is None else enter_ms, _MOST_TICKETS, len(users),
                    _HELD_MILLISECONDS if held else 0, *users, *queues,
                ],
            )
        )  # fmt: skip
        if answer is None:
            raise AssertionError("the script answers every entry")
        kind = answer[0].decode()
        if kind == "NEW":
            return Entered(ticket_id, True, bool(answer[1]), int(float(answer[2])))
        if kind == "SAME":
            return Entered(answer[1].decode(), False, True)
        if kind == "ACTIVE":
            other, user = answer[1].decode(), answer[2].decode()
            raise FailedPrecondition(
                Reason.TICKET_ACTIVE,
                f"Player {user} has a ticket in this game already: {other}. Watch, leave or cancel that one.",
                ticket_id=other,
                user_id=user,
            )
        if kind == "PENALISED":
            user, wait = answer[1].decode(), int(answer[2]) / 1000
            raise ResourceExhausted(
                Reason.PENALISED,
                f"Player {user} declined or missed a match and can enter a queue again in {max(1, round(wait))} s.",
                retry_after=wait,
                user_id=user,
            )
        raise ResourceExhausted(
            Reason.OVERLOADED,
            f"Queue {answer[1].decode()} holds {_MOST_TICKETS} tickets, which is as many as it can. Try again shortly.",
            retry_after=5.0,
        )

    async def seated(self, game_id: str, ticket_id: str, match_id: str, data: bytes, players: int) -> bool:
        """A ticket that is held has its match; with no id it enters its queues. Whether all of these have leaders."""
        arguments: list[Argument] = [ticket_id, match_id, data, players]
        return bool(await run(self._redis, scripts.SEATED, [base_of(game_id)], arguments))

    async def read(self, game_id: str, ticket_ids: Sequence[str]) -> list[TicketRecord | None]:
        """Tickets with their matches; None for those that there are not."""
        base = base_of(game_id)
        found: list[TicketRecord | None] = []
        for start in range(0, len(ticket_ids), _AT_ONCE):
            pipeline = self._redis.pipeline(transaction=False)
            for ticket_id in ticket_ids[start : start + _AT_ONCE]:
                pipeline.hmget(f"{base}:t:{ticket_id}", *_FIELDS)
            async with answers():
                rows = await pipeline.execute()
            matches = await self._matches(base, {row[5].decode() for row in rows if row[0] and row[5]})
            found += [_ticket(row, matches) if row[0] else None for row in rows]
        return found

    async def one(self, game_id: str, ticket_id: str) -> TicketRecord:
        """Raises NotFound(TICKET_NOT_FOUND)."""
        (found,) = await self.read(game_id, [ticket_id])
        if found is None:
            raise ticket_not_found(ticket_id)
        return found

    async def active(self, game_id: str, user_id: str) -> str:
        """The ticket that a player has under way, or had last. Raises NotFound(TICKET_NOT_FOUND)."""
        async with answers():
            found = cast("bytes | None", await self._redis.get(f"{base_of(game_id)}:u:{user_id}"))
        if found is None:
            raise ticket_not_found("")
        return found.decode()

    async def keep(self, game_id: str, ticket_ids: Sequence[str]) -> list[tuple[int, Why | None] | None]:
        """Renews tickets. Their versions and what keeps others away; None for those that there are not."""
        base = base_of(game_id)
        chunks = [ticket_ids[start : start + _AT_ONCE] for start in range(0, len(ticket_ids), _AT_ONCE)]
        calls: list[Call] = [([base], [UNWATCHED_MILLISECONDS, *chunk]) for chunk in chunks]
        told = await run_all(self._redis, scripts.KEEP, calls, within=MANY_SECONDS)
        flat = [value for answer in told for value in answer]
        return [
            (int(version), unpack_why(why)) if version else None
            for version, why in zip(flat[::2], flat[1::2], strict=True)
        ]

    async def watch(self, game_id: str, ticket_id: str) -> None:
        """Has this node told of a ticket's changes. Raises NotFound(TICKET_NOT_FOUND)."""
        if not await run(self._redis, scripts.WATCH, [base_of(game_id)], [ticket_id, self._node]):
            raise ticket_not_found(ticket_id)

    async def cancel(self, game_id: str, ticket_id: str, reason: pb.TicketReason.ValueType, user_id: str) -> None:
        """Takes a ticket out, or declines its proposed match; nothing happens for one that is over.

        Raises FailedPrecondition(TICKET_STATE) when its match is made, NotFound(TICKET_NOT_FOUND).
        """
        (kind, *_) = await run(self._redis, scripts.CANCEL, [base_of(game_id)], [ticket_id, reason, user_id])
        if kind == b"NONE":
            raise ticket_not_found(ticket_id)
        if kind == b"MADE":
            raise _wrong_state("The match of this ticket is made; its session follows in a moment. Leave that one.")

    async def leave(self, game_id: str, ticket_id: str, user_id: str, before: bytes, after: bytes) -> Leaving:
        """Takes a player out of a ticket whose data are `before`, and `after` without the player, empty for nobody.

        Raises FailedPrecondition(TICKET_STATE) when its match is made, or while a seat is looked for,
        NotFound(TICKET_NOT_FOUND).
        """
        (kind, *_) = await run(self._redis, scripts.LEAVE, [base_of(game_id)], [ticket_id, user_id, before, after])
        match kind:
            case b"LEFT":
                return Leaving.LEFT
            case b"CHANGED":
                return Leaving.CHANGED
            case b"NONE":
                raise ticket_not_found(ticket_id)
            case b"HELD":
                raise _wrong_state("A seat is being looked for; it is found or not within ten seconds. Try again then.")
            case b"MADE":
                raise _wrong_state("The match of this ticket is made; its session follows in a moment. Leave that one.")
        return Leaving.OVER

    async def has_left(self, game_id: str, ticket_id: str, user_id: str) -> bool:
        """Whether a player has left a ticket that is kept."""
        async with answers():
            found = cast("bytes | None", await self._redis.hget(f"{base_of(game_id)}:t:{ticket_id}", "g"))
        return found is not None and user_id in found.decode().split(" ")

    async def answer(self, game_id: str, ticket_id: str, user_id: str, *, accept: bool) -> None:
        """Accepts or declines. Raises FailedPrecondition(TICKET_STATE), NotFound(TICKET_NOT_FOUND)."""
        (kind, *_) = await run(self._redis, scripts.ANSWER, [base_of(game_id)], [ticket_id, user_id, int(accept)])
        if kind == b"NONE":
            raise ticket_not_found(ticket_id)
        if kind == b"STATE":
            raise _wrong_state(
                "There is no match to answer: it came to nothing, is made already, or was never proposed."
            )

    async def _enter_all(self, entries: list[_Entry]) -> dict[_Entry, list[Any]]:
        calls = [([entry.base], entry.arguments) for entry in entries]
        told = await run_all(self._redis, scripts.ENTER, calls, within=MANY_SECONDS)
        return dict(zip(entries, told, strict=True))

    async def _matches(self, base: str, match_ids: set[str]) -> Mapping[str, MatchRecord]:
        if not match_ids:
            return {}
        wanted = sorted(match_ids)
        pipeline = self._redis.pipeline(transaction=False)
        for match_id in wanted:
            pipeline.hmget(f"{base}:m:{match_id}", "d", "s", "n", "until")
        async with answers():
            rows = await pipeline.execute()
        return {
            match_id: MatchRecord(match_id, row[0], row[1].decode(), int(row[2]), int(float(row[3])))
            for match_id, row in zip(wanted, rows, strict=True)
            if row[0]
        }


def _ticket(row: Sequence[bytes | None], matches: Mapping[str, MatchRecord]) -> TicketRecord:
    data, state, version, enter, reason, match, why, accepted, end = row
    return TicketRecord(
        data or b"",
        int(state or 0),
        int(version or 0),
        int(float(enter or 0)),
        int(reason or 0),
        int(accepted or 0),
        int(float(end or 0)),
        unpack_why(why),
        matches.get(match.decode()) if match else None,
    )


def pack_why(why: Why) -> bytes:
    """For Redis: as few bytes as it takes."""
    parts = [struct.pack("<I", why.candidates)]
    for rule, count in sorted(why.exclusions.items()):
        name = rule.encode()[:255]
        parts.append(struct.pack("<IB", count, len(name)) + name)
    return b"".join(parts)


def unpack_why(data: bytes | None) -> Why | None:
    """What `pack_why` has packed; None for nothing."""
    if not data:
        return None
    (candidates,) = struct.unpack_from("<I", data)
    exclusions: dict[str, int] = {}
    at = 4
    while at < len(data):
        count, length = struct.unpack_from("<IB", data, at)
        exclusions[data[at + 5 : at + 5 + length].decode(errors="replace")] = count
        at += 5 + length
    return Why(candidates, exclusions)


def ticket_not_found(ticket_id: str) -> NotFound:
    """The error for a ticket that there is not."""
    return NotFound(
        Reason.TICKET_NOT_FOUND,
        f"There is no ticket {ticket_id[:64]}, or it ended too long ago." if ticket_id else "You have no ticket here.",
        ticket_id=ticket_id[:64],
    )


def _wrong_state(message: str) -> FailedPrecondition:
    return FailedPrecondition(Reason.TICKET_STATE, message)
