"""The engine against a model: whatever is sent, dropped, resumed, read slowly or taken over, the promises hold.

- Every participant sees the same reliable events, in one order, without gap or duplicate.
- A command that was acknowledged is in that order exactly once, however often it was sent.
- No more than the window is unacknowledged; a backlog costs a bounded tail.
- Of latest values the newest arrives.
- What is for some is seen by those alone; the others, spectators among them, see that there was something.
- When the newest part of the log is lost with its owner, whoever has seen of it is told, and nobody else.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.game.engine.delivery import DeliveryLimits, Receiver
from services.game.engine.facts import SessionTimes
from services.game.engine.lineage import Lineage
from services.game.engine.order import LATEST, VOLATILE, Private, Tail
from services.game.engine.records import all_fields, read_session
from services.game.engine.room import FIRST_SPECTATOR, Batch, Opened, Room
from tests.unit.game.model import Said, TextEncoder, lines, nothing, room

SEATS = 3
SPECTATOR = FIRST_SPECTATOR + 1
WINDOW = 150
TAIL = 40


class Client:
    """A participant: what it saw, what it sent and does not know to be safe."""

    def __init__(self, seat: int) -> None:
        self.seat = seat  # or a spectator's place
        self.epoch = 0
        self.receiver: Receiver | None = None
        self.opened: Opened | None = None  # until the stream has said so
        self.resumes = False
        self.reset = False
        self.last: int | None = None
        self.unsafe: list[Said] = []
        self.number = 0
        self.acknowledged = 0
        self.unacked_flushes: list[int] = []
        self.latest: dict[tuple[str, str], int] = {}


class Promises(RuleBasedStateMachine):
    """Three participants, one session, a log that keeps what was confirmed."""

    seats = Bundle("seats")

    @initialize()
    def start(self) -> None:
        self.limits = DeliveryLimits(max_unacknowledged=WINDOW, max_behind_events=30)
        self.room = room(SEATS, tail=Tail(max_events=TAIL), limits=self.limits, window_ms=0)
        self.log: list[str] = []
        self.stored: dict[str, bytes] = {}
        self.on_its_way: Batch | None = None
        self.clients = {seat: Client(seat) for seat in (*range(1, SEATS + 1), SPECTATOR)}
        self.epoch = 1
        self.epochs = [(1, 0)]
        self.saved: tuple[list[str], dict[str, bytes], list[tuple[int, int]]] | None = None
        self.newest: dict[tuple[str, str], int] = {}
        fields = all_fields(self.room.session, {})
        self.stored = dict(fields)
        self.log = [line.decode() for piece in self.room.tail.pieces(0) for line in piece.splitlines()]
        self.everybody_comes_back()
        self.everybody_catches_up()

    def client(self, seat: int) -> Client:
        return self.clients[seat]

    seat = st.integers(1, SEATS)
    place = st.sampled_from([*range(1, SEATS + 1), SPECTATOR])

    @rule(
        seat=seat,
        size=st.sampled_from([1, 40, 300]),
        count=st.integers(1, 4),
        to=st.sampled_from([(), (), (1,), (2, 3)]),
    )
    def send_reliable(self, seat: int, size: int, count: int, to: tuple[int, ...]) -> None:
        client = self.client(seat)
        if client.receiver is None:
            return
        said = []
        for _ in range(count):
            client.number += 1
            # Whom it is for is in the text, for the test to read.
            whom = "+".join(map(str, sorted({seat, *to}))) if to else "all"
            text = f"{whom}.{seat}.{client.number}." + "x" * size
            said.append(Said(client.number, text=text, to_seats=to))
        client.unsafe += said
        self.room.command(seat, said, 0.0)

    @rule(seat=seat, drop=st.integers(0, 3))
    def resend(self, seat: int, drop: int) -> None:
        client = self.client(seat)
        if client.receiver is not None and client.unsafe:
            self.room.command(seat, client.unsafe[: max(1, len(client.unsafe) - drop)], 0.0)

    @rule(seat=seat, key=st.sampled_from("ab"))
    def send_latest(self, seat: int, key: str) -> None:
        client = self.client(seat)
        if client.receiver is None:
            return
        client.number += 1
        self.newest[str(seat), key] = client.number
        self.room.command(seat, [Said(client.number, LATEST, key=key)], 0.0)

    @rule(seat=seat)
    def send_volatile(self, seat: int) -> None:
        client = self.client(seat)
        if client.receiver is None:
            return
        client.number += 1
        self.room.command(seat, [Said(client.number, VOLATILE)], 0.0)

    @rule(confirmed=st.booleans())
    def write_the_log(self, confirmed: bool) -> None:
        """Sometimes the write happens and its confirmation is lost: it is offered again, the same."""
        batch = self.room.begin()
        if batch is None:
            return
        if self.on_its_way is not None:
            assert batch is self.on_its_way
        else:
            self.keep(batch)
            self.on_its_way = batch
        if confirmed:
            self.room.confirm(batch)
            self.on_its_way = None
            for receiver in self.room.slow_receivers():
                self.drop(receiver.place)

    def keep(self, batch: Batch) -> None:
        assert batch.before == len(self.log)
        self.log += [line.decode() for piece in batch.pieces for line in piece.splitlines()]
        assert batch.last == len(self.log)
        self.stored |= batch.fields
        for name in batch.removed:
            self.stored.pop(name, None)

    @rule(seat=place, resume=st.booleans())
    def open(self, seat: int, resume: bool) -> None:
        client = self.client(seat)
        opened = self.room.open(seat, client.last if resume else None, nothing, 0.0, epoch=client.epoch)
        assert (opened.replaced is None) == (client.receiver is None)
        client.receiver = opened.receiver
        client.opened = opened
        client.resumes = resume and client.last is not None
        if not client.resumes:
            client.latest = {}  # who opens afresh gets those that change from then on
        lost = any((client.last or 0) > head for epoch, head in self.epochs if epoch > client.epoch)
        client.reset = client.resumes and (lost or not self.room.tail.holds(client.last or 0))
        client.unacked_flushes = []
        client.unsafe = [said for said in client.unsafe if said.number > client.acknowledged]

    @rule()
    def everybody_comes_back(self) -> None:
        for seat, client in self.clients.items():
            if client.receiver is None:
                self.open(seat, resume=True)

    @rule(seat=place)
    def drop(self, seat: int) -> None:
        client = self.client(seat)
        if client.receiver is not None:
            self.room.shut(client.receiver, 0.0)
            client.receiver = None

    @rule(seat=place, acknowledge=st.booleans())
    def read(self, seat: int, acknowledge: bool) -> None:
        client = self.client(seat)
        receiver = client.receiver
        if receiver is None:
            return
        if client.opened is not None:
            if self.room.confirmed < client.opened.ticket:
                return  # nobody is told what the log has not kept
            if not client.resumes:
                client.last = client.opened.head
            client.opened = None
            client.epoch = self.epoch
        if not (flush := receiver.take(0.0)):
            return
        for seq_text, after, sender, what in lines(flush.body):
            seq = int(seq_text)
            if what == "RESET":
                assert client.reset, "only where the tail has moved on"
                client.reset = False
                client.last = seq
            elif seq:
                assert client.last is not None
                assert not client.reset
                assert seq == client.last + 1, "no gap, no duplicate"
                if what == "HIDDEN":
                    assert not self.is_for(seq, seat), "only from whom it is not for"
                else:
                    kept = f"{seq} {after} {sender} {what}"
                    assert self.log[seq - 1] == kept, "the one order, and only what is kept"
                    assert self.is_for(seq, seat), "only for whom it is for"
                client.last = seq
            elif what.startswith(f"{LATEST}:"):
                _, number, key, _ = what.split(":", 3)
                assert client.latest.get((sender, key), 0) <= int(number), "never older than what was seen"
                client.latest[sender, key] = int(number)
        if flush.ack_command:
            client.acknowledged = max(client.acknowledged, flush.ack_command)
            client.unsafe = [said for said in client.unsafe if said.number > flush.ack_command]
        if flush.number:
            client.unacked_flushes.append(flush.number)
        if acknowledge and client.unacked_flushes:
            receiver.acknowledge(client.unacked_flushes[-1])
            client.unacked_flushes = []

    def is_for(self, seq: int, place: int) -> bool:
        """Whether an event of the log is for a place, by what is written in it."""
        what = self.log[seq - 1].split(" ", 3)[3]
        if not what.startswith("1:"):
            return True
        whom = what.split(":", 3)[3].split(".", 1)[0]
        return whom == "all" or str(place) in whom.split("+")

    @rule()
    def take_over(self) -> None:
        """The owner dies; another takes the session from what is stored."""
        self.own(self.log, self.stored)

    @rule()
    def save(self) -> None:
        """What Redis has on its disk, should it lose the rest."""
        self.saved = list(self.log), dict(self.stored), list(self.epochs)

    @precondition(lambda self: self.saved is not None and len(self.saved[0]) < len(self.log))
    @rule(said=st.integers(0, 8))
    def lose_the_newest(self, said: int) -> None:
        """Redis and the owner die together, and Redis comes back without the newest. Others are back sooner."""
        assert self.saved is not None
        self.log, self.stored, self.epochs = list(self.saved[0]), dict(self.saved[1]), list(self.saved[2])
        # What was acknowledged and lost is lost: nobody can know.
        for client in self.clients.values():
            client.unsafe, client.acknowledged = [], 0
        self.own(self.log, self.stored)
        if said:
            self.open(1, resume=False)
            self.send_reliable(1, 1, said, ())
            while batch := self.room.begin():
                self.keep(batch)
                self.room.confirm(batch)

    def own(self, log: list[str], stored: dict[str, bytes]) -> None:
        fields = {name.encode(): value for name, value in stored.items()}
        session, commands = read_session(fields, SessionTimes())
        tail = Tail(max(len(log) - TAIL, 0), max_events=TAIL)
        private = {
            number: Private(frozenset(place for place in range(1, SEATS + 1) if self.is_for(number, place)), hidden)
            for number in range(tail.head + 1, len(log) + 1)
            if not self.is_for(number, SPECTATOR)
            for hidden in [TextEncoder().hidden(number)]
        }
        tail.extend([line.encode() + b"\n" for line in log[tail.head :]], private)
        self.epoch += 1
        self.epochs.append((self.epoch, len(log)))
        lineage = Lineage.read(",".join(f"{epoch}:{head}" for epoch, head in self.epochs))
        self.room = Room(session, TextEncoder(), tail=tail, commands=commands, limits=self.limits, lineage=lineage)
        self.on_its_way = None
        for seat in list(session.seats):
            self.room.apply(session.disconnect(seat, 0.0), 0.0)
        for client in self.clients.values():
            client.receiver = None
        # Latest values are not kept: their senders send them again.
        self.newest.clear()

    @precondition(lambda self: self.on_its_way is None)
    @rule()
    def everybody_catches_up(self) -> None:
        while batch := self.room.begin():
            self.keep(batch)
            self.room.confirm(batch)
        for seat, client in self.clients.items():
            if client.receiver is None:
                continue
            if client.receiver.slow:
                self.drop(seat)
                continue
            client.receiver.acknowledge(client.receiver.flushes)
            client.unacked_flushes = []
            self.read(seat, acknowledge=True)
            while client.receiver.due(0.0) is not None:
                self.read(seat, acknowledge=True)
            assert client.last == self.room.tail.head
            for (sender, key), number in self.newest.items():
                if sender != str(seat) and (sender, key) in client.latest and seat != SPECTATOR:
                    assert client.latest[sender, key] == number, "the newest value arrived"

    @invariant()
    def nothing_grows_beyond_its_bound(self) -> None:
        if not hasattr(self, "room"):
            return
        assert self.room.head - len(self.log) <= 10_000
        assert len(self.room.tail.pieces(self.room.tail.first - 1)) <= TAIL
        for client in self.clients.values():
            if client.receiver is not None and len(client.unacked_flushes) > 1:
                assert client.receiver.unacknowledged <= WINDOW

    @invariant()
    def acknowledged_commands_are_kept_once(self) -> None:
        if not hasattr(self, "room"):
            return
        said = [line.split(" ", 3)[2:] for line in self.log]
        commands = [(int(seat), int(what.split(":")[1])) for seat, what in said if what.startswith("1:")]
        assert len(commands) == len(set(commands))
        for client in self.clients.values():
            mine = [number for seat, number in commands if seat == client.seat]
            assert mine == sorted(mine)


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
