"""Matchmaking by brute force: every set of tickets, every way to make teams of it. Shares no code with the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product

from services.matchmaking.engine.queues import Queue, Rule, RuleKind
from services.matchmaking.engine.tickets import Opening, Player, Proposal, Ticket


def limit(rule: Rule, enter_time: float, now: float) -> float | None:
    """What holds for one who came then; None when the rule does not count any more."""
    current: float | None = rule.limit
    for step in rule.steps:
        if enter_time + step.after <= now:
            current = None if step.drop else step.limit
    return current


def broken(queue: Queue, tickets: Sequence[Ticket], now: float, opening: Opening | None = None) -> list[str]:
    """Names of the rules that do not hold for a set: as strictly as for any of it."""
    enters = [ticket.enter_time for ticket in tickets] + ([opening.enter_time] if opening else [])
    return [
        rule.name
        for rule in queue.rules
        if (limits := [found for enter in enters if (found := limit(rule, enter, now)) is not None])
        and not holds(rule, min(limits), tickets, opening)
    ]


def holds(rule: Rule, most: float, tickets: Sequence[Ticket], opening: Opening | None) -> bool:
    """Whether a rule holds for all players at a limit."""
    present = list(opening.present) if opening else []
    fixed = opening.attributes if opening else {}
    coming = [player for ticket in tickets for player in ticket.players]
    name = rule.attribute
    match rule.kind:
        case RuleKind.SKILL:
            parties = [ticket.players for ticket in tickets] + ([present] if present else [])
            means = [sum(player.rating for player in party) / len(party) for party in parties]
            return max(means) - min(means) <= most
        case RuleKind.DISTANCE:
            numbers = [player.numbers.get(name, 0.0) for player in coming + present]
            return max(numbers) - min(numbers) <= most
        case RuleKind.EQUAL:
            before = [fixed[name]] if name in fixed else [player.texts.get(name, "") for player in present]
            return len({*before, *(player.texts.get(name, "") for player in coming)}) == 1
        case RuleKind.OVERLAP:
            told = [set(player.lists[name]) for player in coming if player.lists.get(name)]
            told += (
                [{fixed[name]}]
                if name in fixed
                else [set(player.lists[name]) for player in present if player.lists.get(name)]
            )
            return not told or bool(set.intersection(*told))
        case RuleKind.REGION:
            if "region" in fixed:
                return all(player.latencies.get(fixed["region"], 1e9) <= most for player in coming)
            everybody = coming + present
            return any(
                all(p.latencies.get(region, 1e9) <= most for p in everybody) for region in everybody[0].latencies
            )


def is_match(queue: Queue, tickets: Sequence[Ticket], now: float) -> int:
    """Players of a set that may begin now, 0 when it may not."""
    players = sum(len(ticket.players) for ticket in tickets)
    if players > queue.max_teams * queue.max_team_size or broken(queue, tickets, now):
        return 0
    oldest = min(ticket.enter_time for ticket in tickets)
    if queue.bots_after and oldest + queue.bots_after <= now:
        return players if any(True for _ in arrangements(queue, tickets, queue.max_teams)) else 0
    if players < queue.max_teams * queue.max_team_size and oldest + queue.fill > now:
        return 0
    for count in range(queue.min_teams, queue.max_teams + 1):
        for teams in arrangements(queue, tickets, count):
            if all(len(team) >= queue.min_team_size for team in teams):
                return players
    return 0


def arrangements(queue: Queue, tickets: Sequence[Ticket], count: int) -> Iterator[list[list[Player]]]:
    """All ways to put whole tickets in so many teams, none with too many players, each with parts for all of them."""
    roles = [role.name for role in queue.roles for _ in range(role.count)]
    for places in product(range(count), repeat=len(tickets)):
        teams: list[list[Player]] = [[] for _ in range(count)]
        for place, ticket in zip(places, tickets, strict=True):
            teams[place] += ticket.players
        if all(len(team) <= queue.max_team_size for team in teams) and all(parts_for(team, roles) for team in teams):
            yield teams


def parts_for(players: Sequence[Player], roles: Sequence[str]) -> bool:
    """Whether each gets a part that it takes, in a queue that has roles."""
    if not roles or not players:
        return True
    first, rest = players[0], players[1:]
    for place, role in enumerate(roles):
        if (not first.roles or role in first.roles) and (
            len(rest) == 0 or (len(roles) > 1 and parts_for(rest, [*roles[:place], *roles[place + 1 :]]))
        ):
            return True
    return False


def fills(queue: Queue, opening: Opening, tickets: Sequence[Ticket], now: float) -> int:
    """Players of a set that may take seats of an opening, 0 when they may not."""
    if broken(queue, tickets, now, opening):
        return 0
    known = {role.name for role in queue.roles}
    parts = [[role for role in team.roles if role in known] for team in opening.teams]
    for places in product(range(len(opening.teams)), repeat=len(tickets)):
        teams: list[list[Player]] = [[] for _ in opening.teams]
        for place, ticket in zip(places, tickets, strict=True):
            teams[place] += ticket.players
        if all(
            len(team) <= free.seats and (not queue.roles or (len(team) <= len(roles) and parts_for(team, roles)))
            for team, free, roles in zip(teams, opening.teams, parts, strict=True)
        ):
            return sum(map(len, teams))
    return 0


def subsets(tickets: Iterable[Ticket]) -> Iterator[tuple[Ticket, ...]]:
    """All but the empty one."""
    known = list(tickets)
    for count in range(1, len(known) + 1):
        yield from combinations(known, count)


def check(queue: Queue, proposal: Proposal, now: float) -> None:
    """That a proposal is a match: rules, teams, roles, attributes, bots."""
    opening = proposal.opening
    assert broken(queue, proposal.tickets, now, opening) == []
    seated = Counter((placed.player.user_id, placed.ticket_id) for placed in proposal.placed)
    assert seated == Counter((p.user_id, t.ticket_id) for t in proposal.tickets for p in t.players), "all, and once"
    for ticket in proposal.tickets:
        assert len({placed.team for placed in proposal.placed if placed.ticket_id == ticket.ticket_id}) == 1
    teams: dict[int, list[str]] = {}
    for placed in proposal.placed:
        teams.setdefault(placed.team, []).append(placed.role)
        if queue.roles:
            assert not placed.player.roles or placed.role in placed.player.roles
        else:
            assert placed.role == ""
    parts = Counter({role.name: role.count for role in queue.roles})
    if opening is None:
        assert is_match(queue, proposal.tickets, now)
        assert all(1 <= team <= queue.max_teams for team in teams)
        assert all(len(team) <= queue.max_team_size for team in teams.values())
        count = max(queue.min_teams, len(teams))
        missing = sum(max(queue.min_team_size - len(team), 0) for team in teams.values())
        missing += (count - len(teams)) * queue.min_team_size
        assert proposal.bots == missing
        oldest = min(ticket.enter_time for ticket in proposal.tickets)
        assert not missing or (queue.bots_after and oldest + queue.bots_after <= now)
        for team in teams.values():
            assert not queue.roles or Counter(team) <= parts
            assert not queue.roles or len(team) == queue.max_team_size or missing
    else:
        free = {team.team: team for team in opening.teams}
        for number, taken in teams.items():
            assert len(taken) <= free[number].seats
            assert not queue.roles or Counter(taken) <= Counter(free[number].roles)
        assert proposal.bots == 0
    check_attributes(queue, proposal, now)


def check_attributes(queue: Queue, proposal: Proposal, now: float) -> None:
    """That what rules chose is what they say."""
    opening = proposal.opening
    players = [player for ticket in proposal.tickets for player in ticket.players]
    enters = [ticket.enter_time for ticket in proposal.tickets] + ([opening.enter_time] if opening else [])
    if opening:
        assert {**proposal.attributes, **opening.attributes} == proposal.attributes
        players += opening.present
    for rule in queue.rules:
        name = "region" if rule.kind is RuleKind.REGION else rule.attribute
        if opening and name in opening.attributes:
            continue
        value = proposal.attributes.get(name)
        on = any(limit(rule, enter, now) is not None for enter in enters)
        if rule.kind is RuleKind.OVERLAP:
            told = [player.lists[name] for player in players if player.lists.get(name)]
            assert value is not None or not on or not told
            assert value is None or all(value in values for values in told)
        elif rule.kind is RuleKind.EQUAL and on:
            assert (value or "") == players[0].texts.get(name, "")
        elif rule.kind is RuleKind.REGION:
            worst = {
                region: max(player.latencies[region] for player in players)
                for region in players[0].latencies
                if all(region in player.latencies for player in players)
            }
            assert value is not None or not on
            assert (value is None) == (not worst)
            assert value is None or worst[value] == min(worst.values())
