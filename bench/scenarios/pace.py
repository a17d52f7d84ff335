"""Fan-out at a game's pace: what a delivery costs, and how long an event is under way.

The time begins when the command was to be sent by its schedule, so a sender that is held up counts too. Everybody
hears everybody, so deliveries grow with the square of the players: 128 players at 20 Hz are 327,000 a second, and 512
would be five million, which nobody has processors for. So large sessions are loaded at the rates of `LOADS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from bench.figures import Bound, Figure, most
from bench.generator import Job
from bench.platform import SERVER
from bench.scenario import Context, Group, Run, Scenario
from bench.scenarios.relay import CONNECTIONS, PLAYERS_QUICK
from oofgg.v1 import session_pb2 as pb

DEFAULT_WINDOW_MS = 20
# In a second, everybody is to be heard.
HERTZ_QUICK = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """Players of one session that each send at a rate, through a flush window (None: the default one)."""

    players: int
    hertz: float
    window_ms: int | None
    delivery: pb.DeliveryClass.ValueType
    p99: Bound | None = None

    @property
    def name(self) -> str:
        """`32_20hz_window_default`."""
        rate = f"{self.hertz:g}".replace(".", "_")
        return f"{self.players}_{rate}hz_window_{'default' if self.window_ms is None else self.window_ms}"

    @property
    def title(self) -> str:
        """`32 players × 20 Hz LATEST, default window`."""
        kind = "RELIABLE" if self.delivery == pb.DELIVERY_CLASS_RELIABLE else "LATEST"
        window = "default window" if self.window_ms is None else f"window {self.window_ms}"
        return f"{self.players} players × {self.hertz:g} Hz {kind}, {window}"


# Without a window each event is a write of its own for each player, about 40 µs: one process has 25,000 of them a
# second. With the default one, a player is written to at most 50 times a second, whatever the others send; for 512
# players that is too often again, so they take a longer one.
LOADS = (
    Load(8, 20, 0, pb.DELIVERY_CLASS_RELIABLE, most(5)),
    Load(32, 20, 0, pb.DELIVERY_CLASS_RELIABLE),
    Load(128, 1, 0, pb.DELIVERY_CLASS_RELIABLE),
    Load(512, 0.05, 0, pb.DELIVERY_CLASS_RELIABLE),
    Load(8, 20, None, pb.DELIVERY_CLASS_LATEST),
    Load(32, 20, None, pb.DELIVERY_CLASS_LATEST, most(DEFAULT_WINDOW_MS + 10)),
    Load(128, 5, None, pb.DELIVERY_CLASS_LATEST),
    Load(512, 1, 200, pb.DELIVERY_CLASS_LATEST),
)
_COST_BOUNDS = {"32_20hz_window_default_envoy": most(16)}


async def measure(context: Context, *, load: Load, envoy: bool, name: str) -> Run:
    """Latencies in milliseconds, and the server's CPU per delivery."""
    stage = context.platform
    players = min(load.players, PLAYERS_QUICK) if context.quick else load.players
    async with stage.session(players, window_ms=load.window_ms) as seats:
        job = Job(
            "play",
            stage.endpoints.envoy if envoy else stage.endpoints.service,
            players if envoy else CONNECTIONS,
            streams=seats,
            delivery=load.delivery,
            hertz=HERTZ_QUICK if context.quick else load.hertz,
        )
        mark, used = await context.load(job, stage.pids)
    names = (*SERVER, "envoy") if envoy else SERVER
    values = {
        f"cost_{name}": used.core_seconds(*names) / mark.done * 1e6,
        f"latency_{name}_p50": mark.latency["p50"] / 1e3,
        f"latency_{name}_p99": mark.latency["p99"] / 1e3,
    }
    return Run(values, used, "", mark.failed, mark.failure)


def _scenario(load: Load, *, envoy: bool) -> Scenario:
    name = f"{load.name}{'_envoy' if envoy else ''}"
    title = load.title + (", through Envoy" if envoy else "")
    figures = (
        Figure(f"cost_{name}", f"{title}{' with its CPU' if envoy else ''}", "µs/delivery", _COST_BOUNDS.get(name)),
        Figure(f"latency_{name}_p50", "… latency, p50", "ms"),
        Figure(f"latency_{name}_p99", "… latency, p99", "ms", load.p99),
    )
    return Scenario(f"pace_{name}", figures, partial(measure, load=load, envoy=envoy, name=name))


GROUP = Group(
    "pace",
    "Fan-out at a game's pace",
    tuple(_scenario(load, envoy=envoy) for envoy in (False, True) for load in LOADS),
)
