"""What the platform promises the participants of a session, checked as they see it.

Plain rules without I/O. One `SessionCheck` is told what each participant of a session sent and saw, and tells of what
must not be. Memory is bounded: an event is remembered until every participant has passed it, a command is a number.

A participant is known by its seat. A *number* is the bots' own: it counts the RELIABLE commands of a seat, its VOLATILE
ones, and its values of each LATEST key, from 1 and without gaps, over all streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.bots.breach import Breach, Promise, What

# Events somebody may lag behind the others: more than the platform keeps for a resume.
MOST_BEHIND: Final = 20_000
# Numbers that are remembered to tell a late command from a repeated one.
_MOST_MISSING: Final = 1_024
_VOLATILE_WINDOW: Final = 1_024


@dataclass(slots=True)
class _Event:
    what: What
    passed: int
    """Participants that have this event behind them."""
    first: int
    """Seat that saw it first."""


@dataclass(slots=True)
class _Volatile:
    """Which of the newest numbers were seen: bit n stands for `highest - n`."""

    highest: int = 0
    bits: int = 0

    def repeated(self, number: int) -> bool:
        if number > self.highest:
            shift = number - self.highest
            self.bits = (self.bits << shift | 1) & ((1 << _VOLATILE_WINDOW) - 1) if shift < _VOLATILE_WINDOW else 1
            self.highest = number
            return False
        bit = 1 << (self.highest - number)
        repeated = bool(self.bits & bit)
        if self.highest - number < _VOLATILE_WINDOW:
            self.bits |= bit
        return repeated


@dataclass(slots=True)
class _Participant:
    seat: int
    seq: int
    """The last RELIABLE event it saw."""
    commands: dict[int, int] = field(default_factory=dict)
    """By sender: the highest number seen."""
    missing: dict[int, dict[int, bool]] = field(default_factory=dict)
    """By sender: lower numbers that were not seen, in order, and whether they may be lost."""
    latest: dict[tuple[int, str], int] = field(default_factory=dict)
    volatile: dict[int, _Volatile] = field(default_factory=dict)
    reset: bool = False
    """It has lost events by a reset: a sender's next number may be any."""


