"""Fan-out of a session that is saturated: every player's commands go to every player, as many as there is room for.

A delivery is one event given to one player, the sender's own included. Every player has reliable commands under way
that it has not seen come back; what may leave at once leaves in one request, as the SDK does it; `…_single` sends each
command in a request of its own instead.
"""

from __future__ import annotations

from functools import partial

from bench.figures import Bound, Figure, least
from bench.generator import Job
from bench.platform import SERVER
from bench.scenario import Context, Group, Run, Scenario
from oofgg.v1 import session_pb2 as pb

# At the service, as many connections as Envoy opens to it; at Envoy, one for each player.
CONNECTIONS = 2
# Events under way in a session: far fewer than a receiver may be behind, more than fit into one flush.
UNDER_WAY = 1_024
JOINED = 256
# Seating hundreds takes longer than a quick run.
PLAYERS_QUICK = 32


async def saturated(context: Context, *, players: int, envoy: bool, batch: int, name: str) -> Run:
    """Deliveries per second of server CPU, with as many commands as there is room for."""
    stage = context.platform
    players = min(players, PLAYERS_QUICK) if context.quick else players
    async with stage.session(players) as seats:
        job = Job(
            "play",
            stage.endpoints.envoy if envoy else stage.endpoints.service,
            players if envoy else CONNECTIONS,
            streams=seats,
            delivery=pb.DELIVERY_CLASS_RELIABLE,
            window=UNDER_WAY // players,
            batch=batch,
        )
        mark, used = await context.load(job, stage.pids)
    names = (*SERVER, "envoy") if envoy else SERVER
    return Run({name: mark.done / used.core_seconds(*names)}, used, "", mark.failed, mark.failure)


def _saturated(
    players: int, *, envoy: bool = False, batch: int = JOINED, suffix: str = "", bound: Bound | None = None
) -> Scenario:
    name = f"fan_out_{players}{suffix}{'_envoy' if envoy else ''}"
    title = f"Relay fan-out, {players} players saturated"
    title += ", one command a request" if batch == 1 else ""
    title += ", through Envoy with its CPU" if envoy else ""
    return Scenario(
        name,
        (Figure(name, title, "deliveries/s/core", bound),),
        partial(saturated, players=players, envoy=envoy, batch=batch, name=name),
    )


GROUP = Group(
    "relay",
    "Fan-out, saturated",
    (
        _saturated(8),
        _saturated(32, bound=least(700_000)),
        _saturated(128),
        _saturated(512),
        _saturated(32, batch=1, suffix="_single"),
        _saturated(8, envoy=True),
        _saturated(32, envoy=True, bound=least(300_000)),
        _saturated(128, envoy=True),
        _saturated(512, envoy=True),
        _saturated(32, batch=1, suffix="_single", envoy=True),
    ),
)
