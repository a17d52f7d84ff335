"""The engine of a session alone, in memory: what is left when the transport costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bench.cpu import snapshot, usage
from bench.engine import LOADS, saturate
from bench.figures import Figure
from bench.scenario import Context, Group, Run, Scenario

_PLAYERS = 32
_COMMANDS, _COMMANDS_QUICK = 2_000, 200


async def engine(context: Context) -> Run:
    """All loads of `bench.engine`, in this process."""
    before = snapshot({})
    values = await asyncio.to_thread(_measure, _COMMANDS_QUICK if context.quick else _COMMANDS)
    return Run(values, usage(before, snapshot({})))


def _measure(commands: int) -> Mapping[str, float]:
    return {f"engine_{load.name}": saturate(load, _PLAYERS, commands).microseconds for load in LOADS}


GROUP = Group(
    "engine",
    "The engine of a session, in memory",
    (
        Scenario(
            "engine",
            tuple(
                Figure(f"engine_{load.name}", f"Engine in memory, 32 players: {load.title}", "µs/delivery")
                for load in LOADS
            ),
            engine,
        ),
    ),
    on_stage=None,
)