class SessionCheck:
    """All participants of one session."""

    def __init__(
        self, session: str, participants: int, broken: Callable[[Breach], None], *, allow_reset: bool = False
    ) -> None:
        """Events are kept until so many participants have joined and seen them. `broken` is told of every breach."""
        self.session = session
        self._expected = participants
        self.broken = broken
        self._allow_reset = allow_reset
        self._participants: dict[int, _Participant] = {}
        self._events: dict[int, _Event] = {}
        self._acknowledged: dict[int, int] = {}
        self._newest: dict[tuple[int, str], int] = {}
        self._abandoned: dict[int, list[range]] = {}
        self._untold: set[int] = set()
        """Who has seen events that a reset took back, and was not told so yet."""

    @property
    def remembered(self) -> int:
        """Events in memory."""
        return len(self._events)

    def joined(self, seat: int, after_seq: int = 0) -> None:
        """A participant takes part, and sees everything after that event."""
        self._participants[seat] = _Participant(seat, after_seq)

    def left(self, seat: int) -> None:
        """A participant sees nothing more, and nothing is expected of it."""
        gone = self._participants.pop(seat, None)
        if gone is None:
            return
        self._expected -= 1
        self._untold.discard(seat)
        for seq, event in list(self._events.items()):
            event.passed -= seq <= gone.seq
            if event.passed >= self._expected:
                del self._events[seq]

    def acknowledged(self, seat: int, number: int) -> None:
        """RELIABLE commands up to this number are safe, the platform has said."""
        self._acknowledged[seat] = max(number, self._acknowledged.get(seat, 0))

    def abandoned(self, seat: int, first: int, last: int) -> None:
        """The sender gave up its stream before these were acknowledged: they may come, in their turn, or never."""
        if first > last:
            return
        passed = min((each.commands.get(seat, 0) for each in self._participants.values()), default=0)
        kept = [numbers for numbers in self._abandoned.get(seat, []) if numbers.stop > passed]
        self._abandoned[seat] = [*kept, range(first, last + 1)]

    def newest(self, seat: int, key: str, number: int) -> None:
        """A LATEST value was sent."""
        self._newest[seat, key] = number

    def reliable(self, seat: int, seq: int, what: What) -> None:
        """A participant sees a RELIABLE event."""
        participant = self._participants.get(seat)
        if participant is None:
            return
        before = participant.seq
        if seq != before + 1:
            self._break(Promise.NO_GAP, seat, seq, f"{what} came after event {before}")
            if seq <= before:
                return
        participant.seq = seq
        if seat not in self._untold:
            if seq > before + 1:
                self._pass(before + 1, seq - 1)
            self._compare(seat, seq, what)
        if what.number:
            self._command(participant, seq, what)

    def reset(self, seat: int, seq: int) -> None:
        """A participant is told that events are lost to it, and begins again after `seq`."""
        participant = self._participants.get(seat)
        if participant is None:
            return
        if not self._allow_reset:
            self._break(Promise.NO_RESET, seat, seq, f"LogReset to {seq} after event {participant.seq}")
        before, told = participant.seq, seat in self._untold
        if seq < before and not told:
            self._excuse_what_was_seen()
        participant.seq, participant.reset = seq, True
        participant.commands.clear()
        participant.missing.clear()
        self._untold.discard(seat)
        if seq >= before or told:
            self._recount()
            return
        # History was rewritten after `seq`: whoever has seen the old one has to be told.
        self._untold |= {each.seat for each in self._participants.values() if each.seq > seq}
        self._events = {known: event for known, event in self._events.items() if known <= seq}
        self._recount()

    def _excuse_what_was_seen(self) -> None:
        """Commands may be among what a reset takes back: who has not seen them, and is not reset, never will."""
        participants = self._participants.values()
        for by in {by for each in participants for by in each.commands} | self._acknowledged.keys():
            seen = [each.commands.get(by, 0) for each in participants]
            self.abandoned(by, min(seen) + 1, max(*seen, self._acknowledged.get(by, 0)))

    def latest(self, seat: int, by: int, key: str, number: int) -> None:
        """A participant sees a LATEST value."""
        participant = self._participants.get(seat)
        if participant is None:
            return
        last = participant.latest.get((by, key), 0)
        if number < last:
            self._break(Promise.LATEST_FORWARD, seat, 0, f"key {key!r} of seat {by} went from {last} to {number}")
        else:
            participant.latest[by, key] = number

    def volatile(self, seat: int, by: int, number: int) -> None:
        """A participant sees a VOLATILE command."""
        participant = self._participants.get(seat)
        if participant is not None and participant.volatile.setdefault(by, _Volatile()).repeated(number):
            self._break(Promise.VOLATILE_ONCE, seat, 0, f"command {number} of seat {by} came again")

    def unsettled(self) -> list[Breach]:
        """What is still missing; a breach of each once nothing more can come."""
        found: list[Breach] = []
        for participant in self._participants.values():
            for by, number in self._acknowledged.items():
                found += self._unseen(participant, by, number)
            for (by, key), number in self._newest.items():
                last = participant.latest.get((by, key), 0)
                if by != participant.seat and by in self._participants and last < number:
                    evidence = f"key {key!r} of seat {by} is {last}, and {number} was sent"
                    found.append(Breach(Promise.LATEST_ARRIVES, self.session, participant.seat, 0, evidence))
        for seat in sorted(self._untold):
            evidence = "events it had seen were taken back, and nothing said so"
            found.append(Breach(Promise.NO_RESET, self.session, seat, self._participants[seat].seq, evidence))
        return found

    def _unseen(self, participant: _Participant, by: int, acknowledged: int) -> list[Breach]:
        last = participant.commands.get(by, 0)
        if participant.reset and not last:
            return []
        lost = [n for n, excused in participant.missing.get(by, {}).items() if n <= acknowledged and not excused]
        if last < acknowledged and not all(self._may_be_lost(by, n) for n in range(last + 1, acknowledged + 1)):
            lost.append(last + 1)
        if not lost:
            return []
        evidence = f"command {min(lost)} of seat {by} was not seen, and {acknowledged} is acknowledged"
        return [Breach(Promise.ACKNOWLEDGED, self.session, participant.seat, participant.seq, evidence)]

    def _compare(self, seat: int, seq: int, what: What) -> None:
        event = self._events.get(seq)
        if event is None:
            others = sum(each.seq >= seq for each in self._participants.values() if each.seat not in self._untold) - 1
            event = self._events[seq] = _Event(what, others, seat)
            self._require_nobody_far_behind(seq)
        elif event.what != what:
            self._break(Promise.SAME_ORDER, seat, seq, f"{what}, where seat {event.first} saw {event.what}")
        self._pass(seq, seq)

    def _pass(self, first: int, last: int) -> None:
        for seq in range(first, last + 1) if last - first < len(self._events) else list(self._events):
            event = self._events.get(seq)
            if event is None or not first <= seq <= last:
                continue
            event.passed += 1
            if event.passed >= self._expected:
                del self._events[seq]

    def _recount(self) -> None:
        for seq, event in list(self._events.items()):
            told = [each for each in self._participants.values() if each.seat not in self._untold]
            event.passed = sum(each.seq >= seq for each in told)
            if event.passed >= self._expected:
                del self._events[seq]

    def _command(self, participant: _Participant, seq: int, what: What) -> None:
        by, number = what.by, what.number
        last = participant.commands.get(by)
        if last is None:
            last = number - 1 if participant.reset else 0
        missing = participant.missing.setdefault(by, {})
        if number in missing:
            del missing[number]
            self._break(Promise.COMMAND_ORDER, participant.seat, seq, f"{what} came after {last}")
        elif number <= last:
            self._break(Promise.ONCE, participant.seat, seq, f"{what} came again; the last was {last}")
        else:
            skipped = {n: self._may_be_lost(by, n) for n in range(max(last + 1, number - _MOST_MISSING), number)}
            if not all(skipped.values()):
                self._break(Promise.COMMAND_ORDER, participant.seat, seq, f"{what} came after {last}")
            missing.update(skipped)
            while len(missing) > _MOST_MISSING:
                del missing[next(iter(missing))]
            participant.commands[by] = number

    def _may_be_lost(self, by: int, number: int) -> bool:
        return any(number in numbers for numbers in self._abandoned.get(by, ()))

    def _require_nobody_far_behind(self, seq: int) -> None:
        if len(self._events) <= MOST_BEHIND:
            return
        for each in list(self._participants.values()):
            if each.seq < seq - MOST_BEHIND // 2:
                self._break(Promise.STAYS, each.seat, each.seq, f"others have seen {seq}, this seat only {each.seq}")
                self.left(each.seat)

    def _break(self, promise: Promise, seat: int, seq: int, evidence: str) -> None:
        self.broken(Breach(promise, self.session, seat, seq, evidence))
