"""Start-up and memory of the embedded platform, as `make up` starts it."""

from __future__ import annotations

from bench.cpu import Usage, megabytes, snapshot, usage
from bench.figures import Figure, most
from bench.platform import PROGRAMS, Platform, scratch
from bench.scenario import Context, Group, Run, Scenario

_REST_SECONDS, _REST_QUICK = 10.0, 2.0


async def start(context: Context) -> Run:
    """The first start on an empty directory, the second one, and what all of it holds at rest."""
    with scratch() as data_dir:
        platform = Platform(data_dir)
        try:
            cold, used_cold = await _start(context, platform, "cold")
            await platform.stop()
            warm, used_warm = await _start(context, platform, "warm")
            await context.rest(_REST_QUICK if context.quick else _REST_SECONDS)
            memory = {name: megabytes(pid) for name, pid in platform.pids.items()}
            memory["supervisor"] = megabytes(platform.supervisor) - sum(memory.values())
        finally:
            await platform.stop()
    values = {
        "start_cold": cold,
        "start_warm": warm,
        "memory_idle": sum(memory.values()),
        **{f"memory_idle_{name}": held for name, held in memory.items()},
    }
    spoilt = max(used_cold, used_warm, key=lambda used: used.other)
    return Run(values, spoilt)


async def _start(context: Context, platform: Platform, kind: str) -> tuple[float, Usage]:
    context.tell(f"{kind} start")
    before = snapshot({})
    seconds = await platform.start(lifted=False)
    return seconds, usage(before, snapshot({}))


GROUP = Group(
    "startup",
    "The embedded platform",
    (
        Scenario(
            "startup",
            (
                Figure("start_cold", "First start of the embedded platform", "s", most(10)),
                Figure("start_warm", "Warm start", "s", most(5)),
                Figure("memory_idle", "Idle memory of the whole platform", "MB", most(350)),
                *(Figure(f"memory_idle_{name}", f"… {name}", "MB") for name in (*PROGRAMS, "supervisor")),
            ),
            start,
        ),
    ),
    on_stage=None,
)
