"""How long an event is under way: from the moment its command was to be sent until a player has it.

The moment is the one of the schedule, so a sender that is held up counts too.
"""

from __future__ import annotations

from functools import partial

from bench.figures import Figure, most
from bench.generator import Job
from bench.scenario import Context, Group, Run, Scenario
from bench.scenarios.relay import HERTZ
from oofgg.v1 import session_pb2 as pb

DEFAULT_WINDOW_MS = 20


async def measure(
    context: Context,
    *,
    players: int,
    window_ms: int | None,
    delivery: pb.DeliveryClass.ValueType,
    envoy: bool,
    name: str,
) -> Run:
    """Latencies in milliseconds."""
    stage = context.platform
    async with stage.session(players, window_ms=window_ms) as seats:
        job = Job(
            "play",
            stage.endpoints.envoy if envoy else stage.endpoints.service,
            players if envoy else 2,
            streams=seats,
            delivery=delivery,
            hertz=HERTZ,
        )
        mark, used = await context.load(job, stage.pids)
    values = {f"{name}_{part}": mark.latency[part] / 1e3 for part in ("p50", "p99")}
    return Run(values, used, "", mark.failed, mark.failure)


def _scenario(
    players: int, window_ms: int | None, delivery: pb.DeliveryClass.ValueType, p99: float, *, envoy: bool
) -> Scenario:
    window = "default" if window_ms is None else str(window_ms)
    name = f"latency_{players}_20hz_window_{window}{'_envoy' if envoy else ''}"
    kind = "RELIABLE" if delivery == pb.DELIVERY_CLASS_RELIABLE else "LATEST"
    title = (
        f"Latency, {players} players × 20 Hz {kind}, {'default window' if window_ms is None else f'window {window_ms}'}"
    )
    title += ", through Envoy" if envoy else ""
    figures = (Figure(f"{name}_p50", f"{title}, p50", "ms"), Figure(f"{name}_p99", f"{title}, p99", "ms", most(p99)))
    return Scenario(
        name,
        figures,
        partial(measure, players=players, window_ms=window_ms, delivery=delivery, envoy=envoy, name=name),
    )


GROUP = Group(
    "latency",
    tuple(
        _scenario(*load, envoy=envoy)
        for envoy in (False, True)
        for load in (
            (8, 0, pb.DELIVERY_CLASS_RELIABLE, 5.0),
            (32, None, pb.DELIVERY_CLASS_LATEST, DEFAULT_WINDOW_MS + 10.0),
        )
    ),
)
