"""Queues as they are on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.errors import invalid_field
from services.matchmaking.engine.queues import Balance, Queue, Role, Rule, RuleKind, SessionTemplate, Step

DEFAULT_TEAMS: Final = 2
DEFAULT_MAX_WAIT_SECONDS: Final = 300.0
DEFAULT_FLUSH_WINDOW_MS: Final = 20


def queue_of(message: pb.Queue) -> Queue:
    """A queue, with what is documented in the place of zeros. `checks.checked` says whether it makes sense."""
    roles = tuple(Role(role.name, role.count) for role in message.roles)
    min_teams = message.min_teams or DEFAULT_TEAMS
    min_team_size = message.min_team_size or sum(role.count for role in roles) or 1
    session = message.session
    return Queue(
        name=message.name,
        version=message.version or 1,
        min_teams=min_teams,
        max_teams=message.max_teams or min_teams,
        min_team_size=min_team_size,
        max_team_size=message.max_team_size or min_team_size,
        roles=roles,
        rules=tuple(map(_rule_of, message.rules)),
        balance=Balance.SKILL if message.balance == pb.QUEUE_BALANCE_SKILL else Balance.NONE,
        fill=message.fill_seconds,
        max_wait=message.max_wait_seconds or DEFAULT_MAX_WAIT_SECONDS,
        bots_after=message.bots_after_seconds,
        acceptance=message.acceptance_seconds,
        backfill=message.backfill,
        session=SessionTemplate(
            label=session.label or message.name,
            attributes=dict(session.attributes),
            flush_window_ms=(
                session.flush_window_ms if session.HasField("flush_window_ms") else DEFAULT_FLUSH_WINDOW_MS
            ),
            max_spectators=session.max_spectators,
        ),
    )


def queue_message(
    queue: Queue,
    *,
    description: str = "",
    create_time: datetime | None = None,
    update_time: datetime | None = None,
) -> pb.Queue:
    """A queue without zeros: `queue_of` makes the same of it."""
    session = queue.session
    message = pb.Queue(
        name=queue.name,
        description=description,
        min_teams=queue.min_teams,
        max_teams=queue.max_teams,
        min_team_size=queue.min_team_size,
        max_team_size=queue.max_team_size,
        roles=[pb.QueueRole(name=role.name, count=role.count) for role in queue.roles],
        rules=[_rule_message(rule) for rule in queue.rules],
        balance=pb.QUEUE_BALANCE_SKILL if queue.balance is Balance.SKILL else pb.QUEUE_BALANCE_NONE,
        fill_seconds=queue.fill,
        max_wait_seconds=queue.max_wait,
        bots_after_seconds=queue.bots_after,
        acceptance_seconds=queue.acceptance,
        backfill=queue.backfill,
        session=pb.QueueSession(
            label=session.label,
            attributes=session.attributes,
            flush_window_ms=session.flush_window_ms,
            max_spectators=session.max_spectators,
        ),
        version=queue.version,
    )
    for time, stamp in ((create_time, message.create_time), (update_time, message.update_time)):
        if time is not None:
            stamp.FromDatetime(time.astimezone(UTC))
    return message


def _rule_of(message: pb.QueueRule) -> Rule:
    steps = tuple(Step(step.after_seconds, 0.0 if step.drop else step.limit, step.drop) for step in message.expansions)
    match message.WhichOneof("rule"):
        case "equal":
            return _named(message, RuleKind.EQUAL, message.equal.attribute, 0.0, steps)
        case "overlap":
            return _named(message, RuleKind.OVERLAP, message.overlap.attribute, 0.0, steps)
        case "distance":
            return _named(message, RuleKind.DISTANCE, message.distance.attribute, message.distance.limit, steps)
        case "skill":
            return _named(message, RuleKind.SKILL, "", message.skill.limit, steps)
        case "region":
            return _named(message, RuleKind.REGION, "", message.region.limit_ms, steps)
        case _:
            raise invalid_field("queue.rules", f"{message.name or 'a rule'} says nothing: set one of its kinds")


def _named(message: pb.QueueRule, kind: RuleKind, attribute: str, limit: float, steps: tuple[Step, ...]) -> Rule:
    return Rule(kind, message.name or f"{kind} {attribute}".strip(), attribute, limit, steps)


def _rule_message(rule: Rule) -> pb.QueueRule:
    steps = [pb.QueueExpansion(after_seconds=step.after, limit=step.limit, drop=step.drop) for step in rule.steps]
    match rule.kind:
        case RuleKind.EQUAL:
            return pb.QueueRule(name=rule.name, equal=pb.EqualRule(attribute=rule.attribute), expansions=steps)
        case RuleKind.OVERLAP:
            return pb.QueueRule(name=rule.name, overlap=pb.OverlapRule(attribute=rule.attribute), expansions=steps)
        case RuleKind.DISTANCE:
            distance = pb.DistanceRule(attribute=rule.attribute, limit=rule.limit)
            return pb.QueueRule(name=rule.name, distance=distance, expansions=steps)
        case RuleKind.SKILL:
            return pb.QueueRule(name=rule.name, skill=pb.SkillRule(limit=rule.limit), expansions=steps)
        case RuleKind.REGION:
            return pb.QueueRule(name=rule.name, region=pb.RegionRule(limit_ms=rule.limit), expansions=steps)
