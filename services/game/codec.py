"""Sessions and events on the wire: the engine's state to protobuf, and the other way.

An event is encoded once, as one element of `PlayResponse.events` (tag, length, payload): joined elements are a valid
PlayResponse, and, since the two messages have the same fields, a valid WatchResponse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from oofgg.events.v1 import match_pb2
from oofgg.v1 import session_pb2 as pb
from services.game.engine.facts import (
    Change,
    EndReason,
    PresenceChanged,
    PresenceKind,
    ProfileChanged,
    ResultChanged,
    Seat,
    State,
)
from services.game.engine.order import Audience, Private
from services.game.engine.results import Result, ResultState, SeatResult
from services.game.engine.room import Command
from services.game.engine.sessions import Session

_VARINT, _LENGTH = 0, 2  # wire types
_EVENTS_TAG: Final = bytes([pb.PlayResponse.EVENTS_FIELD_NUMBER << 3 | _LENGTH])
_SEQ_TAG: Final = bytes([pb.Event.SEQ_FIELD_NUMBER << 3 | _VARINT])
_AFTER_SEQ_TAG: Final = bytes([pb.Event.AFTER_SEQ_FIELD_NUMBER << 3 | _VARINT])
_SEAT_TAG: Final = bytes([pb.Event.SEAT_FIELD_NUMBER << 3 | _VARINT])
_EVENT_TIME_TAG: Final = bytes([pb.Event.EVENT_TIME_FIELD_NUMBER << 3 | _LENGTH])
_MESSAGE_TAG: Final = bytes([pb.Event.MESSAGE_FIELD_NUMBER << 3 | _LENGTH])
_KEY_TAG: Final = bytes([pb.Message.KEY_FIELD_NUMBER << 3 | _LENGTH])
_PAYLOAD_TAG: Final = bytes([pb.Message.PAYLOAD_FIELD_NUMBER << 3 | _LENGTH])
_KIND_TAG: Final = bytes([pb.Message.KIND_FIELD_NUMBER << 3 | _LENGTH])
_COMMAND_TAG: Final = bytes([pb.Message.COMMAND_FIELD_NUMBER << 3 | _VARINT])
_TO_SEATS_TAG: Final = bytes([pb.Message.TO_SEATS_FIELD_NUMBER << 3 | _LENGTH])
_FLUSH_TAG: Final = bytes([pb.PlayResponse.FLUSH_FIELD_NUMBER << 3])
_ACK_TAG: Final = bytes([pb.PlayResponse.ACK_COMMAND_FIELD_NUMBER << 3])

STATES: Final[Mapping[State, pb.SessionState.ValueType]] = {
    State.CREATED: pb.SESSION_STATE_CREATED,
    State.WAITING: pb.SESSION_STATE_WAITING,
    State.STARTED: pb.SESSION_STATE_STARTED,
    State.PAUSED: pb.SESSION_STATE_PAUSED,
    State.FINISHING: pb.SESSION_STATE_STARTED,
    State.FINISHED: pb.SESSION_STATE_FINISHED,
    State.DELETED: pb.SESSION_STATE_DELETED,
}
_PRESENCE: Final[Mapping[PresenceKind, pb.PresenceChange.ValueType]] = {
    PresenceKind.JOINED: pb.PRESENCE_CHANGE_JOINED,
    PresenceKind.DISCONNECTED: pb.PRESENCE_CHANGE_DISCONNECTED,
    PresenceKind.CONNECTED: pb.PRESENCE_CHANGE_CONNECTED,
    PresenceKind.RECONNECTED: pb.PRESENCE_CHANGE_RECONNECTED,
    PresenceKind.REPLACED: pb.PRESENCE_CHANGE_REPLACED,
    PresenceKind.LEFT: pb.PRESENCE_CHANGE_LEFT,
    PresenceKind.KICKED: pb.PRESENCE_CHANGE_KICKED,
}
_END_REASONS: Final[Mapping[EndReason, pb.EndReason.ValueType]] = {
    EndReason.NONE: pb.END_REASON_UNSPECIFIED,
    EndReason.CLOSED: pb.END_REASON_CLOSED,
    EndReason.ABANDONED: pb.END_REASON_ABANDONED,
    EndReason.IDLE: pb.END_REASON_IDLE,
    EndReason.LIFETIME: pb.END_REASON_LIFETIME,
}
RESULT_STATES: Final[Mapping[ResultState, pb.ResultState.ValueType]] = {
    ResultState.PENDING: pb.RESULT_STATE_PENDING,
    ResultState.AGREED: pb.RESULT_STATE_AGREED,
    ResultState.DISPUTED: pb.RESULT_STATE_DISPUTED,
    ResultState.STATED: pb.RESULT_STATE_STATED,
}
_PUBLISHED_STATES: Final[Mapping[ResultState, match_pb2.ResultState.ValueType]] = {
    ResultState.AGREED: match_pb2.RESULT_STATE_AGREED,
    ResultState.DISPUTED: match_pb2.RESULT_STATE_DISPUTED,
    ResultState.STATED: match_pb2.RESULT_STATE_STATED,
}


class PieceEncoder:
    """Encodes events as pieces (`room.Encoder`).

    Commands, of which there are many, are put together by hand: a third of the time of building and serializing a
    message. A test holds the bytes against those of protobuf.
    """

    def __init__(self) -> None:
        self._time = (-1.0, b"")  # commands of one request have the same

    def message(
        self, seq: int, after_seq: int, seat: int, now: float, command: Command, audience: Audience | None
    ) -> bytes:
        key, payload, kind = command.key, command.payload, command.kind
        said = b""
        if key:
            encoded = key.encode()
            said = _KEY_TAG + _varint(len(encoded)) + encoded
        if payload:
            said += _PAYLOAD_TAG + _varint(len(payload)) + payload
        if kind:
            encoded = kind.encode()
            said += _KIND_TAG + _varint(len(encoded)) + encoded
        if command.number:
            said += _COMMAND_TAG + _varint(command.number)
        if audience is not None:
            seats = b"".join(map(_varint, sorted(audience - {seat}) or [seat]))
            said += _TO_SEATS_TAG + _varint(len(seats)) + seats
        event = _SEQ_TAG + _varint(seq) if seq else b""
        if after_seq:
            event += _AFTER_SEQ_TAG + _varint(after_seq)
        event += _SEAT_TAG + _varint(seat) + self._event_time(now) + _MESSAGE_TAG + _varint(len(said)) + said
        return _EVENTS_TAG + _varint(len(event)) + event

    def _event_time(self, now: float) -> bytes:
        known, encoded = self._time
        if known != now:
            moment = timestamp(now).SerializeToString()
            encoded = _EVENT_TIME_TAG + _varint(len(moment)) + moment
            self._time = now, encoded
        return encoded

    def hidden(self, seq: int) -> bytes:
        return _piece(pb.Event(seq=seq, hidden=True))

    def change(self, seq: int, now: float, change: Change) -> bytes:
        event = pb.Event(seq=seq, event_time=timestamp(now))
        if isinstance(change, PresenceChanged):
            event.seat = change.seat.number
            event.presence.change = _PRESENCE[change.kind]
            event.presence.seat.CopyFrom(seat_message(change.seat))
            event.presence.reason = change.reason
        elif isinstance(change, ProfileChanged):
            profile = change.profile
            event.change.label = profile.label
            event.change.attributes.update(profile.attributes)
            event.change.creator_user_id = profile.creator_user_id
            event.change.version = profile.version
        elif isinstance(change, ResultChanged):
            event.seat = change.seat
            event.result.state = RESULT_STATES[change.state]
            if change.result is not None:
                event.result.result.CopyFrom(result_message(change.result))
            if change.deadline is not None:
                event.result.deadline_time.CopyFrom(timestamp(change.deadline))
        else:
            event.state.state = STATES[change.state]
            event.state.end_reason = _END_REASONS[change.reason]
        return _piece(event)

    def reset(self, seq: int, now: float, session: Session) -> bytes:
        event = pb.Event(seq=seq, event_time=timestamp(now))
        event.log_reset.session.CopyFrom(session_message(session))
        return _piece(event)


def trailer(flush: int, ack_command: int) -> bytes:
    """The encoded fields `flush` and `ack_command` of a response, without those that are 0."""
    encoded = _FLUSH_TAG + _varint(flush) if flush else b""
    return encoded + _ACK_TAG + _varint(ack_command) if ack_command else encoded


def split_pieces(joined: bytes) -> list[bytes]:
    """The pieces that were joined."""
    pieces = []
    start, end = 0, len(joined)
    while start < end:
        position = start + 1
        size = shift = 0
        while True:
            byte = joined[position]
            position += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        pieces.append(joined[start : position + size])
        start = position + size
    return pieces


def read_private(pieces: Iterable[bytes]) -> dict[int, Private]:
    """Which of these pieces are not for everybody, by their numbers."""
    encoder = PieceEncoder()
    private: dict[int, Private] = {}
    for piece in pieces:
        (event,) = pb.PlayResponse.FromString(piece).events
        if event.message.to_seats:
            private[event.seq] = Private(frozenset((event.seat, *event.message.to_seats)), encoder.hidden(event.seq))
    return private


def timestamp(seconds: float) -> Timestamp:
    """Seconds since the epoch as a Timestamp, exact to the microsecond."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return Timestamp(seconds=whole, nanos=micros * 1_000)


