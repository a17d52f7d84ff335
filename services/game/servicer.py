"""SessionService on the wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from math import ceil
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from oofgg.v1 import session_pb2 as pb
from pkg.auth.caller import CallerRole
from pkg.clock import Clock
from pkg.errors import FailedPrecondition, NotFound, PermissionDenied, Reason, ResourceExhausted, invalid_field
from pkg.games import GameDirectory
from pkg.ids import NewId, is_id
from pkg.pagination import decode_token, encode_token, page_size
from pkg.rpc.call import Call, StreamCall
from pkg.telemetry.tracing import current_trace_parent
from services.game.codec import (
    RESULT_STATES,
    STATES,
    read_result,
    result_message,
    seat_message,
    session_message,
    timestamp,
)
from services.game.engine.facts import Profile, SessionFacts, SessionTimes, State
from services.game.engine.order import FIRST_OVERSEER
from services.game.engine.results import ResultState
from services.game.engine.sessions import Session
from services.game.finish import Finisher
from services.game.journal import Journal
from services.game.live import LiveSession
from services.game.nodes.owner import Owner
from services.game.nodes.peers import Peers
from services.game.opening import Opener, Opening
from services.game.replays import ReplayStore
from services.game.stores.listing import Listing
from services.game.stores.memberships import Memberships
from services.game.stores.sessions import SessionStore, reply_key, session_not_found
from services.game.streams import Stream, Streams, not_watching

M = TypeVar("M", bound=Message)

_DEFAULT_SEATS: Final = 2
_REPLAY_PAGE: Final = 200
_DEFAULT_WINDOW_MILLISECONDS: Final = 20
_STATES_BY_NUMBER: Final = {number: state for state, number in STATES.items() if state is not State.FINISHING}


class SessionServicer:
    """Sessions for players and developers."""

    def __init__(
        self,
        *,
        owner: Owner,
        peers: Peers,
        opener: Opener,
        memberships: Memberships,
        store: SessionStore,
        listing: Listing,
        journal: Journal,
        streams: Streams,
        finisher: Finisher,
        replays: ReplayStore,
        games: GameDirectory,
        times: SessionTimes,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._owner = owner
        self._peers = peers
        self._opener = opener
        self._memberships = memberships
        self._store = store
        self._listing = listing
        self._journal = journal
        self._streams = streams
        self._finisher = finisher
        self._replays = replays
        self._games = games
        self._times = times
        self._clock = clock
        self._new_id = new_id

    async def create_session(self, request: pb.CreateSessionRequest, call: Call) -> pb.CreateSessionResponse:
        caller = call.caller
        await self._games.require_access(caller, request.game_id, call)
        session_id, key = self._new_id(), ""
        if request.request_id:
            session_id = await self._store.reserve(
                caller.user_id, "CreateSession", request.request_id, request, session_id
            )
            key = reply_key(session_id, caller.user_id, "CreateSession", request.request_id)
            if (kept := await self._store.reply(key)) is not None:
                return pb.CreateSessionResponse.FromString(kept)
        if request.queue and caller.role is not CallerRole.DEVELOPER:
            raise PermissionDenied(
                Reason.ACCESS_DENIED,
                "queue: only the game's developer or its server opens sessions of a queue.",
            )
        game = await self._games.lookup(request.game_id, call)
        min_seats, max_seats = _seats(request, game.max_seats)
        session = Session(
            SessionFacts(
                session_id=session_id,
                game_id=request.game_id,
                min_seats=min_seats,
                max_seats=max_seats,
                max_spectators=request.max_spectators,
                queue=request.queue,
                flush_window_ms=(
                    request.flush_window_ms if request.HasField("flush_window_ms") else _DEFAULT_WINDOW_MILLISECONDS
                ),
                create_time=self._now(),
                history_topic=game.match_history_topic,
            ),
            Profile(caller.user_id, request.label, dict(request.attributes)),
            self._times,
        )
        node = self._opener.place()
        response = pb.CreateSessionResponse(session=session_message(session), placement=pb.Placement(node=node.node))
        reply = (key, response.SerializeToString()) if key else None
        (made,) = await self._opener.open([Opening(session, node, game.quotas.sessions, reply=reply)], self._now())
        if isinstance(made, ResourceExhausted):
            raise made
        if not made and key and (kept := await self._store.reply(key)) is not None:
            return pb.CreateSessionResponse.FromString(kept)
        return response

    async def get_session(self, request: pb.GetSessionRequest, call: Call) -> pb.GetSessionResponse:
        session, node = await self._store.read(request.session_id)
        await self._games.require_access(call.caller, session.facts.game_id, call)
        return pb.GetSessionResponse(session=session_message(session), placement=pb.Placement(node=node))

    async def list_sessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        await self._games.require_access(call.caller, request.game_id, call)
        state = _STATES_BY_NUMBER.get(request.state)
        key = decode_token(request.page_token, str)
        sessions, more = await self._listing.page(
            request.game_id, state, request.label, str(key[0]) if key else "", page_size(request.page_size)
        )
        return pb.ListSessionsResponse(
            sessions=[session_message(session) for session in sessions],
            next_page_token=encode_token([more]) if more else "",
        )

    async def join(self, request: pb.JoinRequest, call: Call) -> pb.JoinResponse:
        async def effect(live: LiveSession) -> pb.JoinResponse:
            caller, session = call.caller, live.room.session
            caller.require_game(session.facts.game_id)
            self._journal.require_available()
            if session.seat_of(caller.user_id) is None:
                await self._memberships.enter(caller.user_id, request.session_id)
            now = self._now()
            live.room.apply(
                session.join(caller.user_id, caller.username, request.team, now, display_name=caller.display_name), now
            )
            return pb.JoinResponse(
                session=session_message(session),
                seat=seat_message(session.participant(caller.user_id)),
                placement=self._placement(),
            )

        return await self._once("Join", request, call, pb.JoinResponse, effect)

    async def leave(self, request: pb.LeaveRequest, call: Call) -> pb.LeaveResponse:
        async def effect(live: LiveSession) -> pb.LeaveResponse:
            caller, session = call.caller, live.room.session
            caller.require_game(session.facts.game_id)
            seat = session.participant(caller.user_id)
            self._journal.require_available()
            now = self._now()
            live.room.apply(session.leave(seat.number, now, instance_id=request.instance_id), now)
            return pb.LeaveResponse()

        return await self._once("Leave", request, call, pb.LeaveResponse, effect)

    async def update_session(self, request: pb.UpdateSessionRequest, call: Call) -> pb.UpdateSessionResponse:
        async def effect(live: LiveSession) -> pb.UpdateSessionResponse:
            session = await self._commanded(live, call)
            changes = session.update(
                label=request.label if request.HasField("label") else None,
                set_attributes=request.set_attributes,
                remove_attributes=request.remove_attributes,
                expected_version=request.expected_version if request.HasField("expected_version") else None,
            )
            live.room.apply(changes, self._now())
            return pb.UpdateSessionResponse(session=session_message(session))

        return await self._once("UpdateSession", request, call, pb.UpdateSessionResponse, effect)

    async def change_state(self, request: pb.ChangeStateRequest, call: Call) -> pb.ChangeStateResponse:
        async def effect(live: LiveSession) -> pb.ChangeStateResponse:
            session, now = await self._commanded(live, call), self._now()
            starts = request.state == pb.SESSION_STATE_STARTED
            live.room.apply(session.start(now) if starts else session.pause(), now)
            return pb.ChangeStateResponse(session=session_message(session))

        return await self._once("ChangeState", request, call, pb.ChangeStateResponse, effect)

    async def kick(self, request: pb.KickRequest, call: Call) -> pb.KickResponse:
        async def effect(live: LiveSession) -> pb.KickResponse:
            session, now = await self._commanded(live, call), self._now()
            changes = session.kick(request.seat, request.reason, now, may_return=request.may_return)
            live.room.apply(changes, now)
            live.dismiss_banned()
            return pb.KickResponse()

        return await self._once("Kick", request, call, pb.KickResponse, effect)

    async def close(self, request: pb.CloseRequest, call: Call) -> pb.CloseResponse:
        async def effect(live: LiveSession) -> pb.CloseResponse:
            session, now = await self._commanded(live, call), self._now()
            live.room.apply(session.close(now), now)
            return pb.CloseResponse()

        return await self._once("Close", request, call, pb.CloseResponse, effect)

    async def finish(self, request: pb.FinishRequest, call: Call) -> pb.FinishResponse:
        async def effect(live: LiveSession) -> pb.FinishResponse:
            session = live.room.session
            number = await self._speaker(call, session)
            entries = read_result(request.result.seats)
            if session.decision is None:
                self._journal.require_available()
                live.trace_parent = current_trace_parent.get()
                live.room.state_result(number, entries, self._now())
            elif number == 0 and not session.confirms(entries):
                raise FailedPrecondition(
                    Reason.SESSION_STATE,
                    f"The result of session {session.facts.session_id} is decided, and it is another one.",
                    state=session.state.value,
                )
            return _finish_response(session)

        response = await self._once("Finish", request, call, pb.FinishResponse, effect)
        if response.state != RESULT_STATES[ResultState.PENDING]:
            try:
                live = await self._owner.get(request.session_id)
            except NotFound:
                return response  # a repeat, long after the end
            await self._finisher.drive(live)
            return _finish_response(live.room.session)  # what counts, should it be another one
        return response

    async def get_replay(self, request: pb.GetReplayRequest, call: Call) -> pb.GetReplayResponse:
        if not is_id(request.session_id):
            raise session_not_found(request.session_id)
        replay = await self._replays.read(request.session_id)
        await self._games.require_access(call.caller, replay.game_id, call)
        sees_all = call.caller.role is CallerRole.DEVELOPER
        key = decode_token(request.page_token, int)
        size = request.page_size or _REPLAY_PAGE
        pieces, after = replay.page(None if sees_all else call.caller.user_id, int(key[0]) if key else 0, size)
        response = pb.GetReplayResponse(
            events=pb.PlayResponse.FromString(b"".join(pieces)).events,
            next_page_token=encode_token([after]) if after else "",
            first_seq=replay.first_seq,
        )
        response.expire_time.FromDatetime(replay.expire_time)
        return response

    async def play(self, call: StreamCall) -> None:
        first = await self._streams.first_request(call)
        live, place = await self._place(first.open, call)
        async with self._streams.opening(call, live, unary_sender=False) as stream:
            await stream.hear(first)
            await stream.run(place, first.open, first.commands, reads=True)

    async def watch(self, request: pb.WatchRequest, call: StreamCall) -> None:
        live, place = await self._place(request.open, call)
        async with self._streams.opening(call, live, unary_sender=True) as stream:
            await stream.run(place, request.open, (), reads=False)

    async def send(self, request: pb.SendRequest, call: Call) -> pb.SendResponse:
        live = await self._owner.get(request.session_id)
        call.caller.require_game(live.room.session.facts.game_id)
        stream = _stream_of(live, call.caller.user_id)
        held_up = await stream.hear(request)
        stream.acknowledge(request.ack_flush)
        await stream.has_room()
        ticket = stream.take_commands(request.commands)
        command = live.room.safe_command(stream.receiver.place)
        await live.confirmed(ticket)
        return pb.SendResponse(
            ack_command=command, throttle_ms=ceil(held_up * 1000), server_time=timestamp(self._now())
        )

    async def _speaker(self, call: Call, session: Session) -> int:
        """The seat that speaks; 0 for the game's developer."""
        await self._games.require_access(call.caller, session.facts.game_id, call)
        if call.caller.role is CallerRole.DEVELOPER:
            return 0
        seats: Iterable[Any] = session.roster if session.decision else session.seats.values()
        for seat in seats:
            if seat.user_id == call.caller.user_id:
                return int(seat.number)
        return session.participant(call.caller.user_id).number

    async def _commanded(self, live: LiveSession, call: Call) -> Session:
        """The session, for who may command it: its creator and the game's developer. Raises PermissionDenied."""
        session = live.room.session
        await self._games.require_access(call.caller, session.facts.game_id, call)
        if call.caller.role is not CallerRole.DEVELOPER and call.caller.user_id != session.profile.creator_user_id:
            raise PermissionDenied(
                Reason.NOT_OWNER, "Only the creator of a session and the game's developer may do this to it."
            )
        self._journal.require_available()
        return session

    async def _place(self, opening: pb.StreamOpen, call: StreamCall) -> tuple[LiveSession, int]:
        live = await self._owner.get(opening.session_id)
        caller, session = call.caller, live.room.session
        if caller.role is CallerRole.DEVELOPER:
            await self._games.require_access(caller, session.facts.game_id)
            if not opening.spectate:
                raise PermissionDenied(
                    Reason.NOT_A_PARTICIPANT,
                    "The game's developer and its servers have no seat. Open the stream with `spectate` to watch.",
                )
            return live, live.overseer()
        caller.require_game(session.facts.game_id)
        if not opening.spectate:
            session.require_welcome(caller.user_id)
            return live, session.participant(caller.user_id).number
        return live, live.spectator(caller.user_id)

    async def _once(
        self,
        rpc: str,
        request: Any,
        call: Call,
        response: type[M],
        effect: Callable[[LiveSession], Awaitable[M]],
    ) -> M:
        """Runs `effect` and returns its reply once the log has both, or the reply it gave to the same request id.

        `effect` must not wait for anything after it has changed the session: what it did and its reply are one batch.
        """
        session_id = request.session_id
        if not request.request_id:
            live = await self._owner.get(session_id)
            return await _logged(live, await effect(live))
        user_id = call.caller.user_id
        await self._store.reserve(user_id, rpc, request.request_id, request, session_id)
        key = reply_key(session_id, user_id, rpc, request.request_id)
        if (kept := await self._store.reply(key)) is not None:
            return response.FromString(kept)
        live = await self._owner.get(session_id)
        async with live.replaying:
            if (kept := await self._store.reply(key)) is not None:
                return response.FromString(kept)
            reply = await effect(live)
            live.room.reply(key, reply.SerializeToString())
            return await _logged(live, reply)

    def _placement(self) -> pb.Placement:
        return pb.Placement(node=self._peers.me.node)

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _seats(request: pb.CreateSessionRequest, most: int) -> tuple[int, int]:
    min_seats = request.min_seats or min(_DEFAULT_SEATS, request.max_seats or _DEFAULT_SEATS)
    max_seats = request.max_seats or max(min_seats, min(_DEFAULT_SEATS, most))
    if max_seats > most:
        raise invalid_field("max_seats", f"sessions of this game have at most {most} seats")
    if min_seats > max_seats:
        raise invalid_field("min_seats", f"is more than the session has seats ({max_seats})")
    return min_seats, max_seats


async def _logged(live: LiveSession, reply: M) -> M:
    """The reply, once the log has all that has been done by now."""
    live.touch()
    await live.confirmed(live.room.outstanding)
    return reply


def _stream_of(live: LiveSession, user_id: str) -> Stream:
    """The open stream of an account. Raises PermissionDenied(NOT_A_PARTICIPANT).

    Also one whose seat was given up: it ends once what is still on its way is acknowledged.
    """
    for place, stream in live.streams.items():
        # The account of the game's developer may play, too, while its servers watch.
        if place < FIRST_OVERSEER and isinstance(stream, Stream) and stream.user_id == user_id:
            return stream
    live.room.session.participant(user_id)
    raise not_watching(live.session_id)


def _finish_response(session: Session) -> pb.FinishResponse:
    if session.decision is not None:
        response = pb.FinishResponse(state=RESULT_STATES[session.decision.state])
        if session.decision.result is not None:
            response.result.CopyFrom(result_message(session.decision.result))
        return response
    if session.ballot is None:
        raise AssertionError("a stated result is either decided or pending")
    return pb.FinishResponse(state=RESULT_STATES[ResultState.PENDING], deadline_time=timestamp(session.ballot.deadline))
