"""What happens in a session, as its participants see it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message as ProtobufMessage

from oofgg._types import EndReason, PresenceChange, ResultState, Seat, SeatResult, Session, SessionState

_M = TypeVar("_M", bound=ProtobufMessage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. One of the subclasses; ignore those you do not know."""

    seq: int
    """Number in the session's one order, from 1; 0 for what is not RELIABLE."""
    after_seq: int
    """For what is not RELIABLE: the last number before it."""
    seat: int
    """Seat that caused it; 0 for the platform."""
    event_time: datetime | None
    """When the server took it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Event):
    """A participant sent something."""

    data: bytes
    kind: str
    """The game's own name for the kind of data."""
    key: str
    """LATEST key."""
    number: int
    """Number of the command, growing per seat."""
    to: Sequence[int] = ()
    """The seats it is for, and for no one else; empty: for everybody."""

    def text(self) -> str:
        """The data as text. Raises UnicodeDecodeError."""
        return self.data.decode()

    def json(self) -> Any:
        """The data as JSON. Raises ValueError for what is none, NaN and Infinity too, or is nested too deeply."""
        try:
            return json.loads(self.data, parse_constant=_refused)
        except RecursionError:
            raise ValueError("this JSON is nested too deeply") from None

    def parse(self, message_type: type[_M]) -> _M:
        """The data as a protobuf message. Raises google.protobuf.message.DecodeError."""
        return message_type.FromString(self.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence(Event):
    """A participant came or went."""

    change: PresenceChange
    participant: Seat
    """The seat as it is now."""
    reason: str = ""
    """For KICKED: what was said about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange(Event):
    """The session went to another state."""

    state: SessionState
    end_reason: EndReason = EndReason.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionChange(Event):
    """The session's label, attributes or creator changed: all of them, as they are now."""

    label: str
    attributes: Mapping[str, str]
    creator_user_id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultChange(Event):
    """A seat stated a result, or the result is decided."""

    state: ResultState
    result: Sequence[SeatResult]
    """While PENDING the one that `seat` has just stated."""
    deadline_time: datetime | None
    """While PENDING: until when the other seats can speak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReset(Event):
    """Events up to `seq` are lost to this receiver: begin again from `session`."""

    session: Session


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