def session_message(session: Session) -> pb.Session:
    """The session as everybody sees it."""
    facts = session.facts
    message = pb.Session(
        session_id=facts.session_id,
        game_id=facts.game_id,
        state=STATES[session.state],
        label=session.profile.label,
        attributes=session.profile.attributes,
        min_seats=facts.min_seats,
        max_seats=facts.max_seats,
        seats=[seat_message(session.seats[number]) for number in sorted(session.seats)],
        departed_seats=[seat_message(session.departed[number]) for number in sorted(session.departed)],
        creator_user_id=session.profile.creator_user_id,
        version=session.profile.version,
        max_spectators=facts.max_spectators,
        queue=facts.queue,
        end_reason=_END_REASONS[session.end_reason],
        flush_window_ms=facts.flush_window_ms,
        create_time=timestamp(facts.create_time),
    )
    if session.start_time is not None:
        message.start_time.CopyFrom(timestamp(session.start_time))
    if session.over and session.finish_time is not None:
        message.finish_time.CopyFrom(timestamp(session.finish_time))
    if session.state is State.FINISHED and session.decision is not None:
        message.result_state = RESULT_STATES[session.decision.state]
        if session.decision.result is not None:
            message.result.CopyFrom(result_message(session.decision.result))
    elif session.ballot is not None:
        message.result_state = pb.RESULT_STATE_PENDING
    return message


