"""Definitions that make no sense are refused with what to do; parties without a place are told why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pkg.errors import InvalidArgument
from services.matchmaking.engine.checks import checked, fits
from services.matchmaking.engine.queues import Queue, Role, Rule, RuleKind, Step
from services.matchmaking.engine.tickets import Player

DUEL = Queue("duel")
TEAM = (Role("tank", 1), Role("healer", 1), Role("damage", 3))
FIVE = Queue("five", min_team_size=5, max_team_size=5, roles=TEAM)
SKILL = Rule(RuleKind.SKILL, "skill", limit=2.0)
MODE = Rule(RuleKind.EQUAL, "mode", "mode")
MAPS = Rule(RuleKind.OVERLAP, "maps", "maps")
LEVEL = Rule(RuleKind.DISTANCE, "level", "level", limit=3.0)
REGION = Rule(RuleKind.REGION, "region", limit=80.0)


def ruled(*rules: Rule) -> Queue:
    return replace(DUEL, rules=rules)


def giving_way(rule: Rule, *steps: Step) -> Queue:
    return ruled(replace(rule, steps=steps))


SENSIBLE = {
    "a duel": DUEL,
    "roles": FIVE,
    "all rules": ruled(SKILL, MODE, MAPS, LEVEL, REGION),
    "steps": giving_way(SKILL, Step(5, 4), Step(10, 8), Step(20, drop=True)),
    "a mode given up": giving_way(MODE, Step(5, drop=True)),
    "one team": replace(DUEL, min_teams=1, max_teams=1, min_team_size=4, max_team_size=4),
    "the most players": replace(DUEL, max_teams=64, max_team_size=2),
    "times": replace(DUEL, max_teams=8, fill=10, bots_after=10, acceptance=20),
}
SENSELESS = {
    "no teams": (replace(DUEL, min_teams=0), "min_teams", "at least 1"),
    "no players": (replace(DUEL, min_team_size=0), "min_team_size", "at least 1"),
    "teams upside down": (replace(DUEL, min_teams=3), "max_teams", "raise it"),
    "sizes upside down": (replace(DUEL, min_team_size=2), "max_team_size", "raise it"),
    "too many players": (replace(DUEL, max_teams=65, max_team_size=2), "max_team_size", "130 players"),
    "one player": (replace(DUEL, min_teams=1, max_teams=1), "max_teams", "one player"),
    "roles that are not a team": (replace(FIVE, min_team_size=4, max_team_size=4), "roles", "add up to 5"),
    "roles of a range": (replace(FIVE, min_team_size=4), "roles", "4 to 5 players"),
    "a role twice": (replace(FIVE, roles=(*TEAM[:2], TEAM[0], Role("damage", 2))), "roles", "'tank' is there twice"),
    "a role that nobody has": (replace(FIVE, roles=(*TEAM, Role("bard", 0))), "roles[3].count", "at least 1"),
    "no wait": (replace(DUEL, max_wait=0), "max_wait_seconds", "more than 0"),
    "fill longer than the wait": (replace(DUEL, fill=300), "fill_seconds", "less than max_wait_seconds, 300"),
    "bots after the wait": (replace(DUEL, bots_after=301), "bots_after_seconds", "less than max_wait_seconds"),
    "bots before players": (replace(DUEL, fill=20, bots_after=10), "bots_after_seconds", "fill_seconds, 20"),
    "negative fill": (replace(DUEL, fill=-1), "fill_seconds", "negative"),
    "negative acceptance": (replace(DUEL, acceptance=-1), "acceptance_seconds", "negative"),
    "a name twice": (ruled(SKILL, replace(LEVEL, name="skill")), "rules", "a name of its own"),
    "no name": (ruled(replace(SKILL, name="")), "rules[0].name", "empty"),
    "a name that is taken": (ruled(replace(SKILL, name="size")), "rules[0].name", "shape of teams"),
    "two skill rules": (ruled(SKILL, replace(SKILL, name="b")), "rules", "more than one skill rule"),
    "two region rules": (ruled(REGION, replace(REGION, name="b")), "rules", "more than one region rule"),
    "two kinds of one attribute": (ruled(MODE, replace(MAPS, attribute="mode")), "rules", "use another attribute"),
    "a text and a number": (ruled(MODE, replace(LEVEL, attribute="mode")), "rules", "a number needs"),
    "the region twice": (ruled(REGION, replace(MODE, attribute="region")), "rules", "'region'"),
    "the same rule twice": (ruled(LEVEL, replace(LEVEL, name="b")), "rules", "keep the stricter"),
    "no attribute": (ruled(replace(MODE, attribute="")), "rules[0].equal.attribute", "name what is compared"),
    "negative limit": (ruled(replace(LEVEL, limit=-1)), "rules[0].distance.limit", "negative"),
    "steps out of order": (
        giving_way(SKILL, Step(10, 4), Step(5, 8)), "rules[0].expansions[1].after_seconds", "in the order",
    ),
    "a step after the wait": (
        giving_way(SKILL, Step(300, 4)), "rules[0].expansions[0].after_seconds", "max_wait_seconds",
    ),
    "dropped, then not": (
        giving_way(SKILL, Step(5, drop=True), Step(9, 8)), "rules[0].expansions[0].drop", "the last step",
    ),
    "a step that takes back": (giving_way(SKILL, Step(5, 1)), "rules[0].expansions[0].limit", "only gives way"),
    "a limit of texts": (giving_way(MODE, Step(5, 4)), "rules[0].expansions[0].drop", "must be set"),
}  # fmt: skip


@pytest.mark.parametrize("queue", SENSIBLE.values(), ids=SENSIBLE)
def test_what_makes_sense_is_taken(queue: Queue) -> None:
    assert checked(queue) is queue


@pytest.mark.parametrize(("queue", "field", "told"), SENSELESS.values(), ids=SENSELESS)
def test_what_makes_no_sense_is_refused(queue: Queue, field: str, told: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked(queue)
    (violation,) = refused.value.violations
    assert violation.field == f"queue.{field}"
    assert told in violation.description


PARTIES = {
    "one": (DUEL, [()], ""),
    "two in a duel": (DUEL, [(), ()], "a team has at most 1 player"),
    "six in five": (FIVE, [()] * 6, "a party of 6 has no place"),
    "five of any role": (FIVE, [()] * 5, ""),
    "a whole team": (FIVE, [("tank",), ("healer", "tank"), ("damage",), ("damage",), ("damage",)], ""),
    "two tanks": (FIVE, [("tank",), ("tank",)], "1 tank, 1 healer, 3 damage"),
    "three for two parts": (FIVE, [("tank", "healer")] * 3, "take more roles"),
    "no such role": (FIVE, [("bard",)], "name one of tank, healer, damage"),
    "a role of another queue as well": (FIVE, [("bard", "tank")], ""),
    "roles where there are none": (DUEL, [("tank",)], ""),
}


@pytest.mark.parametrize(("queue", "roles", "told"), PARTIES.values(), ids=PARTIES)
def test_who_has_a_place(queue: Queue, roles: list[tuple[str, ...]], told: str) -> None:
    reason = fits(queue, [Player(f"u{n}", roles=taken) for n, taken in enumerate(roles)])
    assert told in reason
    assert bool(reason) == bool(told)
