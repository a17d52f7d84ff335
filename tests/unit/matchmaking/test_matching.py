"""Matches by rule and by shape; what is told about who waits; work that is bounded."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations, permutations

import pytest

from services.matchmaking.engine.matching import Pool
from services.matchmaking.engine.queues import Balance, Queue, Role, Rule, RuleKind, Step
from services.matchmaking.engine.tickets import Opening, OpenTeam, Player, Proposal, Ticket, Why

SKILL = Rule(RuleKind.SKILL, "skill", limit=2.0, steps=(Step(10, 4), Step(20, drop=True)))
MODE = Rule(RuleKind.EQUAL, "mode", "mode", steps=(Step(10, drop=True),))
MAPS = Rule(RuleKind.OVERLAP, "maps", "maps", steps=(Step(10, drop=True),))
LEVEL = Rule(RuleKind.DISTANCE, "level", "level", limit=3.0)
REGION = Rule(RuleKind.REGION, "region", limit=50.0, steps=(Step(10, 100), Step(20, drop=True)))
TRINITY = (Role("tank", 1), Role("healer", 1), Role("damage", 1))


def rated(rating: float) -> Player:
    return Player("", rating=rating)


def mode(name: str) -> Player:
    return Player("", texts={"mode": name})


def maps(*names: str) -> Player:
    return Player("", lists={"maps": names})


def level(number: float) -> Player:
    return Player("", numbers={"level": number})


def near(**latencies: float) -> Player:
    return Player("", latencies=latencies)


def plays(*roles: str) -> Player:
    return Player("", roles=roles)


def ticket(name: str, *players: Player, enter: float = 0.0) -> Ticket:
    named = tuple(replace(player, user_id=f"{name}{n}") for n, player in enumerate(players or (Player(""),)))
    return Ticket(name, named, enter)


def pool_of(queue: Queue, *tickets: Ticket) -> Pool:
    pool = Pool(queue)
    for one in tickets:
        pool.add(one)
    return pool


def names(proposals: list[Proposal]) -> list[list[str]]:
    return [[one.ticket_id for one in proposal.tickets] for proposal in proposals]


def teams(proposal: Proposal) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for placed in proposal.placed:
        found.setdefault(placed.team, []).append(placed.player.user_id)
    return found


# rule, two players, how long the first has waited, how long the second, whether they match, attributes
PAIRS = {
    "skill at the limit": (SKILL, rated(10), rated(12), 0, 0, {}),
    "skill beyond it": (SKILL, rated(10), rated(12.5), 0, 0, None),
    "skill gives way for both": (SKILL, rated(10), rated(14), 10, 10, {}),
    "skill gives way for one": (SKILL, rated(10), rated(14), 10, 9, None),
    "skill off for one, wide for the other": (SKILL, rated(10), rated(15), 25, 15, None),
    "skill off for both": (SKILL, rated(10), rated(99), 20, 20, {}),
    "skill gives way for the younger last": (SKILL, rated(10), rated(14), 15, 10, {}),
    "skill off for the younger last": (SKILL, rated(10), rated(99), 29, 20, {}),
    "other mode, the younger gives up last": (MODE, mode("a"), mode("b"), 15, 10, {}),
    "same mode": (MODE, mode("a"), mode("a"), 0, 0, {"mode": "a"}),
    "other mode": (MODE, mode("a"), mode("b"), 0, 0, None),
    "no mode is the empty one": (MODE, Player(""), mode(""), 0, 0, {}),
    "no mode and some": (MODE, Player(""), mode("a"), 0, 0, None),
    "other mode, one insists": (MODE, mode("a"), mode("b"), 10, 9, None),
    "other mode, nobody insists": (MODE, mode("a"), mode("b"), 10, 10, {}),
    "same mode, nobody insists": (MODE, mode("a"), mode("a"), 10, 10, {"mode": "a"}),
    "a map in common": (MAPS, maps("x", "y"), maps("y", "z"), 0, 0, {"maps": "y"}),
    "no map in common": (MAPS, maps("x"), maps("z"), 0, 0, None),
    "any map": (MAPS, maps("x"), Player(""), 0, 0, {"maps": "x"}),
    "any map for both": (MAPS, Player(""), maps(), 0, 0, {}),
    "no map in common, one insists": (MAPS, maps("x"), maps("z"), 10, 0, None),
    "no map in common, nobody insists": (MAPS, maps("x"), maps("z"), 10, 10, {}),
    "levels at the limit": (LEVEL, level(3), Player(""), 0, 0, {}),
    "levels beyond it": (LEVEL, level(4), Player(""), 99, 99, None),
    "the region nearest to who is furthest": (
        REGION, near(eu=10, us=30), near(eu=50, us=31), 0, 0, {"region": "us"},
    ),
    "a region of one alone": (REGION, near(eu=10), near(us=10), 0, 0, None),
    "too far for one": (REGION, near(eu=10), near(eu=51), 0, 0, None),
    "further with time": (REGION, near(eu=10), near(eu=51), 10, 10, {"region": "eu"}),
    "too far, one insists": (REGION, near(eu=10), near(eu=101), 20, 10, None),
    "anywhere": (REGION, near(eu=10), near(eu=900), 20, 20, {"region": "eu"}),
    "nowhere in common, nobody insists": (REGION, near(eu=10), near(us=10), 20, 20, {}),
    "nothing was measured": (REGION, near(), near(eu=1), 0, 0, None),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "one", "other", "waited", "waits", "attributes"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
def test_two_match_if_each_suits_the_other(
    rule: Rule,
    one: Player,
    other: Player,
    waited: float,
    waits: float,
    attributes: dict[str, str] | None,
    swapped: bool,
) -> None:
    now = 100.0
    tickets = [ticket("a", one, enter=now - waited), ticket("b", other, enter=now - waits)]
    pool = pool_of(Queue("q", rules=(rule,)), *(reversed(tickets) if swapped else tickets))
    proposals = pool.match(now)
    assert [proposal.attributes for proposal in proposals] == ([] if attributes is None else [attributes])


@pytest.mark.parametrize(("rule", "one", "other", "waited", "waits", "attributes"), PAIRS.values(), ids=PAIRS)
def test_time_makes_no_difference_to_who_looks_often(
    rule: Rule, one: Player, other: Player, waited: float, waits: float, attributes: dict[str, str] | None
) -> None:
    """Who found nothing is looked at again when its own limit gives way, and when another's does."""
    pool = Pool(Queue("q", rules=(rule,)))
    found = []
    for moment in range(101):
        for name, player, after in (("a", one, waited), ("b", other, waits)):
            if moment == 100 - after:
                pool.add(ticket(name, player, enter=float(moment)))
        found += pool.match(float(moment))
    assert bool(found) == (attributes is not None)


