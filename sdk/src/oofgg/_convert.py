"""From the wire to the types of the SDK and back: the one place that knows both."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.timestamp_pb2 import Timestamp

from oofgg import _events as events
from oofgg import _types as types
from oofgg.v1 import auth_pb2, game_pb2, history_pb2, rating_pb2, session_pb2

_E = TypeVar("_E", bound=StrEnum)

DELIVERY = {
    types.Delivery.RELIABLE: session_pb2.DELIVERY_CLASS_RELIABLE,
    types.Delivery.LATEST: session_pb2.DELIVERY_CLASS_LATEST,
    types.Delivery.VOLATILE: session_pb2.DELIVERY_CLASS_VOLATILE,
}


def time(owner: ProtobufMessage, name: str) -> datetime | None:
    """A Timestamp field, or None where it is absent."""
    if not owner.HasField(name):
        return None
    stamp: Timestamp = getattr(owner, name)
    return stamp.ToDatetime(tzinfo=UTC)


def wire_time(moment: datetime) -> Timestamp:
    """A moment on the wire. Raises ValueError for one without a time zone, which every machine reads differently."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(
            f"the time {moment.isoformat()} has no time zone: use datetime.now(UTC), or .replace(tzinfo=…) it"
        )
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def whole(value: int, what: str) -> int:
    """The number. Raises TypeError for None, floats and everything else that is no whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} is {value!r}: give a whole number")
    return value


def short(kind: type[_E], wire: Any, number: int, prefix: str) -> _E:
    """An enum value without its prefix; UNSPECIFIED for one that this SDK does not know yet."""
    try:
        return kind(wire.Name(number).removeprefix(prefix))
    except ValueError:
        return kind("UNSPECIFIED")


def role(number: int) -> types.Role:
    return short(types.Role, auth_pb2.Role, number, "ROLE_")


def session_state(number: int) -> types.SessionState:
    return short(types.SessionState, session_pb2.SessionState, number, "SESSION_STATE_")


def end_reason(number: int) -> types.EndReason:
    return short(types.EndReason, session_pb2.EndReason, number, "END_REASON_")


def result_state(number: int) -> types.ResultState:
    return short(types.ResultState, session_pb2.ResultState, number, "RESULT_STATE_")


def account(wire: auth_pb2.Account) -> types.Account:
    return types.Account(
        user_id=wire.user_id,
        username=wire.username,
        email=wire.email,
        role=role(wire.role),
        create_time=time(wire, "create_time"),
        display_name=wire.display_name,
        avatar_url=wire.avatar_url,
        language=wire.language,
        has_password=wire.has_password,
        device_count=wire.device_count,
    )


def login_info(wire: auth_pb2.LoginInfo) -> types.LoginInfo:
    return types.LoginInfo(
        login_id=wire.login_id,
        game_id=wire.game_id,
        create_time=time(wire, "create_time"),
        refresh_time=time(wire, "refresh_time"),
        expire_time=time(wire, "expire_time"),
        address=wire.address,
        client=wire.client,
        current=wire.current,
    )


def api_key_info(wire: auth_pb2.ApiKeyInfo) -> types.ApiKeyInfo:
    return types.ApiKeyInfo(
        api_key_id=wire.api_key_id,
        game_id=wire.game_id,
        name=wire.name,
        prefix=wire.prefix,
        create_time=time(wire, "create_time"),
        expire_time=time(wire, "expire_time"),
        use_time=time(wire, "use_time"),
    )


def game(wire: game_pb2.Game) -> types.Game:
    return types.Game(
        game_id=wire.game_id,
        name=wire.name,
        description=wire.description,
        owner_user_id=wire.owner_user_id,
        settings=types.GameSettings(
            wire.settings.max_seats, wire.settings.match_history_topic_disabled, wire.settings.single_login
        ),
        create_time=time(wire, "create_time"),
        update_time=time(wire, "update_time"),
        match_history_topic=wire.match_history_topic,
    )


def wire_settings(settings: types.GameSettings) -> game_pb2.GameSettings:
    return game_pb2.GameSettings(
        max_seats=settings.max_seats,
        match_history_topic_disabled=settings.match_history_topic_disabled,
        single_login=settings.single_login,
    )


def seat(wire: session_pb2.Seat) -> types.Seat:
    return types.Seat(
        wire.seat, wire.user_id, wire.username, wire.team, wire.connected, time(wire, "join_time"), wire.display_name
    )


def result(wire: session_pb2.Result) -> tuple[types.SeatResult, ...]:
    return tuple(
        types.SeatResult(entry.seat, entry.placement, entry.score, entry.team, dict(entry.stats))
        for entry in wire.seats
    )


def wire_result(
    stated: Mapping[int, int] | Iterable[types.SeatResult], scores: Mapping[int, int] | None
) -> session_pb2.Result:
    """A result as it is stated: places and scores by seat, or one SeatResult per seat."""
    if isinstance(stated, Mapping):
        by_seat = scores or {}
        stated = [types.SeatResult(number, place, by_seat.get(number, 0)) for number, place in stated.items()]
        if unknown := sorted(set(by_seat) - {entry.seat for entry in stated}):
            raise ValueError(f"there is a score for seat {unknown[0]}, and no place")
    elif scores is not None:
        raise ValueError("a SeatResult has its score itself")
    return session_pb2.Result(seats=[_seat_result(entry) for entry in stated])


def _seat_result(entry: types.SeatResult) -> session_pb2.SeatResult:
    whose = f"of seat {entry.seat!r}"
    for name, value in entry.stats.items():
        if value is None or not math.isfinite(value):
            raise ValueError(f"the figure {name!r} {whose} is {value!r}: give a finite number")
    return session_pb2.SeatResult(
        seat=whole(entry.seat, "the seat"),
        team=whole(entry.team, f"the team {whose}"),
        placement=whole(entry.placement, f"the place {whose}"),
        score=whole(entry.score, f"the score {whose}"),
        stats=entry.stats,
    )


def session(wire: session_pb2.Session, node: str = "") -> types.Session:
    return types.Session(
        session_id=wire.session_id,
        game_id=wire.game_id,
        state=session_state(wire.state),
        label=wire.label,
        attributes=dict(wire.attributes),
        min_seats=wire.min_seats,
        max_seats=wire.max_seats,
        seats={taken.seat: seat(taken) for taken in wire.seats},
        creator_user_id=wire.creator_user_id,
        flush_window_ms=wire.flush_window_ms,
        create_time=time(wire, "create_time"),
        start_time=time(wire, "start_time"),
        finish_time=time(wire, "finish_time"),
        result=result(wire.result),
        result_state=result_state(wire.result_state),
        node=node,
        version=wire.version,
        max_spectators=wire.max_spectators,
        queue=wire.queue,
        end_reason=end_reason(wire.end_reason),
        departed={left.seat: seat(left) for left in wire.departed_seats},
    )


def outcome(wire: session_pb2.FinishResponse) -> types.Outcome:
    return types.Outcome(result_state(wire.state), result(wire.result), time(wire, "deadline_time"))


def match(wire: history_pb2.Match) -> types.Match:
    return types.Match(
        match_id=wire.match_id,
        game_id=wire.game_id,
        result_state=result_state(wire.result_state),
        participants=tuple(
            types.MatchParticipant(
                seat=player.seat,
                user_id=player.user_id,
                username=player.username,
                team=player.team,
                placement=player.placement,
                score=player.score,
                outcome=short(types.MatchOutcome, history_pb2.MatchOutcome, player.outcome, "MATCH_OUTCOME_"),
                rating_change=types.RatingChange(
                    rating(player.rating_change.before), rating(player.rating_change.after)
                )
                if player.HasField("rating_change")
                else None,
                stats=dict(player.stats),
            )
            for player in wire.participants
        ),
        label=wire.label,
        attributes=dict(wire.attributes),
        start_time=time(wire, "start_time"),
        finish_time=time(wire, "finish_time"),
        queue=wire.queue,
    )


def match_filter(
    user_id: str,
    opponent: str,
    outcome: types.MatchOutcome | None,
    result_state: types.ResultState | None,
    queue: str | None,
    label: str,
    since: datetime | None,
    until: datetime | None,
) -> history_pb2.MatchFilter:
    """Which matches. Raises ValueError for a time that is not aware."""
    wanted = history_pb2.MatchFilter(user_id=user_id, opponent_user_id=opponent, label=label, queue=queue)
    if outcome is not None:
        wanted.outcome = history_pb2.MatchOutcome.Value(f"MATCH_OUTCOME_{outcome}")
    if result_state is not None:
        wanted.result_state = session_pb2.ResultState.Value(f"RESULT_STATE_{result_state}")
    for name, moment in (("from_time", since), ("until_time", until)):
        if moment is not None:
            getattr(wanted, name).CopyFrom(wire_time(moment))
    return wanted


def rating(wire: rating_pb2.Rating) -> types.Rating:
    return types.Rating(
        user_id=wire.user_id,
        mu=wire.mu,
        sigma=wire.sigma,
        ordinal=wire.ordinal,
        matches=wire.matches,
        provisional=wire.provisional,
        update_time=time(wire, "update_time"),
    )


def rating_rules(wire: rating_pb2.RatingRules) -> types.RatingRules:
    return types.RatingRules(wire.mu, wire.sigma, wire.beta, wire.tau, wire.provisional_matches)


def wire_rating_rules(rules: types.RatingRules) -> rating_pb2.RatingRules:
    return rating_pb2.RatingRules(
        mu=rules.mu,
        sigma=rules.sigma,
        beta=rules.beta,
        tau=rules.tau,
        provisional_matches=rules.provisional_matches,
    )


def event(wire: session_pb2.Event) -> events.Event:
    """An event; one of a kind that this SDK does not know yet is a plain Event."""
    seq, after_seq, by, at = wire.seq, wire.after_seq, wire.seat, time(wire, "event_time")
    body = wire.WhichOneof("body")
    if body == "message":
        said = wire.message
        return events.Message(
            seq=seq, after_seq=after_seq, seat=by, event_time=at,
            data=said.payload, kind=said.kind, key=said.key, number=said.command, to=tuple(said.to_seats),
        )  # fmt: skip
    if body == "presence":
        change = short(types.PresenceChange, session_pb2.PresenceChange, wire.presence.change, "PRESENCE_CHANGE_")
        return events.Presence(
            seq=seq, after_seq=after_seq, seat=by, event_time=at,
            change=change, participant=seat(wire.presence.seat), reason=wire.presence.reason,
        )  # fmt: skip
    if body == "state":
        return events.StateChange(
            seq=seq, after_seq=after_seq, seat=by, event_time=at,
            state=session_state(wire.state.state), end_reason=end_reason(wire.state.end_reason),
        )  # fmt: skip
    if body == "change":
        changed = wire.change
        return events.SessionChange(
            seq=seq, after_seq=after_seq, seat=by, event_time=at,
            label=changed.label, attributes=dict(changed.attributes), creator_user_id=changed.creator_user_id,
            version=changed.version,
        )  # fmt: skip
    if body == "result":
        return events.ResultChange(
            seq=seq, after_seq=after_seq, seat=by, event_time=at, state=result_state(wire.result.state),
            result=result(wire.result.result), deadline_time=time(wire.result, "deadline_time"),
        )  # fmt: skip
    if body == "log_reset":
        return events.LogReset(
            seq=seq, after_seq=after_seq, seat=by, event_time=at, session=session(wire.log_reset.session)
        )
    return events.Event(seq=seq, after_seq=after_seq, seat=by, event_time=at)


def payload(value: Any) -> tuple[bytes, str]:
    """What to send, and the kind it has by itself. Raises TypeError for what cannot be sent."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value), ""
    if isinstance(value, str):
        return value.encode(), ""
    if isinstance(value, ProtobufMessage):
        return value.SerializeToString(), value.DESCRIPTOR.full_name
    return to_json(value).encode(), ""


def to_json(value: Any) -> str:
    """JSON that every language reads. Raises ValueError for NaN and infinities, TypeError for what is no JSON."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{value!r} cannot be sent as JSON: {error}") from None
