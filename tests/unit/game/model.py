"""An encoder and commands a test can read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.game.engine.delivery import DeliveryLimits, Receiver
from services.game.engine.facts import Change, PresenceChanged, Profile, ProfileChanged, SessionFacts, StateChanged
from services.game.engine.order import RELIABLE, Tail
from services.game.engine.room import Batch, Command, Room
from services.game.engine.sessions import Session

END = b"\n"


@dataclass(frozen=True, slots=True)
class Said:
    """A command."""

    number: int
    delivery: int = RELIABLE
    key: str = ""
    text: str = ""
    to_seats: tuple[int, ...] = ()
    to_team: int = 0

    @property
    def payload(self) -> bytes:
        return self.text.encode()

    @property
    def kind(self) -> str:
        return ""


class TextEncoder:
    """One line per event: `seq after seat what`."""

    def message(
        self, seq: int, after_seq: int, seat: int, now: float, command: Command, audience: frozenset[int] | None
    ) -> bytes:
        what = f"{command.delivery}:{command.number}:{command.key}:{command.payload.decode()}"
        return f"{seq} {after_seq} {seat} {what}".encode() + END

    def hidden(self, seq: int) -> bytes:
        return f"{seq} 0 0 HIDDEN".encode() + END

    def change(self, seq: int, now: float, change: Change) -> bytes:
        if isinstance(change, PresenceChanged):
            return f"{seq} 0 {change.seat.number} {change.kind}".encode() + END
        if isinstance(change, StateChanged):
            return f"{seq} 0 0 {change.state}".encode() + END
        if isinstance(change, ProfileChanged):
            return f"{seq} 0 0 PROFILE:{change.profile.version}".encode() + END
        return f"{seq} 0 {change.seat} {change.state}".encode() + END

    def reset(self, seq: int, now: float, session: Session) -> bytes:
        return f"{seq} 0 0 RESET".encode() + END


def lines(body: bytes) -> list[list[str]]:
    """The fields of each event in a flush."""
    return [line.split(" ", 3) for line in body.decode().splitlines()]


def facts(**overrides: object) -> SessionFacts:
    values: dict[str, object] = {
        "session_id": "s", "game_id": "g", "min_seats": 2, "max_seats": 2, "flush_window_ms": 20, "create_time": 0.0,
        "history_topic": "",
    }  # fmt: skip
    return SessionFacts(**(values | overrides))  # type: ignore[arg-type]


def room(
    seats: int = 2, *, tail: Tail | None = None, limits: DeliveryLimits | None = None, window_ms: int = 20
) -> Room:
    """A started session with all seats taken and everything confirmed."""
    session = Session(
        facts(max_seats=seats, min_seats=seats, flush_window_ms=window_ms, max_spectators=2), Profile("user1")
    )
    made = Room(session, TextEncoder(), tail=tail, limits=limits)
    for number in range(1, seats + 1):
        made.apply(session.join(f"user{number}", f"user{number}", 0, 0.0), 0.0)
    keep(made)
    return made


def keep(made: Room) -> list[Batch]:
    """Plays the log that never fails."""
    kept = []
    while batch := made.begin():
        made.confirm(batch)
        kept.append(batch)
    return kept


def nothing() -> None:
    """A receiver's `wake` for tests that ask by themselves."""


def connect(made: Room, seat: int, after: int | None = None, wake: Callable[[], None] = nothing) -> Receiver:
    opened = made.open(seat, after, wake, 0.0)
    keep(made)
    return opened.receiver


def drain(receiver: Receiver, now: float = 0.0, *, acknowledge: bool = True) -> list[list[str]]:
    """Everything a receiver can be given, as if each flush was acknowledged at once."""
    found = []
    while flush := receiver.take(now):
        found += lines(flush.body)
        if acknowledge and flush.number:
            receiver.acknowledge(flush.number)
    return found