def test_a_set_is_held_to_the_strictest_limit_of_its_tickets() -> None:
    """Two that wait for long may be 4 apart; not with one who came just now, even in the middle."""
    queue = Queue("q", min_teams=3, max_teams=3, rules=(SKILL,))
    pool = pool_of(queue, ticket("a", rated(10)), ticket("b", rated(14)), ticket("c", rated(12), enter=5.0))
    assert pool.match(12.0) == []
    assert names(pool.match(15.0)) == [["a", "b", "c"]]


def test_a_party_is_held_to_its_rules() -> None:
    """Two parties that differ within do not even match with their like."""
    queue = Queue("q", min_team_size=2, max_team_size=2, rules=(MODE,))
    mixed = [ticket(name, mode("x"), mode("y")) for name in "ab"]
    pool = pool_of(queue, *mixed)
    assert pool.match(0.0) == []
    assert pool.why("a") == Why(1, {"mode": 1})
    assert names(pool.match(10.0)) == [["a", "b"]]


def test_who_found_nothing_is_matched_with_any_of_those_who_come() -> None:
    queue = Queue("q", rules=(replace(SKILL, steps=()), MAPS))
    pool = pool_of(queue, ticket("a", replace(maps("x"), rating=10.0)))
    assert pool.match(0.0) == []
    pool.add(ticket("b", replace(maps("z"), rating=10.5), enter=1.0))
    pool.add(ticket("c", replace(maps("x"), rating=11.0), enter=1.0))
    assert names(pool.match(1.0)) == [["a", "c"]]


def test_the_oldest_goes_first_and_gets_who_is_nearest() -> None:
    queue = Queue("q", rules=(replace(SKILL, limit=10.0, steps=()),))
    tickets = [ticket(f"t{rating}", rated(rating), enter=enter) for enter, rating in enumerate([20, 12, 19, 23])]
    for order in permutations(tickets):
        assert names(pool_of(queue, *order).match(9.0)) == [["t20", "t19"]]


