"""What a definition must be to make sense, and what has a place in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from pkg.errors import invalid_field
from services.matchmaking.engine.queues import Queue, Rule, RuleKind
from services.matchmaking.engine.roles import Roles
from services.matchmaking.engine.tickets import Player

MOST_PLAYERS: Final = 128
_OWN_NAMES: Final = ("size", "roles")
_ONCE: Final = (RuleKind.SKILL, RuleKind.REGION)
_WITH_ATTRIBUTE: Final = (RuleKind.EQUAL, RuleKind.OVERLAP, RuleKind.DISTANCE)
_WITHOUT_LIMIT: Final = (RuleKind.EQUAL, RuleKind.OVERLAP)
_CHOSEN: Final = (RuleKind.EQUAL, RuleKind.OVERLAP, RuleKind.REGION)


def checked(queue: Queue) -> Queue:
    """The queue, if it makes sense; InvalidArgument with the field otherwise."""
    _check_shape(queue)
    _check_roles(queue)
    _check_times(queue)
    _check_rules(queue)
    return queue


def fits(queue: Queue, players: Sequence[Player]) -> str:
    """Why a party has no place in a queue, whoever else there is; empty when it has."""
    if len(players) > queue.max_team_size:
        return (
            f"a party of {len(players)} has no place: a team has at most {queue.max_team_size} "
            f"{'player' if queue.max_team_size == 1 else 'players'}"
        )
    roles = Roles(queue.roles)
    if not roles:
        return ""
    names = ", ".join(roles.names)
    for player in players:
        if not roles.mask(player):
            return f"{player.user_id} takes only roles that the queue does not have: name one of {names}"
    if not roles.seatable(roles.capacity, tuple(sorted(map(roles.mask, players)))):
        team = ", ".join(f"{role.count} {role.name}" for role in queue.roles)
        return (
            f"the roles that this party takes do not fit in one team, which has {team}: let its players take more roles"
        )
    return ""


def _check_shape(queue: Queue) -> None:
    for least, most in (("min_teams", "max_teams"), ("min_team_size", "max_team_size")):
        fewest = getattr(queue, least)
        if fewest < 1:
            raise invalid_field(f"queue.{least}", "must be at least 1")
        if getattr(queue, most) < fewest:
            raise invalid_field(f"queue.{most}", f"must not be less than {least}, which is {fewest}: raise it")
    if queue.most_players > MOST_PLAYERS:
        raise invalid_field(
            "queue.max_team_size",
            f"{queue.max_teams} teams of {queue.max_team_size} are {queue.most_players} players; a match has at most "
            f"{MOST_PLAYERS}: lower max_teams or max_team_size",
        )
    if queue.most_players < 2:
        raise invalid_field("queue.max_teams", "a match of one player needs no queue: raise max_teams or max_team_size")


def _check_roles(queue: Queue) -> None:
    for place, role in enumerate(queue.roles):
        if role.count < 1:
            raise invalid_field(f"queue.roles[{place}].count", "must be at least 1: leave out roles that nobody has")
    if twice := _twice([role.name for role in queue.roles]):
        raise invalid_field("queue.roles", f"{twice!r} is there twice: add up its counts in one role")
    players = sum(role.count for role in queue.roles)
    if queue.roles and not queue.min_team_size == queue.max_team_size == players:
        raise invalid_field(
            "queue.roles",
            f"their counts add up to {players}, and a team has {_span(queue.min_team_size, queue.max_team_size)} "
            "players: make both the same, or leave the sizes of teams out",
        )


def _check_times(queue: Queue) -> None:
    if queue.max_wait <= 0:
        raise invalid_field("queue.max_wait_seconds", "must be more than 0")
    for name in ("fill", "bots_after"):
        seconds = getattr(queue, name)
        if seconds < 0:
            raise invalid_field(f"queue.{name}_seconds", "must not be negative")
        if seconds >= queue.max_wait:
            raise invalid_field(
                f"queue.{name}_seconds",
                f"must be less than max_wait_seconds, {queue.max_wait:g}: tickets expire before it counts",
            )
    if queue.acceptance < 0:
        raise invalid_field("queue.acceptance_seconds", "must not be negative")
    if 0 < queue.bots_after < queue.fill:
        raise invalid_field(
            "queue.bots_after_seconds",
            f"must not be less than fill_seconds, {queue.fill:g}: a match waits for players first",
        )


def _check_rules(queue: Queue) -> None:
    for place, rule in enumerate(queue.rules):
        _check_rule(f"queue.rules[{place}]", rule, queue)
    if twice := _twice([rule.name for rule in queue.rules]):
        raise invalid_field("queue.rules", f"two are named {twice!r}: give each a name of its own")
    for kind in _ONCE:
        if sum(rule.kind is kind for rule in queue.rules) > 1:
            raise invalid_field(
                "queue.rules", f"there is more than one {kind} rule: keep one and let it give way in steps"
            )
    attributes = Counter(
        "region" if rule.kind is RuleKind.REGION else rule.attribute for rule in queue.rules if rule.kind in _CHOSEN
    )
    by_kind = Counter((rule.kind, rule.attribute) for rule in queue.rules if rule.kind in _WITH_ATTRIBUTE)
    for attribute, count in attributes.items():
        if count > 1:
            raise invalid_field(
                "queue.rules",
                f"several rules are about {attribute!r}, and a session has one value of it: use another attribute",
            )
    for (kind, attribute), count in by_kind.items():
        if count > 1:
            raise invalid_field("queue.rules", f"two {kind} rules are about {attribute!r}: keep the stricter")
        if kind is RuleKind.DISTANCE and attributes[attribute] and attribute != "region":
            raise invalid_field(
                "queue.rules", f"rules of two kinds are about {attribute!r}: a number needs an attribute of its own"
            )


def _check_rule(field: str, rule: Rule, queue: Queue) -> None:
    if rule.name in _OWN_NAMES:
        raise invalid_field(f"{field}.name", f"{rule.name!r} stands for the shape of teams: choose another name")
    if not rule.name:
        raise invalid_field(f"{field}.name", "must not be empty")
    if rule.kind in _WITH_ATTRIBUTE and not rule.attribute:
        raise invalid_field(f"{field}.{rule.kind}.attribute", "must name what is compared")
    if rule.limit < 0:
        raise invalid_field(f"{field}.{rule.kind}.limit", "must not be negative")
    after, limit = 0.0, rule.limit
    for place, step in enumerate(rule.steps):
        path = f"{field}.expansions[{place}]"
        if step.after <= after:
            raise invalid_field(
                f"{path}.after_seconds", f"must be more than {after:g}: put the steps in the order of their time"
            )
        if step.after >= queue.max_wait:
            raise invalid_field(
                f"{path}.after_seconds",
                f"must be less than max_wait_seconds, {queue.max_wait:g}: tickets expire before it counts",
            )
        if step.drop and place + 1 < len(rule.steps):
            raise invalid_field(f"{path}.drop", "must be the last step: what is dropped cannot give way any further")
        if not step.drop and rule.kind in _WITHOUT_LIMIT:
            raise invalid_field(
                f"{path}.drop", f"must be set: an {rule.kind} rule has no limit, it counts or it does not"
            )
        if not step.drop and step.limit <= limit:
            raise invalid_field(
                f"{path}.limit", f"must be more than {limit:g}, the limit before it: a rule only gives way"
            )
        after, limit = step.after, step.limit


def _twice(names: Sequence[str]) -> str:
    return next((name for name, count in Counter(names).items() if count > 1), "")


def _span(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"
