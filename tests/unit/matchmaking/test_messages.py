"""Queues on the wire: what zeros mean, and that nothing is lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.errors import InvalidArgument
from services.matchmaking.engine.queues import Balance, Queue, Role, Rule, RuleKind, SessionTemplate, Step
from services.matchmaking.messages import queue_message, queue_of

EVERYTHING = Queue(
    "all",
    version=3,
    min_teams=2,
    max_teams=3,
    min_team_size=2,
    max_team_size=2,
    roles=(Role("tank", 1), Role("healer", 1)),
    rules=(
        Rule(RuleKind.EQUAL, "mode", "mode", steps=(Step(5, drop=True),)),
        Rule(RuleKind.OVERLAP, "maps", "maps"),
        Rule(RuleKind.DISTANCE, "level", "level", 3.0, (Step(5, 6.0), Step(9, drop=True))),
        Rule(RuleKind.SKILL, "skill", limit=2.0),
        Rule(RuleKind.REGION, "region", limit=80.0),
    ),
    balance=Balance.SKILL,
    fill=5.0,
    max_wait=60.0,
    bots_after=30.0,
    acceptance=15.0,
    backfill=True,
    session=SessionTemplate("label", {"a": "b"}, 0, 4),
)


def test_zeros_have_the_meaning_that_is_documented() -> None:
    assert queue_of(pb.Queue(name="duel")) == Queue("duel", session=SessionTemplate(label="duel"))


def test_sizes_follow_from_others() -> None:
    roles = [pb.QueueRole(name="tank", count=1), pb.QueueRole(name="damage", count=4)]
    queue = queue_of(pb.Queue(name="five", min_teams=3, roles=roles))
    assert (queue.max_teams, queue.min_team_size, queue.max_team_size) == (3, 5, 5)
    assert queue_of(pb.Queue(name="q", min_team_size=2)).max_team_size == 2


def test_rules_are_named_after_what_they_say() -> None:
    rules = [
        pb.QueueRule(equal=pb.EqualRule(attribute="mode")),
        pb.QueueRule(skill=pb.SkillRule(limit=2)),
        pb.QueueRule(name="own", region=pb.RegionRule(limit_ms=80)),
    ]
    assert [rule.name for rule in queue_of(pb.Queue(name="q", rules=rules)).rules] == ["equal mode", "skill", "own"]


def test_a_rule_that_says_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        queue_of(pb.Queue(name="q", rules=[pb.QueueRule()]))


def test_there_and_back() -> None:
    assert queue_of(queue_message(EVERYTHING)) == EVERYTHING
    assert queue_of(queue_message(Queue("duel"))) == queue_of(pb.Queue(name="duel"))


def test_times_and_description_come_along() -> None:
    made = datetime(2026, 1, 2, tzinfo=UTC)
    message = queue_message(EVERYTHING, description="of all", create_time=made)
    assert message.description == "of all"
    assert message.create_time.ToDatetime(UTC) == made
    assert not message.HasField("update_time")
