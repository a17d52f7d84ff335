"""Queues between the wire and the engine."""

from __future__ import annotations

from typing import Final

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.errors import invalid_field
from services.matchmaking.engine.queues import Balance, Queue, Role, Rule, RuleKind, SessionTemplate, Step

_MAX_WAIT_SECONDS: Final = 300.0
_WINDOW_MILLISECONDS: Final = 20


def queue_of(message: pb.Queue) -> Queue:
    """A queue as the engine knows it: with the documented defaults for what is 0. Raises InvalidArgument."""
    min_teams = message.min_teams or 2
    roles = tuple(Role(role.name, role.count) for role in message.roles)
    min_size = message.min_team_size or sum(role.count for role in roles) or 1
    session = message.session
    return Queue(
        name=message.name,
        version=message.version or 1,
        min_teams=min_teams,
        max_teams=message.max_teams or min_teams,
        min_team_size=min_size,
        max_team_size=message.max_team_size or min_size,
        roles=roles,
        rules=tuple(_rule(number, rule) for number, rule in enumerate(message.rules)),
        balance=Balance.SKILL if message.balance == pb.QUEUE_BALANCE_SKILL else Balance.NONE,
        fill=message.fill_seconds,
        max_wait=message.max_wait_seconds or _MAX_WAIT_SECONDS,
        bots_after=message.bots_after_seconds,
        acceptance=message.acceptance_seconds,
        backfill=message.backfill,
        session=SessionTemplate(
            session.label,
            dict(session.attributes),
            session.flush_window_ms if session.HasField("flush_window_ms") else _WINDOW_MILLISECONDS,
            session.max_spectators,
        ),
    )


def queue_message(queue: Queue) -> pb.Queue:
    """The same back, without zeros where they stand for something."""
    message = pb.Queue(
        name=queue.name,
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
        version=queue.version,
    )
    message.session.label = queue.session.label
    message.session.attributes.update(queue.session.attributes)
    message.session.flush_window_ms = queue.session.flush_window_ms
    message.session.max_spectators = queue.session.max_spectators
    return message


def _rule(number: int, message: pb.QueueRule) -> Rule:
    which = message.WhichOneof("rule")
    if which is None:
        raise invalid_field(f"queue.rules[{number}].rule", "say which: equal, overlap, distance, skill or region")
    kind = RuleKind(which)
    attribute, limit = "", 0.0
    if kind is RuleKind.REGION:
        limit = message.region.limit_ms
    elif kind is RuleKind.SKILL:
        limit = message.skill.limit
    elif kind is RuleKind.DISTANCE:
        attribute, limit = message.distance.attribute, message.distance.limit
    elif kind is RuleKind.EQUAL:
        attribute = message.equal.attribute
    else:
        attribute = message.overlap.attribute
    steps = tuple(Step(step.after_seconds, step.limit, step.drop) for step in message.expansions)
    return Rule(kind, message.name or f"{kind} {attribute}".strip(), attribute, limit, steps)


def _rule_message(rule: Rule) -> pb.QueueRule:
    message = pb.QueueRule(
        name=rule.name,
        expansions=[
            pb.QueueExpansion(after_seconds=step.after, limit=step.limit, drop=step.drop) for step in rule.steps
        ],
    )
    if rule.kind is RuleKind.REGION:
        message.region.limit_ms = rule.limit
    elif rule.kind is RuleKind.SKILL:
        message.skill.limit = rule.limit
    elif rule.kind is RuleKind.DISTANCE:
        message.distance.attribute, message.distance.limit = rule.attribute, rule.limit
    elif rule.kind is RuleKind.EQUAL:
        message.equal.attribute = rule.attribute
    else:
        message.overlap.attribute = rule.attribute
    return message
