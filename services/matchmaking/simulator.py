"""A queue played through over a made-up or recorded population: what waits, matches and fairness would be.

Time is discrete and nobody really waits: the pool is asked as its leader would ask it, when somebody came or when time
lets a rule give way, and not more often than every `CYCLE_SECONDS`. Everybody accepts, nobody leaves, no session is
filled up. The same input and seed give the same output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from services.matchmaking.engine.checks import fits
from services.matchmaking.engine.estimates import quantile
from services.matchmaking.engine.matching import Pool
from services.matchmaking.engine.queues import Queue
from services.matchmaking.engine.tickets import Proposal, Ticket

CYCLE_SECONDS: Final = 0.2
_ASK_WHY_SECONDS: Final = 5.0
_OLDEST: Final = 20
_DECILES: Final = 10


@dataclass(frozen=True, slots=True)
class Spread:
    """Values, from the middle to the end."""

    count: int
    p50: float
    p90: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a population. Waits are in seconds, latencies in milliseconds."""

    tickets: int
    players: int
    matched: int
    expired: int
    refused: Mapping[str, int]
    """Tickets that have no place in the queue, by reason."""
    matches: int
    bots: int
    waits: Spread | None
    """Of matched tickets."""
    rating_spread: Spread | None
    """Between the best and the worst player of a match."""
    team_difference: Spread | None
    """Between the largest and the smallest sum of ratings of a match's teams."""
    worst_latency: Spread | None
    """Of a match, in the region that was chosen."""
    first_choice: float | None
    """Share of players who got the role they wanted most, of those who named any."""
    by_rating: Sequence[tuple[float, float, Spread]]
    """Lowest and highest rating (of a ticket the mean) of a tenth of all matched tickets, and their waits."""
    by_size: Mapping[int, tuple[int, Spread | None]]
    """Tickets of so many players: how many expired, and the waits of the matched."""
    kept_by: Mapping[str, float]
    """Of what those who waited longest were compared with, the share that each rule ruled out."""

    def numbers(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(slots=True)
class _Course:
    """What happens."""

    queue: Queue
    waits: list[tuple[float, Ticket]] = field(default_factory=list)
    expired: list[Ticket] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    candidates: int = 0
    excluded: Counter[str] = field(default_factory=Counter)

    def ask_why(self, pool: Pool, waiting: Iterable[str]) -> None:
        """What keeps these tickets waiting."""
        for ticket_id in waiting:
            if why := pool.why(ticket_id):
                self.candidates += why.candidates
                self.excluded.update(why.exclusions)


def simulate(
    queue: Queue, tickets: Sequence[Ticket], *, seed: int = 0, progress: Callable[[float], None] = lambda share: None
) -> Report:
    """Plays a queue through until the last ticket has a match or has expired. `progress` is told the share of tickets
    for which that is so."""
    course = _Course(queue)
    refused = Counter[str]()
    arrivals = []
    for ticket in sorted(tickets, key=lambda ticket: ticket.enter_time):
        if reason := fits(queue, ticket.players):
            refused[reason] += 1
        else:
            arrivals.append(ticket)
    _play(course, arrivals, seed, progress)
    return _report(course, len(tickets), sum(len(ticket.players) for ticket in tickets), refused)


def _play(course: _Course, arrivals: Sequence[Ticket], seed: int, progress: Callable[[float], None]) -> None:
    pool = Pool(course.queue, seed=seed)
    waiting: dict[str, None] = {}
    came = 0
    asked = -_ASK_WHY_SECONDS
    now = arrivals[0].enter_time if arrivals else 0.0
    while came < len(arrivals) or waiting:
        while came < len(arrivals) and arrivals[came].enter_time <= now:
            pool.add(arrivals[came])
            waiting[arrivals[came].ticket_id] = None
            came += 1
        for proposal in pool.match(now):
            course.proposals.append(proposal)
            for ticket in proposal.tickets:
                del waiting[ticket.ticket_id]
                course.waits.append((now - ticket.enter_time, ticket))
        if now >= asked + _ASK_WHY_SECONDS and waiting:
            asked = now
            course.ask_why(pool, [ticket_id for ticket_id, _ in zip(waiting, range(_OLDEST), strict=False)])
        for ticket in pool.overdue(now):
            del waiting[ticket.ticket_id]
            course.expired.append(ticket)
        progress((came - len(waiting)) / len(arrivals))
        moments = [moment for moment in (pool.next_change(now),) if moment is not None]
        if came < len(arrivals):
            moments.append(arrivals[came].enter_time)
        now = max(min(moments, default=now), now + CYCLE_SECONDS)


def _report(course: _Course, tickets: int, players: int, refused: Mapping[str, int]) -> Report:
    spreads, differences, latencies = [], [], []
    wished = granted = 0
    for proposal in course.proposals:
        ratings = [placed.player.rating for placed in proposal.placed]
        spreads.append(max(ratings) - min(ratings))
        sums: dict[int, float] = {}
        for placed in proposal.placed:
            sums[placed.team] = sums.get(placed.team, 0.0) + placed.player.rating
            if placed.role and placed.player.roles:
                wished += 1
                granted += placed.role == placed.player.roles[0]
        differences.append(max(sums.values()) - min(sums.values()))
        region = proposal.attributes.get("region")
        if region is not None:
            latencies.append(max(placed.player.latencies[region] for placed in proposal.placed))
    return Report(
        tickets=tickets,
        players=players,
        matched=len(course.waits),
        expired=len(course.expired),
        refused=refused,
        matches=len(course.proposals),
        bots=sum(proposal.bots for proposal in course.proposals),
        waits=_spread([wait for wait, _ in course.waits]),
        rating_spread=_spread(spreads),
        team_difference=_spread(differences),
        worst_latency=_spread(latencies),
        first_choice=granted / wished if wished else None,
        by_rating=_by_rating(course.waits),
        by_size=_by_size(course),
        kept_by={name: count / course.candidates for name, count in course.excluded.most_common()},
    )


def _by_rating(waits: Sequence[tuple[float, Ticket]]) -> list[tuple[float, float, Spread]]:
    rated = sorted((_mean(ticket), wait) for wait, ticket in waits)
    found = []
    for tenth in range(_DECILES):
        part = rated[len(rated) * tenth // _DECILES : len(rated) * (tenth + 1) // _DECILES]
        spread = _spread([wait for _, wait in part])
        if spread is not None:
            found.append((part[0][0], part[-1][0], spread))
    return found


def _by_size(course: _Course) -> dict[int, tuple[int, Spread | None]]:
    expired = Counter(len(ticket.players) for ticket in course.expired)
    waits: dict[int, list[float]] = {}
    for wait, ticket in course.waits:
        waits.setdefault(len(ticket.players), []).append(wait)
    return {size: (expired[size], _spread(waits.get(size, []))) for size in sorted(expired.keys() | waits.keys())}


def _mean(ticket: Ticket) -> float:
    return sum(player.rating for player in ticket.players) / len(ticket.players)


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    ordered = sorted(values)
    return Spread(len(ordered), *(round(quantile(ordered, share), 3) for share in (0.5, 0.9, 0.99, 1.0)))
