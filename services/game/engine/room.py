"""A session being run: its rules, its one order of events, its receivers.

Plain state without I/O. What changes is collected in a batch; the owner takes it (`begin`), has the log keep it, and
then confirms it (`confirm`): only then do receivers get its events and senders their acknowledgement. One batch is on
its way at a time, and it is offered again as it is until it is confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from zlib import crc32

from services.game.engine import records
from services.game.engine.delivery import Channels, DeliveryLimits, Pacer, Receiver
from services.game.engine.facts import (
    GONE,
    OVER,
    Change,
    PresenceChanged,
    PresenceKind,
    ProfileChanged,
    ResultChanged,
    State,
    StateChanged,
)
from services.game.engine.lineage import Lineage
from services.game.engine.order import (
    FIRST_OVERSEER,
    LATEST,
    VOLATILE,
    Audience,
    LatestBoard,
    Private,
    Tail,
    VolatileRing,
)
from services.game.engine.results import SeatResult
from services.game.engine.sessions import Session

_LIFE: Final = "life"
_PROFILE: Final = "profile"
# Seats are numbered from 1; places of spectators come after all of them.
FIRST_SPECTATOR: Final = 1 << 16


class Command(Protocol):
    """A participant's command. The engine reads the first five; the rest is for the encoder."""

    @property
    def number(self) -> int: ...
    @property
    def delivery(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def to_seats(self) -> Sequence[int]: ...
    @property
    def to_team(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def kind(self) -> str: ...


class Encoder(Protocol):
    """Encodes an event, once, as a piece that every receiver gets. `now` is in seconds since the epoch."""

    def message(
        self, seq: int, after_seq: int, seat: int, now: float, command: Command, audience: Audience | None
    ) -> bytes:
        """A participant's command; `seq` is 0 when it is not reliable, `audience` None when it is for everybody."""
        ...

    def hidden(self, seq: int) -> bytes:
        """A reliable event that is for others."""
        ...

    def change(self, seq: int, now: float, change: Change) -> bytes:
        """Something that happened to the session."""
        ...

    def reset(self, seq: int, now: float, session: Session) -> bytes:
        """Events up to `seq` are lost to a receiver; the session as it is takes their place."""
        ...


@dataclass(slots=True)
class Batch:
    """What the log has to keep at once: events, and the fields they change.

    `before` and `last` are the numbers of the last event before and in it; equal when it holds none.
    """

    ticket: int
    before: int
    last: int
    pieces: list[bytes] = field(default_factory=list)
    private: dict[int, Private] = field(default_factory=dict)
    size: int = 0
    commands: dict[int, int] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    fields: dict[str, bytes] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    replies: dict[str, bytes] = field(default_factory=dict)
    state: State = State.CREATED
    label: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream's place, to be used once `ticket` is confirmed. `session` and `head` belong together. Seat 0 is a
    spectator's."""

    receiver: Receiver
    replaced: Receiver | None
    ticket: int
    seat: int
    head: int
    command: int


class Room:
    """One session being run."""

    def __init__(
        self,
        session: Session,
        encoder: Encoder,
        *,
        tail: Tail | None = None,
        commands: dict[int, int] | None = None,
        limits: DeliveryLimits | None = None,
        lineage: Lineage | None = None,
    ) -> None:
        self.session = session
        self.receivers: dict[int, Receiver] = {}  # by place
        self.tail = tail or Tail()
        self.ticket = 1  # of the batch being collected
        self.confirmed = 0  # ticket of the last confirmed batch
        self.state = session.state  # as of the last confirmed batch
        self.label = session.profile.label  # the same
        self._window = session.facts.flush_window_ms / 1000
        # Sessions do not flush at the same moments, only the receivers of one do.
        self._phase = self._window * crc32(session.facts.session_id.encode()) / 2**32
        # The log is written four times as often, halfway between: what is kept just before a flush leaves with it.
        self.pacer = Pacer(self._window / 4, self._phase + self._window / 8)
        self._board = LatestBoard()
        self._ring = VolatileRing()
        self._channels = Channels(self.tail, self._board, self._ring)
        self._encoder = encoder
        self._limits = limits
        self.lineage = lineage or Lineage(())
        self._commands = commands or {}
        self._head = self.tail.head  # number of the last event, confirmed or not
        self._pending = Batch(self.ticket, self._head, self._head)
        self._in_flight: Batch | None = None

    @property
    def head(self) -> int:
        """Number of the last event, confirmed or not."""
        return self._head

    @property
    def backlog(self) -> int:
        """Bytes of events that are not confirmed."""
        return self._pending.size + (self._in_flight.size if self._in_flight else 0)

    @property
    def pending_pieces(self) -> list[bytes]:
        """The events that are being collected."""
        return self._pending.pieces

    @property
    def outstanding(self) -> int:
        """The ticket that confirms everything that has happened so far."""
        if self._has_pending():
            return self.ticket
        return self._in_flight.ticket if self._in_flight else self.confirmed

    @property
    def idle(self) -> bool:
        """Whether everything is confirmed."""
        return self.outstanding == self.confirmed

    # What participants do. Each returns the ticket of the batch that holds its effect.

    def apply(self, changes: Iterable[Change], now: float) -> int:
        """Numbers and tells what the session's rules did."""
        pending = self._pending
        for change in changes:
            if isinstance(change, PresenceChanged):
                number = change.seat.number
                pending.dirty.add(f"seat:{number}")
                if change.kind in GONE:
                    self._forget(number)
                    pending.dirty.add(_LIFE)
                elif change.kind is PresenceKind.JOINED:
                    pending.dirty.add(_LIFE)  # whoever had left that seat has been replaced
                    self._commands.pop(number, None)
                    seat = self.session.seats[number] = replace(change.seat, join_seq=self._head + 1)
                    change = replace(change, seat=seat)
            elif isinstance(change, ProfileChanged):
                pending.dirty.add(_PROFILE)
            else:
                pending.dirty.add(_LIFE)
                if isinstance(change, ResultChanged) and change.seat:
                    pending.dirty.add(f"vote:{change.seat}")
                if isinstance(change, StateChanged) and change.state is State.FINISHING:
                    continue
            self._add(self._encoder.change(self._head + 1, now, change))
        return self.outstanding

    def state_result(self, number: int, entries: list[SeatResult], now: float) -> int:
        """A seat states the result; 0 for the game's developer or host. Raises as the rules do."""
        session = self.session
        if number:
            changes = session.state_result(number, entries, now)
            self._pending.dirty.add(f"vote:{number}")
        else:
            changes = session.host_result(entries, now)
        return self.apply(changes, now)

    def command(self, seat: int, commands: Iterable[Command], now: float) -> int:
        """Takes a participant's commands. Returns the ticket that confirms the reliable ones."""
        head = self._head
        shared = False
        self.session.active_at = now
        last = self._commands.get(seat, 0)
        for command in commands:
            delivery = command.delivery
            audience = self._audience(seat, command) if command.to_team or command.to_seats else None
            if delivery == LATEST:
                piece = self._encoder.message(0, self._head, seat, now, command, audience)
                self._board.put(seat, command.key, piece, audience)
                shared = True
            elif delivery == VOLATILE:
                self._ring.put(seat, self._encoder.message(0, self._head, seat, now, command, audience), audience)
                shared = True
            elif command.number > last:
                last = command.number
                number = self._head + 1
                if audience is not None:
                    self._pending.private[number] = Private(audience, self._encoder.hidden(number))
                self._add(self._encoder.message(number, 0, seat, now, command, audience))
            elif self._is_confirmed(seat) and (own := self.receivers.get(seat)):
                own.acknowledge_command(last)
        if self._head != head:
            self._commands[seat] = self._pending.commands[seat] = last
        if shared:
            for receiver in self.receivers.values():
                if receiver.place != seat:
                    receiver.signal()
        return self._ticket_of(seat)

    def safe_command(self, seat: int) -> int:
        """Number of the last reliable command of a seat, to be told once the ticket of `command` is confirmed."""
        return self._commands.get(seat, 0)

    @property
    def spectators(self) -> int:
        """How many watch without a seat."""
        return sum(FIRST_SPECTATOR <= place < FIRST_OVERSEER for place in self.receivers)

    def open(
        self,
        place: int,
        after: int | None,
        wake: Callable[[], None],
        now: float,
        *,
        epoch: int = 0,
        instance_id: str = "",
        display_name: str | None = None,
    ) -> Opened:
        """Opens a stream for a place: after an event it has seen, or (None) with what happens from now on.

        `epoch` is that of the owner it got that event from; 0 when it does not say. `instance_id` and `display_name`
        are as of `Session.connect`.
        """
        session = self.session
        replaced = self.receivers.get(place)
        seat = place if place < FIRST_SPECTATOR else 0
        changes: Sequence[Change] = ()
        if seat:
            changes = session.connect(
                seat, replaces=replaced is not None, instance_id=instance_id, display_name=display_name
            )
        ticket = self.apply(changes, now)
        preface = b""
        resumed = after is not None
        if after is None:
            after = self._head
        elif not self.tail.holds(after) or (epoch and self.lineage.diverged(epoch, after)):
            after = self._head
            preface = self._encoder.reset(after, now, session)
        receiver = Receiver(
            place,
            self._channels,
            wake=wake,
            window=self._window,
            phase=self._phase,
            after=after,
            resumed=resumed,
            limits=self._limits,
            preface=preface,
            since=session.seats[seat].join_seq if seat else 0,
        )
        if session.over:
            receiver.end_after = self._head
        self.receivers[place] = receiver
        return Opened(receiver, replaced, ticket, seat, self._head, self._commands.get(seat, 0))

    def shut(self, receiver: Receiver, now: float) -> None:
        """A stream has ended, for whatever reason."""
        place = receiver.place
        if self.receivers.get(place) is receiver:
            del self.receivers[place]
            self.apply(self.session.disconnect(place, now), now)

    def reply(self, key: str, reply: bytes) -> int:
        """Keeps a reply with the effect that is being collected."""
        self._pending.replies[key] = reply
        return self._pending.ticket

    # What the owner does.

    def begin(self) -> Batch | None:
        """The batch to keep next, or the one on its way; None when there is nothing to keep."""
        if self._in_flight is not None:
            return self._in_flight
        if not self._has_pending():
            return None
        return self._start()

    def confirm(self, batch: Batch) -> None:
        """The log has kept a batch: now its events are delivered and its commands acknowledged."""
        if batch is not self._in_flight:
            raise AssertionError("only the batch that is on its way can be confirmed")
        self._in_flight = None
        self.confirmed = batch.ticket
        self.state = batch.state
        self.label = batch.label
        self.tail.extend(batch.pieces, batch.private)
        for seat, number in batch.commands.items():
            if own := self.receivers.get(seat):
                own.acknowledge_command(number)
        over = batch.state in OVER
        if batch.pieces or over:
            for receiver in self.receivers.values():
                if over and receiver.end_after is None:
                    receiver.end_after = batch.last
                receiver.signal()

    def everything(self) -> tuple[Batch, list[bytes], int, dict[str, bytes]]:
        """For a log that has lost what it confirmed: the batch on its way, all events kept (with those of that batch),
        the number of the first, and all fields as they are now."""
        batch = self.begin() or self._start()
        if self._has_pending():
            # One write restores all, so what was being collected joins what is on its way.
            late = self._start()
            batch.ticket, batch.last, batch.state, batch.label = late.ticket, late.last, late.state, late.label
            batch.pieces += late.pieces
            batch.private |= late.private
            batch.size += late.size
            batch.commands |= late.commands
            batch.replies |= late.replies
            self._in_flight = batch
        pieces = [*self.tail.pieces(self.tail.first - 1), *batch.pieces]
        return batch, pieces, batch.last - len(pieces) + 1, records.all_fields(self.session, self._commands)

    def slow_receivers(self) -> list[Receiver]:
        """Receivers that are too far behind to be kept."""
        return [receiver for receiver in self.receivers.values() if receiver.slow]

    def _start(self) -> Batch:
        batch, session = self._pending, self.session
        batch.last = self._head
        batch.state = session.state
        batch.label = session.profile.label
        for number, command in batch.commands.items():
            if number in session.seats:
                batch.fields[f"command:{number}"] = b"%d" % command
        for name in batch.dirty:
            kind, _, number_text = name.partition(":")
            if kind == _LIFE:
                batch.fields[name] = records.life_field(session)
            elif kind == _PROFILE:
                batch.fields[name] = records.profile_field(session.profile)
            elif kind == "vote":
                if session.ballot and (vote := session.ballot.statements.get(int(number_text))):
                    batch.fields[name] = records.vote_field(vote)
            elif seat := session.seats.get(int(number_text)):
                batch.fields[name] = records.seat_field(seat)
                if int(number_text) not in self._commands:
                    batch.removed.append(f"command:{number_text}")
            else:
                batch.removed += [name, f"command:{number_text}"]
        self._in_flight = batch
        self.ticket += 1
        self._pending = Batch(self.ticket, self._head, self._head)
        return batch

    def _add(self, piece: bytes) -> None:
        self._head += 1
        pending = self._pending
        pending.pieces.append(piece)
        pending.size += len(piece)

    def _forget(self, seat: int) -> None:
        self._commands.pop(seat, None)
        self._pending.commands.pop(seat, None)
        self._board.drop(seat)
        if receiver := self.receivers.get(seat):
            # Its own LEFT or KICKED, the event being added, is the last thing it gets.
            receiver.end_after = self._head + 1

    def _audience(self, seat: int, command: Command) -> Audience:
        """Who a command is for, as things are now; its sender always is."""
        seats, team = self.session.seats, command.to_team
        members = [number for number, other in seats.items() if other.team == team] if team else ()
        return frozenset((seat, *members, *(number for number in command.to_seats if number in seats)))

    def _has_pending(self) -> bool:
        pending = self._pending
        return bool(pending.pieces or pending.dirty or pending.replies)

    def _is_confirmed(self, seat: int) -> bool:
        return self._ticket_of(seat) <= self.confirmed

    def _ticket_of(self, seat: int) -> int:
        if seat in self._pending.commands:
            return self._pending.ticket
        if self._in_flight is not None and seat in self._in_flight.commands:
            return self._in_flight.ticket
        return self.confirmed
