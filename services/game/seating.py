"""SeatingService on the wire: sessions and seats for players whom another service has chosen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pkg.clock import Clock
from pkg.errors import FailedPrecondition, NotFound, OofggError, Reason, invalid_field
from pkg.games import GameDirectory
from pkg.ids import is_id, time_of
from pkg.internal.v1 import session_pb2 as pb
from pkg.rpc.call import Call
from services.game.codec import timestamp
from services.game.engine.facts import MOST_ATTRIBUTES, Newcomer, Profile, SessionFacts, SessionTimes, State
from services.game.engine.sessions import Session
from services.game.journal import Journal
from services.game.nodes.owner import Owner
from services.game.nodes.peers import Peer, Peers
from services.game.opening import Opener, Opening, repeated
from services.game.stores.listing import Listing, shown_state
from services.game.stores.memberships import Memberships
from services.game.stores.sessions import SessionStore, session_not_found

_MOST_TEXT: Final = 1024
_OPEN_READ: Final = 100
_OPEN_TOLD: Final = 10
# Sessions with this attribute are found by their id alone.
PRIVATE: Final = "private"


class SeatingServicer:
    """For services."""

    def __init__(
        self,
        *,
        opener: Opener,
        owner: Owner,
        peers: Peers,
        memberships: Memberships,
        store: SessionStore,
        listing: Listing,
        journal: Journal,
        games: GameDirectory,
        times: SessionTimes,
        clock: Clock,
        ended_seconds: float,
    ) -> None:
        self._opener = opener
        self._owner = owner
        self._peers = peers
        self._memberships = memberships
        self._store = store
        self._listing = listing
        self._journal = journal
        self._games = games
        self._times = times
        self._clock = clock
        self._ended_seconds = ended_seconds

    async def open_sessions(self, request: pb.OpenSessionsRequest, call: Call) -> pb.OpenSessionsResponse:
        wanted = {each.session_id: each for each in request.sessions}
        answers = await self._found(list(wanted))
        openings: list[Opening] = []
        now = self._now()
        for session_id, new in wanted.items():
            if session_id in answers:
                continue
            try:
                openings.append(await self._opening(new, now, call))
            except (NotFound, FailedPrecondition) as refusal:
                answers[session_id] = _refused(session_id, refusal)
            except OofggError as refusal:
                if refusal.reason is not Reason.INVALID_FIELD:
                    raise
                answers[session_id] = _refused(session_id, refusal)
        outcomes = await self._opener.open(openings, now) if openings else []
        there: list[str] = []
        for opening, outcome in zip(openings, outcomes, strict=True):
            session_id = opening.session.facts.session_id
            if isinstance(outcome, OofggError):
                answers[session_id] = _refused(session_id, outcome)
            elif outcome:
                answers[session_id] = _opened(opening.session, opening.node)
            else:
                there.append(session_id)
        answers |= await self._found(there)
        for session_id in there:
            if session_id not in answers:
                answers[session_id] = _refused(session_id, session_not_found(session_id))
        return pb.OpenSessionsResponse(sessions=[answers[each.session_id] for each in request.sessions])

    async def take_seats(self, request: pb.TakeSeatsRequest, _: Call) -> pb.TakeSeatsResponse:
        live = await self._owner.get(request.session_id)
        session = live.room.session
        self._journal.require_available()
        players = _newcomers(request.players)
        entries = [(each.user_id, request.session_id) for each in players if session.seat_of(each.user_id) is None]
        if entries:
            for refusal in (await self._memberships.enter_all(entries)).values():
                raise refusal
        now = self._now()
        live.room.apply(session.seat_all(players, now), now)
        deadline = session.join_deadline({each.user_id for each in players})
        live.touch()
        await live.confirmed(live.room.outstanding)
        return pb.TakeSeatsResponse(node=self._peers.me.node, join_deadline_time=timestamp(deadline))

    async def get_roster(self, request: pb.GetRosterRequest, _: Call) -> pb.GetRosterResponse:
        session, node = await self._store.read(request.session_id)
        facts, profile = session.facts, session.profile
        return pb.GetRosterResponse(
            game_id=facts.game_id,
            queue=facts.queue,
            creator_user_id=profile.creator_user_id,
            node=node,
            players=[
                pb.SeatedPlayer(user_id=seat.user_id, username=seat.username, team=seat.team)
                for seat in session.seats.values()
            ],
            max_seats=facts.max_seats,
            state=shown_state(session.state),
            label=profile.label,
            attributes=profile.attributes,
        )

    async def find_open_sessions(self, request: pb.FindOpenSessionsRequest, _: Call) -> pb.FindOpenSessionsResponse:
        found, _more = await self._listing.page(request.game_id, State.WAITING, "", "", _OPEN_READ)
        fitting = [
            session
            for session in found
            if session.facts.queue in request.queues
            and session.facts.max_seats - len(session.seats) >= request.seats
            and PRIVATE not in session.profile.attributes
        ]
        # Who waits for one more begins first; of those the oldest.
        fitting.sort(key=lambda session: (session.facts.max_seats - len(session.seats), session.facts.create_time))
        chosen = fitting[:_OPEN_TOLD]
        owners = await self._store.owners([session.facts.session_id for session in chosen]) if chosen else []
        return pb.FindOpenSessionsResponse(
            sessions=[
                pb.OpenSession(session_id=session.facts.session_id, node=owner.node)
                for session, owner in zip(chosen, owners, strict=True)
                if owner is not None
            ]
        )

    async def _found(self, session_ids: list[str]) -> dict[str, pb.OpenedSession]:
        """The answers for sessions that are there, by their ids."""
        if not session_ids:
            return {}
        found = await self._opener.find(session_ids)
        return {session_id: _opened(*each) for session_id, each in zip(session_ids, found, strict=True) if each}

    async def _opening(self, new: pb.NewSession, now: float, call: Call) -> Opening:
        """What is to be made. Raises NotFound(GAME_NOT_FOUND), InvalidArgument, FailedPrecondition(SESSION_STATE)."""
        if not is_id(new.session_id):
            raise invalid_field("session_id", "is not a UUIDv7")
        if now - time_of(new.session_id) > self._ended_seconds:
            # It may have been made and be over, and nobody would know.
            raise FailedPrecondition(Reason.SESSION_STATE, f"The id {new.session_id} is too old for a new session.")
        game = await self._games.lookup(new.game_id, call)
        players = _newcomers(new.players)
        if twice := repeated(each.user_id for each in players):
            raise invalid_field("players", f"{twice} comes twice")
        max_seats = new.max_seats or len(players)
        if not len(players) <= max_seats <= game.max_seats:
            raise invalid_field(
                "max_seats", f"is {max_seats}; there are {len(players)} players, and the game allows {game.max_seats}"
            )
        if len(new.attributes) > MOST_ATTRIBUTES or any(len(each) > _MOST_TEXT for each in new.attributes.values()):
            raise invalid_field("attributes", f"more than {MOST_ATTRIBUTES}, or longer than {_MOST_TEXT} characters")
        session = Session(
            SessionFacts(
                session_id=new.session_id,
                game_id=new.game_id,
                min_seats=len(players),
                max_seats=max_seats,
                max_spectators=new.max_spectators,
                queue=new.queue,
                flush_window_ms=new.flush_window_ms,
                create_time=now,
                history_topic=game.match_history_topic,
            ),
            Profile(players[0].user_id, new.label, dict(new.attributes)),
            self._times,
        )
        return Opening(session, self._opener.place(), game.quotas.sessions, players)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _newcomers(players: Iterable[pb.SeatedPlayer]) -> list[Newcomer]:
    return [Newcomer(each.user_id, each.username, each.team) for each in players]


def _opened(session: Session, node: Peer) -> pb.OpenedSession:
    user_ids = {seat.user_id for seat in session.seats.values()}
    return pb.OpenedSession(
        session_id=session.facts.session_id,
        node=node.node,
        join_deadline_time=timestamp(session.join_deadline(user_ids)),
    )


def _refused(session_id: str, refusal: OofggError) -> pb.OpenedSession:
    return pb.OpenedSession(
        session_id=session_id,
        refusal=refusal.reason,
        refusal_message=refusal.message,
        refused_user_id=refusal.metadata.get("user_id", ""),
    )
