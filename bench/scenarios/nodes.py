"""Several nodes behind one Envoy: whether they cost anything, beside what they share.

Saturated, two nodes, Envoy and the generator fill a machine of two cores; what nodes cost shows at a game's pace.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from bench.figures import Figure
from bench.generator import Job, Seat
from bench.nodes import Node
from bench.scenario import Context, Group, Run, Scenario
from bench.scenarios.duels import DUELS, DUELS_QUICK, HERTZ, figures, job, values
from bench.scenarios.relay import JOINED, UNDER_WAY
from oofgg.v1 import session_pb2 as pb

_PLAYERS = 32
_SESSIONS = 2
_TWO = f"{_SESSIONS} sessions of {_PLAYERS} players"
# The services of the platform run no session here, but are asked for each new token.
_SHARED = ("service", "postgresql", "valkey", "kafka", "envoy")


async def fan_out(context: Context, *, paced: bool) -> Run:
    """CPU of nodes, backends and Envoy: both sessions on one node, then one on each."""
    found: dict[str, float] = {}
    failures: list[str] = []
    failed = 0
    async with context.platform.nodes(_SESSIONS) as nodes:
        for number, chosen in ((1, nodes[:1]), (2, nodes)):
            async with AsyncExitStack() as stack:
                seats = await _spread(stack, context, chosen, _SESSIONS, _PLAYERS)
                job = _paced(context, seats) if paced else _saturated(context, seats)
                mark, used = await context.load(job, context.platform.pids | _pids(nodes))
            seconds = used.core_seconds(*_SHARED, *_pids(chosen))
            if paced:
                found[f"cost_32_20hz_nodes_{number}"] = seconds / mark.done * 1e6
            else:
                found[f"fan_out_32_nodes_{number}"] = mark.done / seconds
                found[f"rate_nodes_{number}"] = mark.done / mark.seconds
            failed += mark.failed
            failures += [mark.failure] if mark.failure else []
    return Run(found, used, "", failed, "; ".join(failures))


def _saturated(context: Context, seats: list[Seat]) -> Job:
    return Job(
        "play",
        context.platform.endpoints.envoy,
        len(seats),
        streams=seats,
        delivery=pb.DELIVERY_CLASS_RELIABLE,
        window=UNDER_WAY // _PLAYERS,
        batch=JOINED,
    )


def _paced(context: Context, seats: list[Seat]) -> Job:
    return Job(
        "play",
        context.platform.endpoints.envoy,
        len(seats),
        streams=seats,
        delivery=pb.DELIVERY_CLASS_LATEST,
        hertz=HERTZ,
    )


async def duels(context: Context, *, number: int, name: str) -> Run:
    """The duels of the scenario of one node, half of them on each of two."""
    stage = context.platform
    number = min(number, DUELS_QUICK) if context.quick else number
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(stage.nodes(2))
        seats = await _spread(stack, context, nodes, number, 2)
        mark, used = await context.load(job(seats, stage.endpoints.envoy, len(seats)), stage.pids | _pids(nodes))
    return Run(values(name, mark, used.core_seconds(*_SHARED, *_pids(nodes))), used, "", mark.failed, mark.failure)


async def _spread(
    stack: AsyncExitStack, context: Context, nodes: list[Node], sessions: int, players: int
) -> list[Seat]:
    """Sessions evenly on these nodes, until the stack closes."""
    seats: list[Seat] = []
    share = sessions // len(nodes)
    for position, node in enumerate(nodes):
        placed = context.platform.several(share, players, node=node, first=position * share * players)
        seats += await stack.enter_async_context(placed)
    return seats


def _pids(nodes: list[Node]) -> dict[str, int]:
    return {f"node {number}": node.pid for number, node in enumerate(nodes, 1)}


GROUP = Group(
    "nodes",
    "Several nodes, through Envoy",
    (
        Scenario(
            "fan_out_nodes",
            (
                Figure("fan_out_32_nodes_1", f"{_TWO} saturated, both on one node", "deliveries/s/core"),
                Figure("rate_nodes_1", "… deliveries", "/s"),
                Figure("fan_out_32_nodes_2", f"{_TWO} saturated, one on each of 2 nodes", "deliveries/s/core"),
                Figure("rate_nodes_2", "… deliveries", "/s"),
            ),
            partial(fan_out, paced=False),
        ),
        Scenario(
            "pace_nodes",
            (
                Figure("cost_32_20hz_nodes_1", f"{_TWO} × {HERTZ:g} Hz LATEST, both on one node", "µs/delivery"),
                Figure("cost_32_20hz_nodes_2", "… one on each of 2 nodes", "µs/delivery"),
            ),
            partial(fan_out, paced=True),
        ),
        *(
            Scenario(
                f"duels_{number}_nodes",
                figures(
                    f"duels_{number}_nodes_2",
                    f"{number} duels × {HERTZ:g} Hz LATEST, default window, half on each of 2 nodes",
                ),
                partial(duels, number=number, name=f"duels_{number}_nodes_2"),
            )
            for number in DUELS
        ),
    ),
)