def seat_message(seat: Seat) -> pb.Seat:
    """A seat as everybody sees it."""
    return pb.Seat(
        seat=seat.number,
        user_id=seat.user_id,
        username=seat.username,
        display_name=seat.display_name,
        team=seat.team,
        connected=seat.connected,
        join_time=timestamp(seat.join_time),
    )


def result_message(result: Result) -> pb.Result:
    """A result, by seat."""
    return pb.Result(
        seats=[
            pb.SeatResult(seat=s.seat, team=s.team, placement=s.placement, score=s.score, stats=dict(s.stats))
            for s in result
        ]
    )


def read_result(entries: Iterable[pb.SeatResult]) -> list[SeatResult]:
    """A result as it was stated."""
    return [
        SeatResult(entry.seat, entry.team, entry.placement, entry.score, tuple(sorted(entry.stats.items())))
        for entry in entries
    ]


def match_finished(session: Session) -> match_pb2.MatchFinished:
    """What is published about a session whose result is decided."""
    decision = session.decision
    if decision is None:
        raise AssertionError("only a decided result is published")
    by_seat = {entry.seat: entry for entry in decision.result or ()}
    message = match_pb2.MatchFinished(
        match_id=session.facts.session_id,
        game_id=session.facts.game_id,
        result_state=_PUBLISHED_STATES[decision.state],
        label=session.profile.label,
        attributes=session.profile.attributes,
        queue=session.facts.queue,
        match_history_topic=session.facts.history_topic,
    )
    for seat in session.roster:
        entry = by_seat.get(seat.number)
        message.participants.add(
            seat=seat.number,
            user_id=seat.user_id,
            username=seat.username,
            team=entry.team if entry else seat.team,
            placement=entry.placement if entry else 0,
            score=entry.score if entry else 0,
            stats=dict(entry.stats) if entry else None,
        )
    if session.start_time is not None:
        message.start_time.CopyFrom(timestamp(session.start_time))
    if session.finish_time is not None:
        message.finish_time.CopyFrom(timestamp(session.finish_time))
    return message


def _piece(event: pb.Event) -> bytes:
    payload = event.SerializeToString()
    return _EVENTS_TAG + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _SMALL[value]
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SMALL: Final = [bytes([value]) for value in range(0x80)]
