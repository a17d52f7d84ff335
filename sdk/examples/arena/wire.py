"""How the rules' facts and the ships' positions travel: small JSON, read with care, for anybody can send anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import oofgg

from .field import HEADINGS, HEIGHT, WIDTH
from .motion import Pose
from .rules import Fact, Fired, Hit, Joined, Left, Over, Plan, Started, Took

POSE: Final = "pose"
SPARK: Final = "spark"
_FIRE: Final = "fire"
_HIT: Final = "hit"
_TAKE: Final = "take"
_OVER: Final = "over"


class OtherGame(Exception):
    """A session that is no round of the arena."""


# What reading something can raise that is not of this game; the last one for very deep JSON.
_RUBBISH: Final = (ValueError, TypeError, LookupError, OverflowError, RecursionError)
_LONGEST_ROUND: Final = 600.0


def fact(event: oofgg.Event) -> Fact | None:
    """What a reliable event says to the rules; None if nothing."""
    if not event.seq or event.event_time is None:
        return None
    at = event.event_time.timestamp()
    match event:
        case oofgg.StateChange(state=oofgg.SessionState.STARTED):
            return Started(0, at)
        case oofgg.Presence(change=oofgg.PresenceChange.JOINED, participant=who):
            return Joined(who.seat, at, who.name)
        case oofgg.Presence(change=oofgg.PresenceChange.LEFT | oofgg.PresenceChange.KICKED, participant=who):
            return Left(who.seat, at)
        case oofgg.Message():
            try:
                return _said(event.kind, event.seat, at, event.json())
            except _RUBBISH:
                return None  # not of this game
    return None


def _said(kind: str, seat: int, at: float, told: list[float]) -> Fact | None:
    match kind:
        case "fire":
            number, x, y, heading = told
            return Fired(seat, at, int(number), float(x), float(y), int(heading))
        case "hit":
            by, number = told
            return Hit(seat, at, int(by), int(number))
        case "take":
            slot, generation = told
            return Took(seat, at, int(slot), int(generation))
        case "over":
            return Over(seat, at)
    return None


def fire(number: int, pose: Pose) -> tuple[str, list[float]]:
    """Kind and payload of a shot."""
    return _FIRE, [number, round(pose.x, 2), round(pose.y, 2), pose.heading]


def hit(by: int, number: int) -> tuple[str, list[float]]:
    """Kind and payload of being hit."""
    return _HIT, [by, number]


def take(slot: int, generation: int) -> tuple[str, list[float]]:
    """Kind and payload of taking a gem."""
    return _TAKE, [slot, generation]


def over() -> tuple[str, list[float]]:
    """Kind and payload of the end of time."""
    return _OVER, []


def pose(told: Pose) -> list[float]:
    """Payload of a position."""
    return [round(told.x, 2), round(told.y, 2), told.heading, int(told.moving)]


def heard_pose(event: oofgg.Message) -> Pose | None:
    """A position, if that is what it is."""
    try:
        x, y, heading, moving = event.json()
        return Pose(*_place(x, y), int(heading) % len(HEADINGS), bool(moving))
    except _RUBBISH:
        return None


def heard_spark(event: oofgg.Message) -> tuple[float, float] | None:
    """Where it sparkles."""
    try:
        x, y = event.json()
        return _place(x, y)
    except _RUBBISH:
        return None


def _place(x: float, y: float) -> tuple[float, float]:
    """A place in the field. Raises ValueError for any other."""
    if not (0 <= x <= WIDTH and 0 <= y <= HEIGHT):
        raise ValueError("outside")
    return float(x), float(y)


def attributes(seconds: float, countdown: float) -> dict[str, str]:
    """What a session is opened with, for all who join."""
    return {"seconds": f"{seconds:g}", "countdown": f"{countdown:g}"}


def plan(session_id: str, told: Mapping[str, str]) -> Plan:
    """What was agreed when the session was opened. Raises OtherGame."""
    try:
        seconds, countdown = float(told["seconds"]), float(told["countdown"])
    except (LookupError, ValueError):
        raise OtherGame("this session is not a round of the arena") from None
    if not (1 <= seconds <= _LONGEST_ROUND and 0 <= countdown <= _LONGEST_ROUND):
        raise OtherGame(f"a round lasts from 1 to {_LONGEST_ROUND:.0f} seconds")
    return Plan(session_id, seconds, countdown)
