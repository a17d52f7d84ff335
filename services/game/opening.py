"""How a session comes to be: where it runs, who is in it from the start, and whether there may be one more.

Everything is done for many at once, in as many round trips as for one. All of it can be repeated: a session is made at
most once, because the script that writes it looks first; what was written around it only points.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pkg.errors import Reason, ResourceExhausted
from services.game.engine.facts import Newcomer
from services.game.engine.room import Encoder, Room
from services.game.engine.sessions import Session
from services.game.nodes.claims import Claims
from services.game.nodes.owner import Owner
from services.game.nodes.peers import Peer, Peers
from services.game.stores.listing import Listing
from services.game.stores.memberships import Memberships
from services.game.stores.sessions import Creation, SessionStore


@dataclass(frozen=True, slots=True)
class Opening:
    """A session that is to be made on a node. `most` is how many its game may have (0: any number)."""

    session: Session
    node: Peer
    most: int
    players: Sequence[Newcomer] = ()
    reply: tuple[str, bytes] | None = None


class Opener:
    """Makes sessions. Raises Unavailable when Redis is away; what was made by then can be asked for again."""

    def __init__(
        self,
        *,
        owner: Owner,
        peers: Peers,
        claims: Claims,
        memberships: Memberships,
        store: SessionStore,
        listing: Listing,
        encoder: Encoder,
    ) -> None:
        self._owner = owner
        self._peers = peers
        self._claims = claims
        self._memberships = memberships
        self._store = store
        self._listing = listing
        self._encoder = encoder

    def place(self) -> Peer:
        """The node for one more session, which is counted there."""
        return self._peers.choose() or self._peers.me

    async def open(self, openings: Sequence[Opening], now: float) -> list[bool | ResourceExhausted]:
        """Makes sessions with their players seated: for each True, False when it is there already, or why it may not
        be: QUOTA_EXCEEDED."""
        refused: dict[str, ResourceExhausted] = {}
        entries = [(each.user_id, _id(opening)) for opening in openings for each in opening.players]
        if entries:
            for (_, session_id), refusal in (await self._memberships.enter_all(entries)).items():
                refused.setdefault(session_id, refusal)
        pieces = {
            _id(opening): seated(opening.session, opening.players, self._encoder, now)
            for opening in openings
            if _id(opening) not in refused
        }
        refused |= await self._beyond_quota([each for each in openings if _id(each) not in refused])
        made = await self._write([each for each in openings if _id(each) not in refused], pieces)
        if lost := [entry for entry in entries if entry[1] in refused]:
            await self._memberships.leave_all(lost)
        return [refused.get(_id(opening)) or _id(opening) in made for opening in openings]

    async def find(self, session_ids: Sequence[str]) -> list[tuple[Session, Peer] | None]:
        """Sessions that are there already, and their nodes, which are told of them once more: who made them may have
        died before it could."""
        found = await self._store.placed(session_ids)
        there = zip(session_ids, found, strict=True)
        await self._claims.give((each[1], session_id) for session_id, each in there if each and not each[0].over)
        return found

    async def _write(self, openings: Sequence[Opening], pieces: dict[str, list[bytes]]) -> set[str]:
        """Ids of those that were made, and not there already."""
        if not openings:
            return set()
        created = await self._store.create(
            [Creation(each.session, each.node, pieces[_id(each)], each.reply) for each in openings]
        )
        made: set[str] = set()
        given: list[tuple[Peer, str]] = []
        for opening, outcome in zip(openings, created, strict=True):
            session_id, node = _id(opening), opening.node
            if outcome.epoch:
                made.add(session_id)
            if outcome.epoch and node == self._peers.me:
                self._owner.add(opening.session, outcome.epoch, pieces[session_id])
            elif outcome.epoch or outcome.other == node.incarnation:
                # Also one that was there already: a command that was sent twice finds what it has done.
                given.append((node, session_id))
        await self._claims.give(given)
        return made

    async def _beyond_quota(self, openings: Sequence[Opening]) -> dict[str, ResourceExhausted]:
        """Lists sessions, and unlists those that are too many.

        Listed first: a pointer to nothing is dropped, a session nobody points to would stay for ever. They are counted
        when they are listed: of several that are made at once, none passes beyond the quota.
        """
        if not openings:
            return {}
        counts = await self._listing.add([(each.session, each.node) for each in openings])
        by_game: defaultdict[str, list[Opening]] = defaultdict(list)
        for opening in openings:
            by_game[opening.session.facts.game_id].append(opening)
        refused: list[Opening] = []
        for game_id, of_game in by_game.items():
            most = of_game[0].most
            if not most or counts[game_id] <= most:
                continue
            await self._listing.page(game_id, None, "", "", most)  # drops what leads nowhere
            if (surplus := await self._listing.count(game_id) - most) > 0:
                refused += of_game[-surplus:]
        if refused:
            await self._listing.remove([(each.session, each.node) for each in refused])
        return {_id(each): _quota_exceeded(each.most) for each in refused}


def seated(session: Session, players: Sequence[Newcomer], encoder: Encoder, now: float) -> list[bytes]:
    """Has players take the seats of a new session. Returns its events so far, as their log keeps them."""
    room = Room(session, encoder)
    room.apply(session.seat_all(players, now), now)
    return room.pending_pieces


def repeated(user_ids: Iterable[str]) -> str:
    """An account that is named more than once; empty when there is none."""
    return next((user_id for user_id, times in Counter(user_ids).items() if times > 1), "")


def _id(opening: Opening) -> str:
    return opening.session.facts.session_id


def _quota_exceeded(most: int) -> ResourceExhausted:
    return ResourceExhausted(
        Reason.QUOTA_EXCEEDED,
        f"This game may have {most} sessions at a time and has them. Its developer can ask the operator for more.",
        quota="sessions",
    )
