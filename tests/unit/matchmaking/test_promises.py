"""What matchmaking promises, against brute force: small pools of all kinds of queues, while time passes.

After every cycle: no ticket is in two matches, none is lost, parties are whole; in every match each rule holds as
strictly as for any of its tickets at that moment, and teams and roles come out; what was removed is not matched. And
no set waits that could begin: no full one; none that is complete, when its oldest ticket has waited for `fill`; none
at all when that one has waited for `bots_after`; and none that an opening has seats for.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.matchmaking.engine.checks import checked, fits
from services.matchmaking.engine.matching import Pool
from services.matchmaking.engine.queues import Balance, Queue, Role, Rule, RuleKind, Step
from services.matchmaking.engine.tickets import Opening, OpenTeam, Player, Proposal, Ticket
from tests.unit.matchmaking.model import arrangements, check, fills, is_match, subsets

MOST_TICKETS = 7
MAX_WAIT = 40.0
ROLES = ("tank", "healer", "damage")

DUEL = (2, 2, 1, 1)
SHAPES = [DUEL, DUEL, DUEL, (2, 2, 2, 2), (2, 2, 1, 2), (2, 4, 1, 1), (1, 1, 4, 4), (2, 3, 1, 2), (1, 2, 2, 3)]
sizes = st.sampled_from(SHAPES)
steps = st.lists(st.sampled_from([5.0, 10.0, 20.0]), unique=True, max_size=2).map(sorted)


@st.composite
def rules(draw: st.DrawFn) -> tuple[Rule, ...]:
    kinds = draw(st.one_of(*(st.just([kind]) for kind in RuleKind), st.lists(st.sampled_from(RuleKind), unique=True)))
    found = []
    for kind in kinds:
        drop = draw(st.booleans())
        times = draw(steps)
        limited = kind not in (RuleKind.EQUAL, RuleKind.OVERLAP)
        if not limited:
            times = times[-1:]
        given_up = [
            Step(after, 0.0 if last else 2.0 + 2 * place, last)
            for place, after in enumerate(times)
            for last in [(drop or not limited) and place + 1 == len(times)]
        ]
        attribute = {RuleKind.EQUAL: "mode", RuleKind.OVERLAP: "maps", RuleKind.DISTANCE: "level"}.get(kind, "")
        found.append(Rule(kind, str(kind), attribute, 1.0 if limited else 0.0, tuple(given_up)))
    return tuple(found)


@st.composite
def queues(draw: st.DrawFn) -> Queue:
    min_teams, max_teams, least, most = draw(sizes)
    roles: tuple[Role, ...] = ()
    if draw(st.sampled_from([True, False, False])):
        counts = draw(st.sampled_from([(1, 1), (1, 2), (1, 1, 1), (2, 1)]))
        roles = tuple(Role(name, count) for name, count in zip(ROLES, counts, strict=False))
        least = most = sum(counts)
        min_teams = max_teams = draw(st.sampled_from([1, 2]))
    fill = draw(st.sampled_from([0.0, 5.0, 10.0]))
    return checked(
        Queue(
            "q",
            min_teams=min_teams,
            max_teams=max_teams,
            min_team_size=least,
            max_team_size=most,
            roles=roles,
            rules=draw(rules()),
            balance=draw(st.sampled_from(Balance)),
            fill=fill,
            bots_after=draw(st.sampled_from([0.0, 10.0, 15.0])),
            max_wait=MAX_WAIT,
        )
    )


roles = st.sampled_from([(), ("tank",), ("healer",), ("damage",), ("tank", "healer"), ("damage", "tank")])
strangers = st.builds(
    Player,
    user_id=st.just("u"),
    rating=st.integers(0, 6).map(float),
    texts=st.sampled_from([{"mode": "a"}, {"mode": "b"}, {}]),
    lists=st.sampled_from([{"maps": ("x",)}, {"maps": ("y",)}, {"maps": ("y", "x")}, {"maps": ("y", "z")}, {}]),
    numbers=st.integers(0, 6).map(lambda value: {"level": float(value)}),
    latencies=st.dictionaries(
        st.sampled_from(["eu", "us"]), st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0, 9.0]), min_size=1
    ),
    roles=roles,
)
# Differ in what one rule looks at.
ORDINARY = Player("u", "", 3.0, {"mode": "a"}, {"maps": ("x", "y")}, {"level": 3.0}, {"eu": 1.0, "us": 1.0})
ordinary = st.one_of(
    roles.map(lambda taken: replace(ORDINARY, roles=taken)),
    st.integers(0, 6).map(lambda value: replace(ORDINARY, rating=float(value))),
    st.integers(0, 6).map(lambda value: replace(ORDINARY, numbers={"level": float(value)})),
    st.sampled_from("ab").map(lambda value: replace(ORDINARY, texts={"mode": value})),
    st.sampled_from("xyz").map(lambda value: replace(ORDINARY, lists={"maps": (value,)})),
    st.floats(0.5, 4).map(lambda value: replace(ORDINARY, latencies={"eu": value, "us": 9.0})),
)
players = st.one_of(ordinary, strangers)
parties = st.one_of(
    st.lists(players, min_size=1, max_size=1),
    st.lists(players, min_size=1, max_size=3),
    # Friends are alike.
    st.builds(lambda player, count: [player] * count, players, st.integers(1, 3)),
)


class Matchmaking(RuleBasedStateMachine):
    """A pool, and what is known of it."""

    @initialize(queue=queues(), seed=st.integers(0, 3))
    def begin(self, queue: Queue, seed: int) -> None:
        self.queue = queue
        self.pool = Pool(queue, seed=seed)
        self.now = 1000.0
        self.waiting: dict[str, Ticket] = {}
        self.openings: dict[str, Opening] = {}
        self.over: set[str] = set()
        self.count = self.redefined = 0
        self.quiet: float | None = None

    @precondition(lambda self: len(self.waiting) < MOST_TICKETS)
    @rule(
        coming=st.lists(st.tuples(parties, st.sampled_from([0.0, 0.0, 6.0, 12.0])), min_size=1, max_size=4),
        at_once=st.booleans(),
    )
    def enter(self, coming: list[tuple[list[Player], float]], at_once: bool) -> None:
        """Some come, or come back with the time of old."""
        for party, late in coming[: MOST_TICKETS - len(self.waiting)]:
            self.come(party, late)
        if at_once:
            self.cycle()

    def come(self, party: list[Player], late: float) -> None:
        self.count += 1
        named = tuple(replace(player, user_id=f"{self.count}.{n}") for n, player in enumerate(party))
        if fits(self.queue, named):
            lone = replace(self.queue, min_teams=1, max_teams=1)
            assert not list(arrangements(lone, [Ticket("", named, 0.0)], 1)), "a party with a place was sent away"
            return
        ticket = Ticket(f"t{self.count}", named, self.now - late)
        self.waiting[ticket.ticket_id] = ticket
        self.pool.add(ticket)
        self.quiet = None

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(list(self.waiting.values())))
        assert self.pool.remove(ticket.ticket_id) == ticket
        assert self.pool.remove(ticket.ticket_id) is None
        del self.waiting[ticket.ticket_id]
        self.over.add(ticket.ticket_id)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), party=parties)
    def change(self, data: st.DataObject, party: list[Player]) -> None:
        """The same id again: replaced."""
        old = data.draw(st.sampled_from(list(self.waiting.values())))
        self.count += 1
        named = tuple(replace(player, user_id=f"{self.count}.{n}") for n, player in enumerate(party))
        if not fits(self.queue, named):
            self.waiting[old.ticket_id] = replace(old, players=named)
            self.pool.add(self.waiting[old.ticket_id])
            self.quiet = None

    @precondition(lambda self: len(self.openings) < 2)
    @rule(
        present=st.lists(players, max_size=2),
        seats=st.lists(st.integers(0, 2), min_size=1, max_size=2),
        parts=st.lists(st.sampled_from(ROLES), min_size=2, max_size=2),
        fixed=st.sampled_from([{}, {"region": "eu"}, {"mode": "a"}, {"maps": "x"}]),
    )
    def open(self, present: list[Player], seats: list[int], parts: list[str], fixed: dict[str, str]) -> None:
        self.count += 1
        roles = {role.name for role in self.queue.roles}
        names = tuple(part for part in parts if part in roles)
        teams = tuple(OpenTeam(n + 1, free, names[:free]) for n, free in enumerate(seats))
        opening = Opening(f"s{self.count}", teams, tuple(present), self.now, fixed)
        self.openings[opening.session_id] = opening
        self.pool.open(opening)
        self.quiet = None

    @precondition(lambda self: self.openings)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(list(self.openings)))
        self.pool.close(session)
        del self.openings[session]

    @precondition(lambda self: self.count > self.redefined + 8)
    @rule(queue=queues())
    def redefine(self, queue: Queue) -> None:
        self.queue = queue
        self.redefined = self.count
        dropped = {ticket.ticket_id for ticket in self.pool.redefine(queue)}
        assert dropped == {name for name, ticket in self.waiting.items() if fits(queue, ticket.players)}
        self.waiting = {name: ticket for name, ticket in self.waiting.items() if name not in dropped}
        self.over |= dropped
        self.quiet = None

    @rule()
    def expire(self) -> None:
        late = {ticket.ticket_id for ticket in self.pool.overdue(self.now)}
        assert late == {name for name, ticket in self.waiting.items() if ticket.enter_time + MAX_WAIT <= self.now}
        self.waiting = {name: ticket for name, ticket in self.waiting.items() if name not in late}
        self.over |= late

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, 5.0, 9.5, 10.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.cycle()

    def cycle(self) -> None:
        """Matches what can be matched now."""
        proposals = self.pool.match(self.now)
        for proposal in proposals:
            self.take(proposal)
        if proposals:
            assert self.quiet is None or self.now >= self.quiet, "something changed before its time"
        self.nobody_waits()
        assert self.pool.match(self.now) == []
        self.quiet = self.pool.next_change(self.now)
        assert self.quiet is None or self.quiet >= self.now
        if self.waiting:
            latest = min(ticket.enter_time for ticket in self.waiting.values()) + MAX_WAIT
            assert self.quiet is not None
            assert self.quiet <= max(latest, self.now)
        else:
            self.quiet = self.quiet if self.openings else None

    def take(self, proposal: Proposal) -> None:
        largest = self.largest(proposal)
        for ticket in proposal.tickets:
            assert ticket.ticket_id not in self.over, "gone, or in two matches"
            assert self.waiting.get(ticket.ticket_id) == ticket
        check(self.queue, proposal, self.now)
        assert len(proposal.placed) == largest, "a larger match was possible"
        for ticket in proposal.tickets:
            del self.waiting[ticket.ticket_id]
            self.over.add(ticket.ticket_id)
        if proposal.opening is not None:
            assert self.openings.pop(proposal.opening.session_id) == proposal.opening

    def largest(self, proposal: Proposal) -> int:
        """Players of the largest match there could be in its place."""
        if proposal.opening is not None:
            return max(fills(self.queue, proposal.opening, found, self.now) for found in subsets(self.waiting.values()))
        oldest = proposal.tickets[0]
        return max(is_match(self.queue, f, self.now) for f in subsets(self.waiting.values()) if oldest in f)

    def nobody_waits(self) -> None:
        for found in subsets(self.waiting.values()):
            assert not is_match(self.queue, found, self.now), "a match waits"
            for opening in self.openings.values():
                assert not fills(self.queue, opening, found, self.now), "free seats wait"

    @invariant()
    def counts(self) -> None:
        if hasattr(self, "pool"):
            assert self.pool.tickets == len(self.waiting)
            assert self.pool.players == sum(len(ticket.players) for ticket in self.waiting.values())
            assert self.pool.openings == len(self.openings)


Matchmaking.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMatchmaking = pytest.mark.timeout(300)(Matchmaking.TestCase)
