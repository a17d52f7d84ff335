"""The rules of a session: its states, its seats, who comes and goes, and how it ends.

Plain state without I/O. Methods change it and return what happened, for `room.Room` to number and tell. Times are
seconds since the epoch, passed in, so that deadlines mean the same after a restart on another machine.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from pkg.errors import Aborted, FailedPrecondition, PermissionDenied, Reason, invalid_field
from services.game.engine.facts import (
    MOST_ATTRIBUTES,
    OVER,
    TRANSITIONS,
    Change,
    EndReason,
    Newcomer,
    PresenceChanged,
    PresenceKind,
    Profile,
    ProfileChanged,
    ResultChanged,
    Seat,
    SessionFacts,
    SessionTimes,
    State,
    StateChanged,
)
from services.game.engine.results import Ballot, Decision, Result, ResultState, SeatResult, normalised


@dataclass(slots=True)
class Session:
    """One session."""

    facts: SessionFacts
    profile: Profile
    times: SessionTimes = field(default_factory=SessionTimes)
    state: State = State.CREATED
    seats: dict[int, Seat] = field(default_factory=dict)
    start_time: float | None = None
    finish_time: float | None = None
    ballot: Ballot | None = None
    decision: Decision | None = None
    departed: dict[int, Seat] = field(default_factory=dict)  # who left since it started, and was not replaced
    roster: tuple[Seat, ...] = ()  # who the result is about, fixed when it is first stated
    absent: frozenset[int] = frozenset()  # those of the roster that had left by then: a result may leave them out
    end_reason: EndReason = EndReason.NONE
    creator_left: bool = False  # and nobody was there to take over: who joins next does
    banned: frozenset[str] = frozenset()  # accounts that were removed and may not return
    quiet_since: float | None = None  # since when no stream is open; None while one is
    active_at: float | None = None  # when somebody last did something; None: when it was made

    @property
    def over(self) -> bool:
        """Whether nothing more can happen."""
        return self.state in OVER

    def seat_of(self, user_id: str) -> Seat | None:
        """The seat of an account."""
        return next((seat for seat in self.seats.values() if seat.user_id == user_id), None)

    def participant(self, user_id: str) -> Seat:
        """As `seat_of`. Raises PermissionDenied(NOT_A_PARTICIPANT) when it has none."""
        seat = self.seat_of(user_id)
        if seat is None:
            raise PermissionDenied(
                Reason.NOT_A_PARTICIPANT, f"You have no seat in session {self.facts.session_id}. Join it first."
            )
        return seat

    def join(self, user_id: str, username: str, team: int, now: float, *, display_name: str = "") -> list[Change]:
        """Takes the lowest free seat; nothing happens for who has one. Raises as `seat_all`."""
        return self.seat_all((Newcomer(user_id, username, team, display_name),), now)

    def seat_all(self, newcomers: Sequence[Newcomer], now: float) -> list[Change]:
        """Takes the lowest free seats, in this order, for all of them or for none; nothing happens for who has one.

        Raises FailedPrecondition: SESSION_STATE when the session is ending, SESSION_FULL when too few seats are free;
        PermissionDenied(KICKED).
        """
        for each in newcomers:
            self.require_welcome(each.user_id)
        seated = {seat.user_id for seat in self.seats.values()}
        missing = {each.user_id: each for each in newcomers if each.user_id not in seated}
        if self.state in OVER or self.state is State.FINISHING or (self.ballot and missing):
            raise self._refusal("joined")
        numbers = (number for number in range(1, self.facts.max_seats + 1) if number not in self.seats)
        free = list(islice(numbers, len(missing)))
        if len(free) < len(missing):
            raise FailedPrecondition(
                Reason.SESSION_FULL,
                f"Of the {self.facts.max_seats} seats of session {self.facts.session_id}, {len(free)} are free.",
            )
        changes: list[Change] = []
        for number, newcomer in zip(free, missing.values(), strict=True):
            changes += self._seat(number, newcomer, now)
        return changes

    def join_deadline(self, user_ids: Container[str]) -> float:
        """Until when all seats of these accounts are certainly kept, without a stream: at least a grace after they
        were taken."""
        return min(
            (
                seat.join_time + self.times.grace if seat.leave_at is None else seat.leave_at
                for seat in self.seats.values()
                if seat.user_id in user_ids
            ),
            default=self.facts.create_time + self.times.grace,
        )

    def require_welcome(self, user_id: str) -> None:
        """Raises PermissionDenied(KICKED) for an account that was removed for good."""
        if user_id in self.banned:
            raise PermissionDenied(
                Reason.KICKED,
                f"You were removed from session {self.facts.session_id} and cannot return to it.",
                user_id=user_id,
            )

    def update(
        self,
        *,
        label: str | None,
        set_attributes: Mapping[str, str],
        remove_attributes: Iterable[str],
        expected_version: int | None,
    ) -> list[Change]:
        """Changes label and attributes; nothing happens when they are that already.

        Raises FailedPrecondition(SESSION_STATE) when the session is over, Aborted(CONFLICT) when another change came
        first, InvalidArgument for too many attributes.
        """
        if self.over:
            raise self._refusal("changed")
        profile = self.profile
        if expected_version is not None and expected_version != profile.version:
            raise Aborted(
                Reason.CONFLICT,
                f"The session has version {profile.version}, not {expected_version}. Read it again.",
                version=str(profile.version),
            )
        attributes = {**profile.attributes, **set_attributes}
        for name in remove_attributes:
            attributes.pop(name, None)
        if len(attributes) > MOST_ATTRIBUTES:
            raise invalid_field(
                "set_attributes",
                f"a session has at most {MOST_ATTRIBUTES} attributes; this would make {len(attributes)}",
            )
        label = profile.label if label is None else label
        if label == profile.label and attributes == profile.attributes:
            return []
        return self._change_profile(label=label, attributes=attributes)

    def start(self, now: float) -> list[Change]:
        """Starts before the seats are taken, or goes on after a pause; nothing happens when it is being played.

        Raises FailedPrecondition(SESSION_STATE).
        """
        if self.state is State.STARTED:
            return []
        if State.STARTED not in TRANSITIONS[self.state] or self.ballot is not None:
            raise self._refusal("started")
        if self.start_time is None:
            self.start_time = now
        return self._go(State.STARTED)

    def pause(self) -> list[Change]:
        """Interrupts it; nothing happens when it is paused. Raises FailedPrecondition(SESSION_STATE)."""
        if self.state is State.PAUSED:
            return []
        if State.PAUSED not in TRANSITIONS[self.state] or self.ballot is not None:
            raise self._refusal("paused")
        return self._go(State.PAUSED)

    def connect(
        self, number: int, *, replaces: bool, instance_id: str = "", display_name: str | None = None
    ) -> list[Change]:
        """A stream opened for a seat, perhaps in the place of another. `display_name`: that of its player by now."""
        if self.over:
            return []
        self.quiet_since = None
        again = PresenceKind.RECONNECTED if self.seats[number].was_connected else PresenceKind.CONNECTED
        seat = self.seats[number]
        shown = seat.display_name if display_name is None else display_name
        seat = self.seats[number] = replace(
            seat, connected=True, leave_at=None, was_connected=True, instance_id=instance_id, display_name=shown
        )
        return [PresenceChanged(PresenceKind.REPLACED if replaces else again, seat)]

    def disconnect(self, number: int, now: float) -> list[Change]:
        """The stream of a seat ended; the seat is kept for the grace period."""
        seat = self.seats.get(number)
        if self.over or seat is None or not seat.connected:
            return []
        seat = self.seats[number] = replace(seat, connected=False, leave_at=now + self.times.grace)
        if not any(other.connected for other in self.seats.values()):
            self.quiet_since = now
        return [PresenceChanged(PresenceKind.DISCONNECTED, seat)]

    def renew_grace(self, now: float) -> None:
        """Begins the grace period of everybody without a stream anew: they could not come back."""
        for number, seat in self.seats.items():
            if seat.leave_at is not None:
                self.seats[number] = replace(seat, leave_at=max(seat.leave_at, now + self.times.grace))
        if self.quiet_since is not None:
            self.quiet_since = now

    def leave(self, number: int, now: float, *, instance_id: str = "") -> list[Change]:
        """Gives a seat up. Raises FailedPrecondition(SESSION_STATE) when the session is over.

        With `instance_id`, raises Aborted(REPLACED) when another client plays for the seat by now.
        """
        if self.over:
            raise self._refusal("left")
        playing = self.seats[number].instance_id
        if instance_id and playing and instance_id != playing:
            raise Aborted(
                Reason.REPLACED,
                "Another client of your account plays for this seat now; it is not yours to give up.",
                session_id=self.facts.session_id,
            )
        return self._vacate(number, PresenceKind.LEFT, "", now)

    def kick(self, number: int, reason: str, now: float, *, may_return: bool) -> list[Change]:
        """Takes a seat from somebody; one that nobody has is passed over.

        Raises FailedPrecondition(SESSION_STATE) when the session is over.
        """
        if self.over:
            raise self._refusal("changed")
        seat = self.seats.get(number)
        if seat is None:
            return []
        if not may_return:
            self.banned |= {seat.user_id}
        return self._vacate(number, PresenceKind.KICKED, reason, now)

    def close(self, now: float, reason: EndReason = EndReason.CLOSED) -> list[Change]:
        """Ends the session without a result. Raises FailedPrecondition(SESSION_STATE) when it is ending otherwise."""
        if State.DELETED not in TRANSITIONS[self.state]:
            raise self._refusal("closed")
        self.finish_time = now
        self.ballot = None
        self.end_reason = reason
        return self._go(State.DELETED)

    def state_result(self, number: int, entries: list[SeatResult], now: float) -> list[Change]:
        """A seat states the result.

        Raises FailedPrecondition(SESSION_STATE) when there is nothing to decide (yet, or any more), InvalidArgument
        for a result that does not fit the seats.
        """
        self._require_decidable()
        ballot = self.ballot
        result = self._normalised(entries)
        if ballot is None:
            self._fix_roster()
            ballot = self.ballot = Ballot(frozenset(seat.number for seat in self.roster), now + self.times.ballot)
        ballot.statements[number] = result
        if decided := self._decide(now):
            return decided
        return [ResultChanged(ResultState.PENDING, result, number, ballot.deadline)]

    def host_result(self, entries: list[SeatResult], now: float) -> list[Change]:
        """The game's developer or host states the result, which decides it. Raises as `state_result`."""
        self._require_decidable()
        result = self._normalised(entries)
        return self._decided(Decision(ResultState.STATED, result), now)

    def confirms(self, entries: list[SeatResult]) -> bool:
        """Whether these state the result that is decided. Raises InvalidArgument for what does not fit the seats."""
        return self.decision is not None and self._normalised(entries) == self.decision.result

    def finished(self) -> list[Change]:
        """The decided result is in the database."""
        decision = self.decision
        if decision is None:
            raise AssertionError("a session cannot finish before its result is decided")
        return [ResultChanged(decision.state, decision.result), *self._go(State.FINISHED)]

    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        if self.over or self.state is State.FINISHING:
            return None
        times = [seat.leave_at for seat in self.seats.values() if seat.leave_at is not None]
        if self.ballot is not None:
            times.append(self.ballot.deadline)
        else:
            times += [at for at, _ in self._ends()]
        return min(times)

    def tick(self, now: float) -> list[Change]:
        """What time has brought: seats whose grace is over, a ballot that is due, a session nobody plays."""
        if self.over or self.state is State.FINISHING:
            return []
        changes: list[Change] = []
        if self.ballot is not None:
            changes += self._decide(now)
        for seat in list(self.seats.values()):
            if seat.leave_at is not None and seat.leave_at <= now and not self.decision:
                changes += self.leave(seat.number, now)
        if self.ballot is None and State.DELETED in TRANSITIONS[self.state]:
            at, reason = min(self._ends())
            if at <= now:
                changes += self.close(now, reason)
        return changes

    def _ends(self) -> list[tuple[float, EndReason]]:
        """When it ends if nothing changes, and why."""
        times, made = self.times, self.facts.create_time
        ends = [
            (made + times.lifetime, EndReason.LIFETIME),
            ((made if self.active_at is None else self.active_at) + times.idle, EndReason.IDLE),
        ]
        if self.quiet_since is not None:
            ends.append((self.quiet_since + times.abandoned, EndReason.ABANDONED))
        return ends

    def _seat(self, number: int, newcomer: Newcomer, now: float) -> list[Change]:
        seat = Seat(number, newcomer.user_id, newcomer.username, newcomer.team, False, now, now + self.times.grace)
        seat = replace(seat, display_name=newcomer.display_name)
        self.seats[number] = seat
        self.departed = {
            other.number: other
            for other in self.departed.values()
            if other.number != number and other.user_id != seat.user_id
        }
        changes: list[Change] = [PresenceChanged(PresenceKind.JOINED, seat)]
        if self.creator_left:
            self.creator_left = False
            if seat.user_id != self.profile.creator_user_id:
                changes += self._change_profile(creator_user_id=seat.user_id)
        if self.state is State.CREATED:
            changes += self._go(State.WAITING)
        if self.state is State.WAITING and len(self.seats) >= self.facts.min_seats:
            self.start_time = now
            changes += self._go(State.STARTED)
        return changes

    def _vacate(self, number: int, kind: PresenceKind, reason: str, now: float) -> list[Change]:
        seat = replace(self.seats.pop(number), connected=False, leave_at=None)
        if self.start_time is not None and kind is PresenceKind.LEFT:
            self.departed[number] = seat
        if self.quiet_since is None and not any(other.connected for other in self.seats.values()):
            self.quiet_since = now
        changes: list[Change] = [PresenceChanged(kind, seat, reason)]
        if seat.user_id == self.profile.creator_user_id:
            oldest = min(self.seats.values(), key=lambda other: (other.join_time, other.number), default=None)
            if oldest is not None:
                changes += self._change_profile(creator_user_id=oldest.user_id)
            self.creator_left = oldest is None
        return [*changes, *self._decide(now)]

    def _change_profile(self, **changes: Any) -> list[Change]:
        self.profile = replace(self.profile, version=self.profile.version + 1, **changes)
        return [ProfileChanged(self.profile)]

    def _require_decidable(self) -> None:
        if self.decision is not None or State.FINISHING not in TRANSITIONS[self.state]:
            raise self._refusal("finished")

    def _normalised(self, entries: list[SeatResult]) -> Result:
        """A statement about the roster, or about who would be in it now."""
        fixed = self.ballot is not None or self.decision is not None
        roster = self.roster if fixed else self._lineup()
        absent = self.absent if fixed else self.departed.keys()
        return normalised(entries, {seat.number: seat.team for seat in roster}, absent)

    def _lineup(self) -> tuple[Seat, ...]:
        seats = {**self.departed, **self.seats}
        return tuple(seats[number] for number in sorted(seats))

    def _fix_roster(self) -> None:
        self.roster = self._lineup()
        self.absent = frozenset(self.departed)

    def _decide(self, now: float) -> list[Change]:
        if self.ballot is None or self.decision is not None:
            return []
        decision = self.ballot.decision(self.seats.keys(), now)
        return self._decided(decision, now) if decision else []

    def _decided(self, decision: Decision, now: float) -> list[Change]:
        if self.ballot is None:
            self._fix_roster()
        self.decision = decision
        self.finish_time = now
        return self._go(State.FINISHING)

    def _go(self, state: State) -> list[Change]:
        if state not in TRANSITIONS[self.state]:
            raise self._refusal(state.value.lower())
        self.state = state
        return [StateChanged(state, self.end_reason)]

    def _refusal(self, verb: str) -> FailedPrecondition:
        what = "its result is being decided" if self.ballot and not self.over else f"it is {self.state}"
        return FailedPrecondition(
            Reason.SESSION_STATE,
            f"Session {self.facts.session_id} cannot be {verb}: {what}.",
            state=self.state.value,
        )
