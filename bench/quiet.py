"""When a run counts: other load, and load that was too small, spoil it.

A run is spoiled when, over its length,
- the rest of the machine used more than `tolerance` cores (what the host takes away included), or
- a server that was to be saturated had time left while nothing else kept it from working: then the generator of the
  load was measured, or
- calls failed.

A spoiled run is done again. When it stays spoiled, its figures are missing, and `make bench` fails.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

from bench.cpu import Usage, machine_seconds

# A server is saturated from here on, in cores. The Python services have one busy thread.
SATURATED_CORES = 0.85
# The machine is full when this much of all its cores is used.
FULL_SHARE = 0.93


@dataclass(frozen=True, slots=True)
class Rule:
    """What is tolerated, and how long to wait for it."""

    tolerance: float
    patience: float
    look_seconds: float = 0.5
    """How long it measures what else the machine does, before each run."""

    def verdict(self, used: Usage, *, saturated: str, failed: int, failure: str = "") -> str:
        """Why a run does not count; empty when it does. `saturated` names the process that must be, or none."""
        if failed:
            return f"{failed} calls failed: {failure}"
        if used.other > self.tolerance:
            return f"other load used {used.other:.2f} cores"
        if saturated and used.cores[saturated] < SATURATED_CORES and not _full(used):
            return f"{saturated} was not saturated: it used {used.cores[saturated]:.2f} cores"
        return ""

    async def wait(self, tell: Callable[[str], None]) -> None:
        """Waits until the machine is quiet, at most for the patience."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience
        while True:
            before, began = machine_seconds(), loop.time()
            await asyncio.sleep(self.look_seconds)
            busy = (machine_seconds() - before) / (loop.time() - began)
            if busy <= self.tolerance or loop.time() >= until:
                return
            tell(f"waiting for a quiet machine: {busy:.2f} cores are busy")


def _full(used: Usage) -> bool:
    return used.other + sum(used.cores.values()) > FULL_SHARE * (os.cpu_count() or 1)
