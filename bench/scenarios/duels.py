"""Many small sessions: two players each, both sending 20 times a second.

Nothing can be joined: each delivery is a request, an event and a response of its own. So 500 duels, 20,000 of each in a
second, are more than one process can do; what arrives then, and how late, shows how it fails. 100 are within its reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from bench.figures import Figure
from bench.generator import Job, Mark, Seat
from bench.platform import SERVER
from bench.scenario import Context, Group, Run, Scenario
from bench.scenarios.relay import CONNECTIONS
from oofgg.v1 import session_pb2 as pb

DUELS = (100, 500)
DUELS_QUICK = 50
HERTZ = 20.0


def job(seats: list[Seat], target: str, connections: int) -> Job:
    """Everybody sends its position; the other one of its session gets it."""
    return Job("play", target, connections, streams=seats, delivery=pb.DELIVERY_CLASS_LATEST, hertz=HERTZ)


def figures(name: str, title: str) -> tuple[Figure, ...]:
    """What is told of a load of duels."""
    return (
        Figure(f"cost_{name}", title, "µs/delivery"),
        Figure(f"latency_{name}_p50", "… latency, p50", "ms"),
        Figure(f"latency_{name}_p99", "… latency, p99", "ms"),
        Figure(f"rate_{name}", "… share of what was sent that arrived", "%"),
    )


def values(name: str, mark: Mark, core_seconds: float) -> Mapping[str, float]:
    """The same, in their units. Of latest values, only the newest arrives when there is no time for all."""
    return {
        f"cost_{name}": core_seconds / mark.done * 1e6,
        f"latency_{name}_p50": mark.latency["p50"] / 1e3,
        f"latency_{name}_p99": mark.latency["p99"] / 1e3,
        f"rate_{name}": 100 * mark.done / mark.sent,
    }


async def duels(context: Context, *, number: int, envoy: bool, name: str) -> Run:
    """At the service, or through Envoy with a connection for each player."""
    stage = context.platform
    number = min(number, DUELS_QUICK) if context.quick else number
    async with stage.several(number, 2) as seats:
        target = stage.endpoints.envoy if envoy else stage.endpoints.service
        connections = len(seats) if envoy else CONNECTIONS
        mark, used = await context.load(job(seats, target, connections), stage.pids)
    names = (*SERVER, "envoy") if envoy else SERVER
    return Run(values(name, mark, used.core_seconds(*names)), used, "", mark.failed, mark.failure)


def _scenario(number: int, *, envoy: bool) -> Scenario:
    name = f"duels_{number}{'_envoy' if envoy else ''}"
    title = f"{number} duels × {HERTZ:g} Hz LATEST, default window"
    title += ", through Envoy with its CPU" if envoy else ""
    return Scenario(name, figures(name, title), partial(duels, number=number, envoy=envoy, name=name))


GROUP = Group(
    "duels",
    "Many small sessions",
    tuple(_scenario(number, envoy=envoy) for envoy in (False, True) for number in DUELS),
)
