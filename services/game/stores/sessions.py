"""Live state in Redis: sessions and their logs, replies to repeated requests.

A session's hash holds its fields (`records`), `epoch`, `epochs` (`lineage`), `owner`, its `node` and `head`; its log is
a stream with one entry per append, whose id is the number of its last event. What a process must not lose when it is
killed is written here before anyone sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import redis.asyncio as redis
from google.protobuf.message import Message
from redis.exceptions import RedisError

from pkg.cache.answers import answers
from pkg.cache.scripts import Argument, Call, run, run_all, run_each
from pkg.errors import FailedPrecondition, Internal, InvalidArgument, NotFound, OofggError, Reason
from pkg.telemetry.logs import get_logger
from services.game.codec import read_private, split_pieces
from services.game.engine.facts import OVER, SessionTimes, State
from services.game.engine.lineage import Lineage
from services.game.engine.order import Tail
from services.game.engine.records import all_fields, read_session
from services.game.engine.room import Batch
from services.game.engine.sessions import Session
from services.game.nodes.peers import Peer
from services.game.stores import scripts

_log = get_logger(__name__)

_PROBE: Final = "game:probe"
_REPLY_MILLISECONDS: Final = 24 * 3600 * 1000
_ENTRY_BYTES: Final = 256 * 1024
_PAGE: Final = 256
_FIRST_PAGE: Final = 32
_Entry = tuple[bytes, dict[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an append. `detail` is the node that has taken the session when it is FENCED."""

    status: str
    detail: str = ""


KEPT: Final = "KEPT"
FENCED: Final = "FENCED"
LOST: Final = "LOST"
FAILED: Final = "FAILED"


@dataclass(frozen=True, slots=True)
class Append:
    """A batch of a session. `first` is the number of the first event the log has to keep."""

    session_id: str
    epoch: int
    batch: Batch
    first: int
    lineage: Lineage


