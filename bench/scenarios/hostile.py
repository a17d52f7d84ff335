"""Hostile participants: what the others of their session notice of them.

Eight play at 20 Hz; their latency is taken without and with the hostile ones, one after the other. Whoever is thrown
out comes back a tenth of a second later; thousands come, and come back, at 2,500 a second. Limits are those that the
platform is shipped with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from bench.cpu import megabytes, snapshot, usage
from bench.figures import Figure, most
from bench.generator import Job, running
from bench.scenario import Context, Group, Limits, Run, Scenario
from oofgg.v1 import session_pb2 as pb

_PLAYERS = 8
_HERTZ = 20.0
_LIMIT_SECONDS = 120.0
_WITHIN = 2.0


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One of those of bench/loadgen/hostile.go, by so many clients on so many connections."""

    name: str
    title: str
    number: int = 1
    quick: int = 1
    connections: int = 1
    batch: int = 64
    payload: int = 32
    """Of a flood: commands in a request, and bytes of each."""

    @property
    def costs_memory(self) -> bool:
        """Whether it is enough to be seen. What one receiver costs that does not read is told with the memory."""
        return self.number > 1 or self.kind == "flood"

    @property
    def kind(self) -> str:
        """The name in bench/loadgen."""
        return self.name.removesuffix("_large")


BEHAVIOURS = (
    Behaviour("deaf", "a receiver that never reads"),
    Behaviour("slow", "a receiver that reads 1 KB/s"),
    Behaviour("flood", "a client that floods commands"),
    Behaviour("flood_large", "a client that floods commands of 60 KB", batch=16, payload=60_000),
    Behaviour("half_open", "5,000 streams without a first request", 5_000, 500, 50),
    Behaviour("half_connection", "5,000 connections that stop half way", 5_000, 500),
)


async def beside(context: Context, *, behaviour: Behaviour, envoy: bool, name: str) -> Run:
    """p99 of the eight in milliseconds without and with the hostile ones, and what the service grew by."""
    stage = context.platform
    target = stage.endpoints.envoy if envoy else stage.endpoints.service
    number = behaviour.quick if context.quick else behaviour.number
    async with stage.session(_PLAYERS + 1) as seats:
        playing = Job(
            "play",
            target,
            _PLAYERS if envoy else 2,
            streams=seats[:_PLAYERS],
            delivery=pb.DELIVERY_CLASS_RELIABLE,
            hertz=_HERTZ,
            returns=True,
        )
        worst = Job(
            "hostile",
            target,
            behaviour.connections,
            limit_seconds=_LIMIT_SECONDS,
            streams=seats[_PLAYERS:],
            delivery=pb.DELIVERY_CLASS_RELIABLE,
            batch=behaviour.batch,
            payload=behaviour.payload,
            behaviour=behaviour.kind,
            number=number,
        )
        async with running(playing) as players:
            await context.rest(context.warm_up)
            await players.mark()
            await context.rest(context.seconds)
            alone = await players.mark()
            held = megabytes(stage.pids["service"])
            before = snapshot({**stage.pids, "generator": players.pid})
            async with running(worst) as hostile:  # and their coming counts, too
                await context.rest(context.seconds)
                watched = {**stage.pids, "generator": players.pid, "hostile": hostile.pid}
                during, used = await players.mark(), usage(before, snapshot(watched))
                grown = megabytes(stage.pids["service"]) - held
                seen = await hostile.mark()
    ended = ", ".join(f"{why} {times}" for why, times in sorted((seen.ended or {}).items()))
    context.note(f"{seen.open} hostile clients at work, {seen.sent} commands sent; thrown out: {ended or 'none'}")
    # When nothing arrived at all, it took longer than was waited.
    p99 = during.latency.get("p99", context.seconds * 1e6)
    values = {
        f"hostile_{name}_alone": alone.latency["p99"] / 1e3,
        f"hostile_{name}_p99": p99 / 1e3,
        f"hostile_{name}": p99 / alone.latency["p99"],
        f"hostile_{name}_others": during.thrown_out,
    }
    if behaviour.costs_memory:
        values[f"hostile_{name}_memory"] = grown * 1e3 / number
    return Run(values, used, "", alone.failed + during.failed, alone.failure or during.failure)


def _scenario(behaviour: Behaviour, *, envoy: bool) -> Scenario:
    name = f"{behaviour.name}{'_envoy' if envoy else ''}"
    figures: tuple[Figure, ...] = (
        Figure(
            f"hostile_{name}_alone",
            f"p99 of the others before {behaviour.title}{', through Envoy' if envoy else ''}",
            "ms",
        ),
        Figure(f"hostile_{name}_p99", "… beside", "ms"),
        Figure(f"hostile_{name}", "… times as long", "times", most(_WITHIN)),
        Figure(f"hostile_{name}_others", "… others thrown out", "times", most(0)),
    )
    if behaviour.costs_memory:
        figures += (Figure(f"hostile_{name}_memory", "… memory of the service per hostile client", "KB"),)
    return Scenario(f"hostile_{name}", figures, partial(beside, behaviour=behaviour, envoy=envoy, name=name))


GROUP = Group(
    "hostile",
    f"Hostile participants, beside {_PLAYERS} players × {_HERTZ:g} Hz RELIABLE, default window, limits as shipped",
    tuple(_scenario(behaviour, envoy=envoy) for envoy in (False, True) for behaviour in BEHAVIOURS),
    on_stage=Limits.AS_SHIPPED,
)
