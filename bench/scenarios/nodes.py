"""Several nodes behind one Envoy: whether they cost anything, beside what they share."""

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
# The services of the platform run no session here, but are asked for each new token.
_SHARED = ("service", "postgresql", "valkey", "kafka", "envoy")


async def saturated(context: Context) -> Run:
    """Deliveries per second of CPU of nodes, backends and Envoy: all sessions on one node, then one on each."""
    stage = context.platform
    found: dict[str, float] = {}
    async with stage.nodes(_SESSIONS) as nodes:
        runs = []
        for name, chosen in (("nodes_1", nodes[:1]), ("nodes_2", nodes)):
            async with AsyncExitStack() as stack:
                seats = await _spread(stack, context, chosen, _SESSIONS, _PLAYERS)
                load = Job(
                    "play",
                    stage.endpoints.envoy,
                    len(seats),
                    streams=seats,
                    delivery=pb.DELIVERY_CLASS_RELIABLE,
                    window=UNDER_WAY // _PLAYERS,
                    batch=JOINED,
                )
                mark, used = await context.load(load, stage.pids | _pids(nodes))
            found[f"fan_out_32_{name}"] = mark.done / used.core_seconds(*_SHARED, *_pids(chosen))
            found[f"rate_{name}"] = mark.done / mark.seconds
            runs.append(Run(found, used, "", mark.failed, mark.failure))
    found["nodes_cost"] = found["fan_out_32_nodes_2"] / found["fan_out_32_nodes_1"]
    return Run(
        found, runs[-1].used, "", sum(run.failed for run in runs), "; ".join(filter(None, (r.failure for r in runs)))
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
                Figure("fan_out_32_nodes_1", "2 sessions of 32 players saturated, on one node", "deliveries/s/core"),
                Figure("rate_nodes_1", "… deliveries", "/s"),
                Figure(
                    "fan_out_32_nodes_2",
                    "2 sessions of 32 players saturated, one on each of 2 nodes",
                    "deliveries/s/core",
                ),
                Figure("rate_nodes_2", "… deliveries", "/s"),
                Figure("nodes_cost", "Deliveries per core of two nodes, as a share of those of one", ""),
            ),
            saturated,
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
