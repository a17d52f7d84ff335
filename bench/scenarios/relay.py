"""Fan-out of a session: every player's commands go to every player.

A delivery is one event given to one player, the sender's own included where its class has it so. Saturated, every
player has reliable commands under way that it has not seen come back; what may leave at once leaves in one request, as
the SDK does it; `…_single` sends each command in a request of its own instead.
"""

from __future__ import annotations

from functools import partial

from bench.figures import Bound, Figure, least, most
from bench.generator import Job
from bench.scenario import Context, Group, Run, Scenario
from bench.stage import SERVER
from oofgg.v1 import session_pb2 as pb

# At the service, as many connections as Envoy opens to it; at Envoy, one for each player.
_CONNECTIONS = 2
# Events under way in a session: far fewer than a receiver may be behind, more than fit into one flush.
_UNDER_WAY = 1_024
_JOINED = 256
HERTZ = 20.0


async def saturated(context: Context, *, players: int, envoy: bool, batch: int, name: str) -> Run:
    """Deliveries per second of server CPU, with as many commands as there is room for."""
    stage = context.platform
    async with stage.session(players) as seats:
        job = Job(
            "play",
            stage.endpoints.envoy if envoy else stage.endpoints.service,
            players if envoy else _CONNECTIONS,
            streams=seats,
            delivery=pb.DELIVERY_CLASS_RELIABLE,
            window=_UNDER_WAY // players,
            batch=batch,
        )
        mark, used = await context.load(job, stage.pids)
    names = (*SERVER, "envoy") if envoy else SERVER
    return Run({name: mark.done / used.core_seconds(*names)}, used, "", mark.failed, mark.failure)


async def paced(context: Context, *, envoy: bool, name: str) -> Run:
    """CPU per delivery when 32 players send a latest value 20 times a second each."""
    stage = context.platform
    async with stage.session(32) as seats:
        job = Job(
            "play",
            stage.endpoints.envoy if envoy else stage.endpoints.service,
            32 if envoy else _CONNECTIONS,
            streams=seats,
            delivery=pb.DELIVERY_CLASS_LATEST,
            hertz=HERTZ,
        )
        mark, used = await context.load(job, stage.pids)
    names = (*SERVER, "envoy") if envoy else SERVER
    return Run({name: used.core_seconds(*names) / mark.done * 1e6}, used, "", mark.failed, mark.failure)


def _saturated(
    players: int, *, envoy: bool = False, batch: int = _JOINED, suffix: str = "", bound: Bound | None = None
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


def _paced(*, envoy: bool, bound: Bound | None = None) -> Scenario:
    name = f"fan_out_32_20hz{'_envoy' if envoy else ''}"
    title = "32 players × 20 Hz LATEST, default window"
    title += ", through Envoy with its CPU" if envoy else ""
    return Scenario(name, (Figure(name, title, "µs/delivery", bound),), partial(paced, envoy=envoy, name=name))


GROUP = Group(
    "relay",
    (
        _saturated(8),
        _saturated(32, bound=least(700_000)),
        _saturated(128),
        _saturated(32, batch=1, suffix="_single"),
        _saturated(8, envoy=True),
        _saturated(32, envoy=True, bound=least(300_000)),
        _saturated(128, envoy=True),
        _saturated(32, batch=1, suffix="_single", envoy=True),
        _paced(envoy=False),
        _paced(envoy=True, bound=most(16)),
    ),
)