def test_an_attribute_is_drawn_by_the_seed() -> None:
    queue = Queue("q", rules=(MAPS,))
    drawn = set()
    for seed in range(20):
        pool = Pool(queue, seed=seed)
        again = Pool(queue, seed=seed)
        for one in (pool, again):
            one.add(ticket("a", maps("x", "y", "z")))
            one.add(ticket("b", maps("x", "y", "z")))
        (proposal,) = pool.match(0.0)
        assert again.match(0.0) == [proposal]
        drawn.add(proposal.attributes["maps"])
    assert drawn == {"x", "y", "z"}


FREE = Queue("free", min_teams=2, max_teams=4, fill=10.0)
TEAMS = Queue("teams", min_team_size=2, max_team_size=3, fill=10.0)
# queue, sizes of the tickets (all came at 0), when, sizes of the teams of each match, bots
SHAPES = {
    "a full match does not wait": (FREE, [1, 1, 1, 1], 0.0, [[1, 1, 1, 1]], 0),
    "one that is not full waits": (FREE, [1, 1, 1], 9.9, [], 0),
    "and then begins": (FREE, [1, 1, 1], 10.0, [[1, 1, 1]], 0),
    "without waiting, what there is": (replace(FREE, fill=0.0), [1, 1, 1], 0.0, [[1, 1, 1]], 0),
    "too few": (FREE, [1], 10.0, [], 0),
    "parties side by side": (TEAMS, [3, 3], 0.0, [[3, 3]], 0),
    "parties and singles": (TEAMS, [2, 1, 2, 1], 0.0, [[3, 3]], 0),
    "singles where they are missing": (TEAMS, [3, 1, 1], 10.0, [[3, 2]], 0),
    "even sizes": (TEAMS, [1, 1, 1, 1], 10.0, [[2, 2]], 0),
    "a team that is too small": (TEAMS, [3, 1], 10.0, [], 0),
    "parties that leave no place": (
        replace(TEAMS, min_team_size=5, max_team_size=5), [3, 3, 3, 2], 0.0, [], 0,
    ),
    "packed anew": (replace(TEAMS, min_team_size=5, max_team_size=5), [3, 1, 4, 2], 0.0, [[5, 5]], 0),
    "five and five": (replace(TEAMS, min_team_size=5, max_team_size=5), [2, 2, 1, 3, 2], 0.0, [[5, 5]], 0),
    "one team": (replace(TEAMS, min_teams=1, max_teams=1, min_team_size=3), [1, 2], 0.0, [[3]], 0),
    "bots for a team": (replace(TEAMS, bots_after=20.0), [3, 1], 20.0, [[3, 1]], 1),
    "bots for all others": (replace(TEAMS, bots_after=20.0), [1], 20.0, [[1]], 3),
    "bots are for whoever waits": (replace(TEAMS, bots_after=20.0), [3, 1], 19.0, [], 0),
    "two matches": (FREE, [1] * 8, 0.0, [[1, 1, 1, 1]] * 2, 0),
    "as few teams as there need to be": (
        replace(TEAMS, max_teams=3, fill=0.0), [2, 2, 1], 0.0, [[3, 2]], 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("queue", "sizes", "now", "shapes", "bots"), SHAPES.values(), ids=SHAPES)
def test_shapes(queue: Queue, sizes: list[int], now: float, shapes: list[list[int]], bots: int) -> None:
    pool = pool_of(queue, *(ticket(f"t{n}", *[Player("")] * size) for n, size in enumerate(sizes)))
    proposals = pool.match(now)
    found = [sorted((len(team) for team in teams(proposal).values()), reverse=True) for proposal in proposals]
    assert found == shapes
    assert sum(proposal.bots for proposal in proposals) == bots
    for proposal in proposals:
        assert all(len({p.team for p in proposal.placed if p.ticket_id == t.ticket_id}) == 1 for t in proposal.tickets)


def test_a_match_waits_to_be_filled_for_as_long_as_its_oldest_has_waited() -> None:
    pool = pool_of(FREE, ticket("a"), ticket("b", enter=5.0), ticket("c", enter=6.0))
    assert pool.match(6.0) == []
    assert pool.next_change(6.0) == 10.0
    assert names(pool.match(10.0)) == [["a", "b", "c"]]


def test_without_balance_teams_are_filled_as_players_came() -> None:
    queue = Queue("q", min_team_size=2, max_team_size=2)
    (proposal,) = pool_of(queue, *(ticket(name, enter=n) for n, name in enumerate("abcd"))).match(9.0)
    assert teams(proposal) == {1: ["a0", "c0"], 2: ["b0", "d0"]}


def test_teams_are_equal_in_rating() -> None:
    queue = Queue("q", min_team_size=5, max_team_size=5, balance=Balance.SKILL)
    ratings = [8.0, 7.0, 6.0, 5.0, 4.0, 9.0, 3.0, 2.0, 1.0, 5.0]
    (proposal,) = pool_of(queue, *(ticket(f"t{n}", rated(rating)) for n, rating in enumerate(ratings))).match(0.0)
    sums = Counter[int]()
    for placed in proposal.placed:
        sums[placed.team] += int(placed.player.rating)
    assert sums == {1: 25, 2: 25}


@pytest.mark.parametrize(
    "sizes", [(1,) * 10, (2, 1, 1, 1, 2, 1, 1, 1), (3, 1, 1, 2, 1, 2), (2, 2, 1, 2, 2, 1)], ids=str
)
def test_five_against_five_could_not_be_more_equal(sizes: tuple[int, ...]) -> None:
    queue = Queue("q", min_team_size=5, max_team_size=5, balance=Balance.SKILL)
    drawn = random.Random(1)
    for _ in range(20):
        tickets = [ticket(f"t{n}", *(rated(drawn.gauss(25, 8)) for _ in range(size))) for n, size in enumerate(sizes)]
        (proposal,) = pool_of(queue, *tickets).match(0.0)
        one, other = (sum(p.player.rating for p in proposal.placed if p.team == team) for team in (1, 2))
        sums = [
            sum(player.rating for member in team for player in member.players)
            for count in range(1, len(tickets))
            for team in combinations(tickets, count)
            if sum(len(member.players) for member in team) == 5
        ]
        assert abs(one - other) == pytest.approx(min(abs(one + other - 2 * found) for found in sums))


def test_parties_stay_together_while_teams_are_made_equal() -> None:
    queue = Queue("q", min_team_size=3, max_team_size=3, balance=Balance.SKILL)
    party = ticket("p", rated(30), rated(30))
    (proposal,) = pool_of(queue, party, *(ticket(f"t{rating}", rated(rating)) for rating in (5, 21, 22, 40))).match(0.0)
    (own,) = {placed.team for placed in proposal.placed if placed.ticket_id == "p"}
    assert sorted(teams(proposal)[own]) == ["p0", "p1", "t210"]


# roles of single players, the roles they get (None: no match)
PARTS = {
    "anybody": ([()] * 6, Counter(tank=2, healer=2, damage=2)),
    "each its own": ([("tank",), ("tank",), ("healer",), ("healer",), ("damage",), ("damage",)], None),
    "three tanks": ([("tank",)] * 3 + [("healer",)] * 2 + [("damage",)], Counter()),
    "one of them heals": (
        [("tank",), ("tank",), ("tank", "healer"), ("healer",), ("damage",), ("damage",)],
        Counter(tank=2, healer=2, damage=2),
    ),
}


@pytest.mark.parametrize(("roles", "given"), PARTS.values(), ids=PARTS)
def test_each_team_has_its_roles(roles: list[tuple[str, ...]], given: Counter[str] | None) -> None:
    queue = Queue("q", min_team_size=3, max_team_size=3, roles=TRINITY)
    proposals = pool_of(queue, *(ticket(f"t{n}", plays(*taken)) for n, taken in enumerate(roles))).match(0.0)
    expected = Counter(tank=2, healer=2, damage=2) if given is None else given
    assert Counter(placed.role for proposal in proposals for placed in proposal.placed) == expected
    for proposal in proposals:
        for placed in proposal.placed:
            assert not placed.player.roles or placed.role in placed.player.roles


# wishes of a party, and what it gets
WISHES = {
    "all their first": ([("damage", "tank"), ("tank", "damage"), ("healer", "tank")], ["damage", "tank", "healer"]),
    "one gives way": ([("damage", "tank", "healer"), ("damage",), ("tank",)], ["healer", "damage", "tank"]),
    "the second before the third": (
        [("damage", "tank", "healer"), ("damage", "healer", "tank"), ("damage",)], ["tank", "healer", "damage"],
    ),
    "who takes any takes what is left": ([(), ("tank",), ("damage",)], ["healer", "tank", "damage"]),
}  # fmt: skip


@pytest.mark.parametrize(("wishes", "given"), WISHES.values(), ids=WISHES)
def test_better_wishes_are_preferred(wishes: list[tuple[str, ...]], given: list[str]) -> None:
    queue = Queue("q", min_teams=1, max_teams=1, min_team_size=3, max_team_size=3, roles=TRINITY)
    (proposal,) = pool_of(queue, ticket("p", *(plays(*wished) for wished in wishes))).match(0.0)
    assert [placed.role for placed in proposal.placed] == given


def test_openings_go_first_the_oldest_before_others() -> None:
    queue = Queue("q", min_team_size=2, max_team_size=2, rules=(replace(SKILL, steps=()),))
    pool = pool_of(queue, *(ticket(f"t{n}", rated(25)) for n in range(6)))
    present = (Player("x", rating=26),)
    pool.open(Opening("late", (OpenTeam(2, 1),), present, 5.0))
    pool.open(Opening("early", (OpenTeam(1, 1), OpenTeam(2, 0)), present, 1.0))
    pool.open(Opening("strong", (OpenTeam(1, 1),), (Player("x", rating=28),), 0.0))
    proposals = pool.match(9.0)
    assert [one.opening.session_id if one.opening else "" for one in proposals] == ["early", "late", ""]
    assert [len(one.placed) for one in proposals] == [1, 1, 4]
    assert [one.placed[0].team for one in proposals] == [1, 2, 1]
    assert pool.openings == 1


def test_an_opening_is_filled_as_far_as_it_goes() -> None:
    queue = Queue("q", min_team_size=3, max_team_size=3, roles=TRINITY, rules=(MODE, REGION))
    opening = Opening(
        "s", (OpenTeam(1, 2, ("tank", "damage")), OpenTeam(2, 1, ("healer",))), (), 0.0, {"mode": "a", "region": "eu"}
    )
    known = Player("", texts={"mode": "a"}, latencies={"eu": 20.0, "us": 5.0})
    pool = pool_of(
        queue,
        ticket("pair", replace(known, roles=("damage",)), replace(known, roles=("damage", "tank"))),
        ticket("healer", replace(known, roles=("healer",))),
        ticket("other", Player("", texts={"mode": "b"}, latencies={"eu": 1.0})),
        ticket("far", Player("", texts={"mode": "a"}, latencies={"us": 1.0})),
    )
    pool.open(opening)
    (proposal,) = pool.match(0.0)
    assert {placed.ticket_id: (placed.team) for placed in proposal.placed} == {"pair": 1, "healer": 2}
    assert [placed.role for placed in proposal.placed] == ["damage", "tank", "healer"]
    assert proposal.attributes == {"mode": "a", "region": "eu"}
    assert proposal.opening == opening


def test_rules_give_way_to_an_opening_as_it_waits() -> None:
    pool = pool_of(Queue("q", rules=(SKILL,)), ticket("a", rated(14)))
    pool.open(Opening("s", (OpenTeam(1, 1),), (Player("x", rating=10),), 5.0))
    assert pool.match(12.0) == []
    assert pool.next_change(12.0) == 15.0
    assert names(pool.match(15.0)) == [["a"]]


def test_the_region_of_an_opening_stays() -> None:
    pool = pool_of(Queue("q", rules=(REGION,)), ticket("a", near(eu=60, us=10)), ticket("b", near(eu=20, us=900)))
    pool.open(Opening("s", (OpenTeam(1, 2),), (Player("x", latencies={"us": 5.0}),), 0.0, {"region": "eu"}))
    (proposal,) = pool.match(0.0)
    assert names([proposal]) == [["b"]]
    assert proposal.attributes == {"region": "eu"}


def test_what_keeps_a_ticket_waiting() -> None:
    queue = Queue("q", min_team_size=2, max_team_size=2, rules=(MODE, SKILL, MAPS), roles=(Role("a", 1), Role("b", 1)))
    me = Player("", rating=25, texts={"mode": "m"}, lists={"maps": ("x",)}, roles=("a",))
    others = [
        replace(me, texts={"mode": "n"}),
        replace(me, rating=40.0),
        replace(me, rating=41.0),
        replace(me, lists={"maps": ("y",)}),
        replace(me, roles=("b",)),
        me,
        me,
    ]
    pool = pool_of(queue, ticket("me", me), *(ticket(f"t{n}", other, enter=1.0) for n, other in enumerate(others)))
    assert pool.why("me") is None
    pool.add(ticket("far", replace(me, rating=99.0, roles=("b",)), enter=1.0))
    assert pool.match(2.0) == []
    assert pool.why("me") == Why(8, {"mode": 1, "skill": 3, "maps": 1, "roles": 1})
    assert pool.why("nobody") is None


def test_a_pool_without_enough_players_says_so() -> None:
    pool = pool_of(Queue("q", min_team_size=5, max_team_size=5), *(ticket(f"t{n}") for n in range(4)))
    assert pool.match(0.0) == []
    assert pool.why("t0") == Why(3, {"size": 3})


def test_a_pool_without_a_role_says_so() -> None:
    queue = Queue("q", min_team_size=3, max_team_size=3, roles=TRINITY)
    pool = pool_of(queue, *(ticket(f"t{n}", plays("damage")) for n in range(6)))
    assert pool.match(0.0) == []
    assert pool.why("t0") == Why(5, {"roles": 5})


def test_time_changes_things_when_it_says() -> None:
    queue = Queue("q", rules=(SKILL,), bots_after=25.0, max_wait=30.0)
    pool = pool_of(queue, ticket("a", rated(0), enter=100.0), ticket("b", rated(50), enter=103.0))
    assert Pool(queue).next_change(0.0) is None
    moments: list[tuple[float, list[list[str]]]] = []
    now: float | None = 100.0
    while now is not None and len(moments) < 9:
        matched = names(pool.match(now))
        moments.append((now, matched))
        now = pool.next_change(now)
    assert moments == [
        (100.0, []), (110.0, []), (113.0, []), (120.0, []), (123.0, [["a", "b"]]),
    ]  # fmt: skip


def test_who_has_waited_too_long_is_taken_out() -> None:
    pool = pool_of(Queue("q", max_wait=30.0, rules=(SKILL,)), ticket("a", rated(0)), ticket("b", rated(9), enter=1.0))
    assert pool.overdue(29.0) == []
    assert pool.next_change(29.0) == 29.0, "steps were not taken yet"
    assert [one.ticket_id for one in pool.overdue(30.0)] == ["a"]
    assert (pool.tickets, pool.players) == (1, 1)
    assert [one.ticket_id for one in pool.overdue(99.0)] == ["b"]
    assert pool.next_change(99.0) is None


def test_who_ran_out_of_work_has_more_the_next_time() -> None:
    """The set is there and needs more steps than the first search has."""
    queue = Queue("q", min_team_size=2, max_team_size=2, rules=(MAPS,))
    decoys = [ticket(f"d{n}", maps(f"x{n}"), enter=1.0 + n) for n in range(12)]
    partners = [ticket(f"p{n}", maps("z"), enter=50.0 + n) for n in range(3)]
    pool = pool_of(queue, ticket("me", maps("z", *(f"x{n}" for n in range(12)))), *decoys, *partners)
    cycles = 0
    found: list[list[str]] = []
    while not any("me" in match for match in found):
        assert pool.next_change(0.5) is not None
        found += names(pool.match(0.5, budget=20))
        cycles += 1
        assert cycles < 6
    assert cycles > 1
    assert ["me", "p0", "p1", "p2"] in found


def test_who_is_not_looked_at_comes_first_in_the_next_cycle() -> None:
    queue = Queue("q", rules=(replace(SKILL, steps=()),))
    pool = pool_of(queue, *(ticket(f"t{n}", rated(10.0 * (n // 2)), enter=n) for n in range(40)))
    found = []
    for _ in range(40):
        now = 50.0
        found += names(pool.match(now, total=4))
        if pool.next_change(now) != now:
            break
    assert sorted(found) == sorted([f"t{n}", f"t{n + 1}"] for n in range(0, 40, 2))


def test_a_new_definition_goes_for_who_waits() -> None:
    pool = pool_of(Queue("q", min_team_size=2, max_team_size=2), ticket("pair", Player(""), Player("")), ticket("one"))
    pool.match(0.0)
    assert [one.ticket_id for one in pool.redefine(Queue("q"))] == ["pair"]
    pool.add(ticket("two"))
    assert names(pool.match(0.0)) == [["one", "two"]]


def test_again_with_the_same_id_is_another_ticket() -> None:
    pool = pool_of(Queue("q", rules=(SKILL,)), ticket("a", rated(0)), ticket("b", rated(9)))
    assert pool.match(0.0) == []
    pool.add(ticket("b", rated(1)))
    (proposal,) = pool.match(0.0)
    assert [one.players[0].rating for one in proposal.tickets] == [0, 1]
    assert pool.tickets == 0
