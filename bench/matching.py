"""What matchmaking costs, in memory: `python -m bench.matching`.

All tickets enter at once, as after a restart, or come one by one while the pool is asked five times a second. CPU is
that of this thread, for entering, matching and taking out; transport and stores are not in it.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import random
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

from services.matchmaking.engine.matching import Pool
from services.matchmaking.engine.queues import Balance, Queue, Role, Rule, RuleKind, Step
from services.matchmaking.engine.tickets import Player, Proposal, Ticket
from services.matchmaking.population import made_up, read

DUELS = (1_000, 5_000, 20_000, 50_000)
FIVE_PLAYERS = 2_000
IDLE = 20_000
CYCLE_SECONDS = 0.2
PACE_SECONDS = 30.0

_SKILL = Rule(RuleKind.SKILL, "skill", limit=2.0, steps=(Step(10, 4), Step(20, 8)))
_REGION = Rule(RuleKind.REGION, "region", limit=80.0, steps=(Step(15, 150),))
DUEL = Queue("duel", rules=(_SKILL,))
PACED = Queue("paced", rules=(Rule(RuleKind.EQUAL, "mode", "mode"), _SKILL, _REGION))
FIVE = Queue(
    "five",
    min_team_size=5,
    max_team_size=5,
    roles=(Role("tank", 1), Role("healer", 1), Role("damage", 3)),
    rules=(Rule(RuleKind.SKILL, "skill", limit=4.0, steps=(Step(20, 8), Step(60, 16))), _REGION),
    balance=Balance.SKILL,
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took: seconds of CPU, and what came of it."""

    tickets: int
    matched: int
    players_matched: int
    seconds: float

    @property
    def microseconds(self) -> float:
        """Of CPU, for each ticket."""
        return self.seconds / self.tickets * 1e6


def duels(count: int) -> Cost:
    """So many single players at once, with a skill rule."""
    drawn = random.Random(1)
    return at_once(
        DUEL, [Ticket(f"t{n}", (Player(f"u{n}", rating=drawn.gauss(25, 25 / 3)),), n / count) for n in range(count)]
    )


def five(players: int) -> Cost:
    """So many players at once, alone and in parties of up to five, with roles, ratings and regions."""
    return at_once(FIVE, population(players, 1.0, largest_party=5))


def at_once(queue: Queue, tickets: Sequence[Ticket]) -> Cost:
    """Enters all tickets and matches until time alone could change anything."""
    pool = Pool(queue)
    proposals: list[Proposal] = []
    began = time.thread_time()
    for ticket in tickets:
        pool.add(ticket)
    proposals += pool.match(1.0)
    while pool.next_change(1.0) == 1.0:
        proposals += pool.match(1.0)
    return _cost(tickets, proposals, time.thread_time() - began)


def paced(per_second: int, seconds: float) -> Cost:
    """Single players who come evenly, with a mode, skill and region rule; all cycles are counted."""
    tickets = population(int(per_second * seconds), seconds)
    pool = Pool(PACED)
    proposals: list[Proposal] = []
    began = time.thread_time()
    place, now = 0, 0.0
    while place < len(tickets):
        now += CYCLE_SECONDS
        while place < len(tickets) and tickets[place].enter_time <= now:
            pool.add(tickets[place])
            place += 1
        proposals += pool.match(now)
    return _cost(tickets, proposals, time.thread_time() - began)


def idle(count: int) -> float:
    """Seconds of CPU of a cycle in which nothing has changed, with so many tickets that match with nobody."""
    pool = waiting(count)
    pool.match(1.0)
    while pool.next_change(1.0) == 1.0:
        pool.match(1.0)
    began = time.thread_time()
    if pool.match(1.0):
        raise AssertionError("they were to match with nobody")
    return time.thread_time() - began


def bytes_per_ticket(count: int) -> float:
    """What a pool adds to each ticket that waits in it, after it was looked at."""
    tickets = [lonely(n) for n in range(count)]
    gc.collect()
    tracemalloc.start()
    try:
        pool = Pool(DUEL)
        for ticket in tickets:
            pool.add(ticket)
        pool.match(1.0)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()


def waiting(count: int) -> Pool:
    """A pool of tickets that match with nobody."""
    pool = Pool(DUEL)
    for n in range(count):
        pool.add(lonely(n))
    return pool


def lonely(number: int) -> Ticket:
    """A ticket that is out of reach of all others of its kind."""
    return Ticket(f"t{number}", (Player(f"u{number}", rating=10.0 * number),), 0.0)


def population(players: int, seconds: float, *, largest_party: int = 1) -> list[Ticket]:
    """Made-up players, by time."""
    rows = made_up(players=players, seconds=seconds, largest_party=largest_party, seed=1)
    return read(",".join(row) for row in rows)


def _cost(tickets: Sequence[Ticket], proposals: Sequence[Proposal], seconds: float) -> Cost:
    matched = sum(len(proposal.tickets) for proposal in proposals)
    if 2 * matched < len(tickets):
        raise AssertionError("most were to be matched")
    return Cost(len(tickets), matched, sum(len(proposal.placed) for proposal in proposals), seconds)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    for count in DUELS:
        cost = duels(count)
        print(f"duels, {count:>6,} tickets at once {cost.microseconds:8.1f} µs a ticket, {cost.matched:,} matched")
    for per_second in (100, 500):
        cost = paced(per_second, PACE_SECONDS)
        print(f"mode, skill, region, {per_second}/s     {cost.microseconds:8.1f} µs a ticket, {cost.matched:,} matched")
    cost = five(FIVE_PLAYERS)
    print(f"five against five, {FIVE_PLAYERS:,} players {cost.seconds:7.2f} s, {cost.players_matched:,} matched")
    print(f"idle cycle, {IDLE:,} tickets      {idle(IDLE) * 1e3:8.1f} ms")
    print(f"memory                          {bytes_per_ticket(IDLE):8.0f} bytes a ticket")
    profile.disable()
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