@dataclass(frozen=True, slots=True)
class Creation:
    """A session to write: the node that is to own it, its events so far, a reply to keep with it and where."""

    session: Session
    owner: Peer
    pieces: Sequence[bytes] = ()
    reply: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """A session that is there now: its epoch, or the incarnation that has owned the one that was there before."""

    epoch: int = 0
    other: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A session this node now owns."""

    session: Session
    epoch: int
    commands: dict[int, int]
    tail: Tail
    lineage: Lineage


class SessionStore:
    """Sessions in Redis. Everything raises Unavailable(BACKEND_UNAVAILABLE) when Redis is away."""

    def __init__(self, client: redis.Redis, me: Peer, times: SessionTimes, *, ended_seconds: float) -> None:
        self._redis = client
        self._me = me
        self._times = times
        self._ended_milliseconds = int(ended_seconds * 1000)

    async def create(self, creations: Sequence[Creation]) -> list[Created]:
        """Writes new sessions, in one round trip. One that is there already stays as it is."""
        return [
            Created(epoch=int(answer[1])) if answer[0] == b"KEPT" else Created(other=answer[1].decode())
            for answer in await run_all(self._redis, scripts.CREATE, [_creating(creation) for creation in creations])
        ]

    async def read(self, session_id: str) -> tuple[Session, str]:
        """A session as everybody may see it, and its node. Raises NotFound(SESSION_NOT_FOUND)."""
        (found,) = await self.placed([session_id])
        if found is None:
            raise session_not_found(session_id)
        return found[0], found[1].node

    async def read_many(self, session_ids: Iterable[str]) -> list[Session | None]:
        """Several sessions as everybody may see them, None for those that are gone."""
        return [found and found[0] for found in await self.placed(session_ids)]

    async def placed(self, session_ids: Iterable[str]) -> list[tuple[Session, Peer] | None]:
        """Several sessions and the nodes that own them, dead or alive; None for those that are gone."""
        pipeline = self._redis.pipeline(transaction=False)
        for session_id in session_ids:
            pipeline.hgetall(_key(session_id))
        async with answers():
            found = await pipeline.execute()
        return [
            (read_session(fields, self._times)[0], Peer(fields[b"owner"].decode(), fields[b"node"].decode()))
            if _is_whole(fields)
            else None
            for fields in found
        ]

    async def owner(self, session_id: str) -> Peer:
        """The node that owns a session, dead or alive. Raises NotFound(SESSION_NOT_FOUND)."""
        (found,) = await self.owners([session_id])
        if found is None:
            raise session_not_found(session_id)
        return found

    async def owners(self, session_ids: Sequence[str]) -> list[Peer | None]:
        """The same for several; None for those that are gone."""
        pipeline = self._redis.pipeline(transaction=False)
        for session_id in session_ids:
            pipeline.hmget(_key(session_id), "owner", "node")
        async with answers():
            found = await pipeline.execute()
        return [Peer(owner.decode(), node.decode()) if owner and node else None for owner, node in found]

    async def take(self, takes: Sequence[tuple[str, Peer]]) -> list[Taken | OofggError]:
        """Makes this node the owner of sessions, each taken from a node, at their next epochs, and reads them back.

        Gives NotFound(SESSION_NOT_FOUND), or FailedPrecondition(WRONG_NODE) where another node was first.
        """
        me = self._me
        calls = [([_key(session_id)], (me.incarnation, me.node, other.incarnation)) for session_id, other in takes]
        taken_fields = await run_all(self._redis, scripts.TAKE, calls)
        heads = [(session_id, _fields(answer)) for (session_id, _), answer in zip(takes, taken_fields, strict=True)]
        tails = iter(await self._read_tails([(session_id, int(each[b"head"])) for session_id, each in heads if each]))
        taken: list[Taken | OofggError] = []
        for (session_id, fields), answer in zip(heads, taken_fields, strict=True):
            if fields is not None:
                taken.append(self._read_taken(session_id, fields, next(tails)))
            else:
                taken.append(wrong_node(session_id, answer[1].decode()) if answer else session_not_found(session_id))
        return taken

    def _read_taken(self, session_id: str, fields: dict[bytes, bytes], tail: Tail | None) -> Taken | OofggError:
        """One that cannot be read is nobody's any more, and keeps no other from being taken."""
        try:
            if tail is None:
                raise ValueError("its log cannot be read")
            session, commands = read_session(fields, self._times)
            lineage = Lineage.read(fields[b"epochs"].decode())
            return Taken(session, int(fields[b"epoch"]), commands, tail, lineage)
        except Exception:
            _log.exception("a session cannot be read", session_id=session_id)
            return Internal(Reason.INTERNAL, f"Session {session_id} cannot be read.")

    async def probe(self) -> None:
        """Raises Unavailable unless Redis keeps what it is given."""
        async with answers():
            await self._redis.set(_PROBE, 1, px=1_000)

    async def give(self, session_id: str, epoch: int, to: Peer) -> Outcome:
        """Makes another node the owner: from then on this one can write nothing."""
        return _outcome(await run(self._redis, scripts.GIVE, [_key(session_id)], [epoch, to.incarnation, to.node]))

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """Writes one batch each of several sessions in one round trip.

        Raises Unavailable when it is not known what was written; all can be offered again. FAILED: refused for now.
        """
        calls = [self._appending(append) for append in appends]
        return [_outcome(answer) for answer in await run_each(self._redis, scripts.APPEND, calls)]

    async def restore(self, append: Append, pieces: Sequence[bytes], first: int, fields: dict[str, bytes]) -> Outcome:
        """Writes a whole session again, whose log or state Redis has lost. `first` numbers the first piece."""
        batch = append.batch
        entries: list[str | bytes | int] = []
        number, start = first - 1, 0
        while start < len(pieces):
            stop, size = start, 0
            while stop < len(pieces) and (size == 0 or size + len(pieces[stop]) <= _ENTRY_BYTES):
                size += len(pieces[stop])
                stop += 1
            number += stop - start
            entries += [number, b"".join(pieces[start:stop])]
            start = stop
        flat = ["owner", self._me.incarnation, "epochs", append.lineage.text(), *_flat(fields)]
        keys = [_key(append.session_id), _log_key(append.session_id), *batch.replies]
        arguments = [
            append.epoch, self._me.node, batch.last, self._expiry(batch.state), _REPLY_MILLISECONDS,
            len(entries) // 2, *entries, len(flat) // 2, *flat, *batch.replies.values(),
        ]  # fmt: skip
        return _outcome(await run(self._redis, scripts.RESTORE, keys, arguments))

    async def reserve(self, user_id: str, rpc: str, request_id: str, request: Message, session_id: str) -> str:
        """Binds a request id of a caller to the content and the session it is for, for 24 hours.

        Returns the session it was bound to before, if it was. Raises InvalidArgument(REQUEST_ID_REUSED).
        """
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
        key = f"{{r:{user_id}}}:{rpc}:{request_id}"
        async with answers():
            known = cast(
                "bytes | None",
                await self._redis.set(key, f"{digest} {session_id}", nx=True, get=True, px=_REPLY_MILLISECONDS),
            )
        if known is None:
            return session_id
        known_digest, _, known_session = known.decode().partition(" ")
        if known_digest != digest:
            raise InvalidArgument(
                Reason.REQUEST_ID_REUSED, "request_id: was used before with other content. Choose a new one."
            )
        return known_session

    async def reply(self, key: str) -> bytes | None:
        """The reply that was kept with an effect."""
        async with answers():
            return cast("bytes | None", await self._redis.get(key))

    async def _read_tails(self, heads: Sequence[tuple[str, int]]) -> list[Tail | None]:
        """What logs still have, by session and the number of its last event: most logs at once, long ones by pages.

        None for one that cannot be read.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for session_id, _ in heads:
            pipeline.xrange(_log_key(session_id), "-", "+", count=_FIRST_PAGE)
        async with answers():
            found = cast("list[list[_Entry]]", await pipeline.execute() if heads else [])
        tails: list[Tail | None] = []
        for (session_id, head), entries in zip(heads, found, strict=True):
            if len(entries) == _FIRST_PAGE:
                entries += await self._read_rest(session_id, entries[-1][0])
            tails.append(_tail_of(session_id, head, entries))
        return tails

    async def _read_rest(self, session_id: str, after: bytes) -> list[_Entry]:
        rest: list[_Entry] = []
        while True:
            async with answers():
                entries = cast(
                    "list[_Entry]",
                    await self._redis.xrange(_log_key(session_id), f"({after.decode()}", "+", count=_PAGE),
                )
            rest += entries
            if len(entries) < _PAGE:
                return rest
            after = entries[-1][0]

    def _appending(self, append: Append) -> Call:
        batch = append.batch
        return [_key(append.session_id), _log_key(append.session_id), *batch.replies], [
            append.epoch, batch.before, batch.last, b"".join(batch.pieces), append.first,
            self._expiry(batch.state), _REPLY_MILLISECONDS,
            len(batch.fields), *_flat(batch.fields), len(batch.removed), *batch.removed, *batch.replies.values(),
        ]  # fmt: skip

    def _expiry(self, state: State) -> int:
        return self._ended_milliseconds if state in OVER else 0


def _tail_of(session_id: str, head: int, entries: Sequence[_Entry]) -> Tail | None:
    try:
        pieces = [piece for _, fields in entries for piece in split_pieces(fields[b"d"])]
        tail = Tail(head - len(pieces))
        tail.extend(pieces, read_private(pieces))
    except Exception:
        _log.exception("the log of a session cannot be read", session_id=session_id)
        return None
    return tail


def reply_key(session_id: str, user_id: str, rpc: str, request_id: str) -> str:
    """Where the reply to a request id is kept: with the session, so that one script can write both."""
    return f"{_key(session_id)}:reply:{user_id}:{rpc}:{request_id}"


def session_not_found(session_id: str) -> NotFound:
    """The error for a session that there is not."""
    return NotFound(
        Reason.SESSION_NOT_FOUND, f"There is no session {session_id[:64]}; it may have ended.", session_id=session_id
    )


def wrong_node(session_id: str, node: str) -> FailedPrecondition:
    """The error for a session that runs elsewhere."""
    return FailedPrecondition(
        Reason.WRONG_NODE,
        f"Session {session_id} runs on node {node}. Open the stream there: send it as header `x-oofgg-node`.",
        session_id=session_id,
        node=node,
    )


def _creating(creation: Creation) -> Call:
    session_id, pieces, reply = creation.session.facts.session_id, creation.pieces, creation.reply
    return [_key(session_id), _log_key(session_id), *([reply[0]] if reply else [])], [
        creation.owner.incarnation, creation.owner.node, _REPLY_MILLISECONDS, reply[1] if reply else b"",
        len(pieces), b"".join(pieces), *_flat(all_fields(creation.session, {})),
    ]  # fmt: skip


def _flat(fields: Mapping[str, bytes]) -> list[Argument]:
    return [part for field in fields.items() for part in field]


def _fields(answer: Sequence[bytes]) -> dict[bytes, bytes] | None:
    """The fields of a session that was taken."""
    return dict(zip(answer[::2], answer[1::2], strict=True)) if answer and answer[0] != b"FENCED" else None


def _outcome(answer: Sequence[bytes] | RedisError) -> Outcome:
    if isinstance(answer, RedisError):
        return Outcome(FAILED, str(answer))
    return Outcome(answer[0].decode(), answer[1].decode() if len(answer) > 1 else "")


def _key(session_id: str) -> str:
    return f"{{s:{session_id}}}"


def _log_key(session_id: str) -> str:
    return f"{{s:{session_id}}}:log"


def _is_whole(fields: Mapping[bytes, bytes]) -> bool:
    """Whether there is a session in these fields; what an older version wrote is none."""
    return b"facts" in fields and b"profile" in fields
