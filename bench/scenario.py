"""What a scenario is, and what it gets to work with.

A scenario is one kind of load and the figures that come out of it. A module in `bench/scenarios` holds a group of
them; `bench/scenarios/__init__.py` lists the groups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from bench.cpu import Usage, snapshot, usage
from bench.figures import Figure
from bench.generator import Job, Mark, running
from bench.stage import Stage

_STEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a scenario showed."""

    values: Mapping[str, float]
    """By name of figure, in its unit, or in µs of CPU where the unit is U."""
    used: Usage
    saturated: str = ""
    """The process that had to be busy all the time, if any."""
    failed: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What a run gets."""

    seconds: float
    warm_up: float
    quick: bool
    tell: Callable[[str], None]
    note: Callable[[str], None]
    stage: Stage | None = None

    @property
    def platform(self) -> Stage:
        """The platform under load."""
        if self.stage is None:
            raise AssertionError("this group runs without a platform of the bench")
        return self.stage

    async def load(self, job: Job, pids: Mapping[str, int]) -> tuple[Mark, Usage]:
        """Has a job sent, and looks at what it does once it is warm."""
        async with running(job) as generator:
            watched = {**pids, "generator": generator.pid}
            await self.rest(self.warm_up)
            await generator.mark()
            before = snapshot(watched)
            await self.rest(self.seconds)
            mark = await generator.mark()
            used = usage(before, snapshot(watched))
        return mark, used

    async def rest(self, seconds: float) -> None:
        """Waits, and shows that it does."""
        left = seconds
        while left > 0:
            self.tell(f"{left:.0f} s")
            await asyncio.sleep(min(_STEP_SECONDS, left))
            left -= _STEP_SECONDS


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load, and the figures that come out of it. `measure` is one run."""

    name: str
    figures: Sequence[Figure]
    measure: Callable[[Context], Awaitable[Run]]
    runs: int | None = None
    """How often at most, where more tells nothing."""


class Limits(Enum):
    """Rate limits, and limits per participant, of a platform under load."""

    LIFTED = "lifted"
    AS_SHIPPED = "as shipped"


@dataclass(frozen=True, slots=True)
class Group:
    """Scenarios that are run in turn, round after round."""

    name: str
    title: str
    """Of its table."""
    scenarios: Sequence[Scenario] = field(default=())
    on_stage: Limits | None = Limits.LIFTED
    """The platform they share, which the bench keeps running; None where they need none."""
