"""Matchmaking alone, in memory: what the rules and the search cost, and how that grows with the tickets that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bench import matching
from bench.cpu import snapshot, usage
from bench.figures import Figure, most
from bench.scenario import Context, Group, Run, Scenario

_PACES = (100, 500)
_QUICK_SHARE = 20
_QUICK_PLAYERS = 400  # of fewer, most are left over
_SHORT = 5  # times, of which the best counts, for what takes milliseconds


async def at_once(context: Context) -> Run:
    """Duels of growing pools, in this process."""
    before = snapshot({})
    values = await asyncio.to_thread(_duels, _QUICK_SHARE if context.quick else 1)
    return Run(values, usage(before, snapshot({})))


async def paced(context: Context) -> Run:
    """Tickets that come one by one, in this process."""
    before = snapshot({})
    values = await asyncio.to_thread(_paced, matching.PACE_SECONDS / (_QUICK_SHARE if context.quick else 1))
    return Run(values, usage(before, snapshot({})))


async def teams(context: Context) -> Run:
    """Teams with roles and parties, in this process."""
    before = snapshot({})
    values = await asyncio.to_thread(_teams, _QUICK_PLAYERS if context.quick else matching.FIVE_PLAYERS)
    return Run(values, usage(before, snapshot({})))


async def waiting(context: Context) -> Run:
    """Tickets that nobody is there for, in this process."""
    before = snapshot({})
    values = await asyncio.to_thread(_waiting, matching.IDLE // (_QUICK_SHARE if context.quick else 1))
    return Run(values, usage(before, snapshot({})))


def _duels(share: int) -> Mapping[str, float]:
    costs = {
        count: min(matching.duels(count // share).microseconds for _ in range(_SHORT if count < matching.IDLE else 1))
        for count in matching.DUELS
    }
    values = {f"matching_duels_{count}": cost for count, cost in costs.items()}
    return {**values, "matching_growth": costs[max(costs)] / costs[min(costs)]}


def _paced(seconds: float) -> Mapping[str, float]:
    return {f"matching_pace_{pace}": matching.paced(pace, seconds).microseconds for pace in _PACES}


def _teams(players: int) -> Mapping[str, float]:
    cost = matching.five(players)
    return {"matching_five": cost.seconds, "matching_five_matched": 100 * cost.players_matched / players}


def _waiting(count: int) -> Mapping[str, float]:
    return {"matching_idle": matching.idle(count) * 1e3, "matching_bytes": matching.bytes_per_ticket(count)}


GROUP = Group(
    "matching",
    "Matchmaking, in memory",
    (
        Scenario(
            "matching_duels",
            (
                *(
                    Figure(
                        f"matching_duels_{count}",
                        f"{count:,} tickets at once, two players a match, a skill rule: CPU",
                        "µs/ticket",
                        most(100),
                    )
                    for count in matching.DUELS
                ),
                Figure("matching_growth", "… of 50,000 over that of 1,000", "×"),
            ),
            at_once,
        ),
        Scenario(
            "matching_pace",
            tuple(
                Figure(
                    f"matching_pace_{pace}", f"{pace} tickets a second, mode, skill and region rules: CPU", "µs/ticket"
                )
                for pace in _PACES
            ),
            paced,
        ),
        Scenario(
            "matching_five",
            (
                Figure(
                    "matching_five",
                    f"Five against five at once, {matching.FIVE_PLAYERS:,} players, roles, parties of up to five: CPU",
                    "s",
                    most(2),
                ),
                Figure("matching_five_matched", "… players who have a match", "%"),
            ),
            teams,
        ),
        Scenario(
            "matching_waiting",
            (
                Figure(
                    "matching_idle", f"A cycle in which none of {matching.IDLE:,} tickets matches: CPU", "ms", most(300)
                ),
                Figure("matching_bytes", "A ticket that waits: memory of the pool, beside the ticket itself", "bytes"),
            ),
            waiting,
        ),
    ),
    on_stage=None,
)
