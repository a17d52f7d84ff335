"""Runs scenarios round after round, and keeps the runs that count."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import psutil

from bench.figures import PER_U, Figure, Measured
from bench.generator import BenchError
from bench.progress import Progress
from bench.quiet import Rule
from bench.scenario import Context, Group, Limits, Run, Scenario
from bench.scenarios.unary import ECHO
from bench.stage import Stage, open_stage


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    runs: int
    attempts: int
    """How often a run is tried before its round goes without it."""
    seconds: float
    warm_up: float
    quick: bool


@dataclass(slots=True)
class Findings:
    """What was measured, by name of figure."""

    runs: dict[str, list[Measured]] = field(default_factory=lambda: defaultdict(list))
    wanted: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Why a figure's last run did not count."""
    u: list[float] = field(default_factory=list)

    def enough(self, figure: Figure) -> bool:
        """Whether more than half of a figure's runs counted."""
        return 2 * len(self.runs[figure.name]) > self.wanted[figure.name]


class Runner:
    """Measures groups of scenarios."""

    def __init__(self, plan: Plan, rule: Rule, progress: Progress) -> None:
        self._plan = plan
        self._rule = rule
        self._progress = progress
        self._findings = Findings()

    async def run(self, groups: Sequence[Group]) -> Findings:
        """All of them: first those without a platform of the bench, then those that share one, by its limits."""
        for group in groups:
            if group.on_stage is None:
                await self._rounds(group, None)
        for limits in Limits:
            if on_stage := [group for group in groups if group.on_stage is limits]:
                self._progress.note(f"the platform under load starts, its limits {limits.value}")
                async with open_stage(lifted=limits is Limits.LIFTED) as stage:
                    for group in on_stage:
                        await self._rounds(group, stage)
        return self._findings

    async def _rounds(self, group: Group, stage: Stage | None) -> None:
        for number in range(1, self._plan.runs + 1):
            kept: list[tuple[Scenario, Run]] = []
            echoes: list[float] = []
            for scenario in group.scenarios:
                wanted = min(self._plan.runs, scenario.runs or self._plan.runs)
                self._findings.wanted |= {figure.name: wanted for figure in scenario.figures}
                if number > wanted:
                    continue
                label = f"{group.name}, round {number} of {self._plan.runs}: {scenario.name}"
                run = await self._attempt(scenario, label, stage)
                if run is None:
                    continue
                if scenario.name == ECHO:
                    echoes.append(run.values[ECHO])
                else:
                    kept.append((scenario, run))
            self._findings.u += echoes
            # What is compared with U is compared with the echoes of its own round, or not at all.
            u = statistics.fmean(echoes) if echoes else None
            for scenario, run in kept:
                self._keep(scenario, run, u)

    def _keep(self, scenario: Scenario, run: Run, u: float | None) -> None:
        for figure in scenario.figures:
            if figure.unit == PER_U and u is None:
                self._findings.reasons[figure.name] = "there was no U in this round"
                continue
            measured = Measured(run.values[figure.name], run.used.cores, run.used.other, u)
            self._findings.runs[figure.name].append(measured)

    async def _attempt(self, scenario: Scenario, label: str, stage: Stage | None) -> Run | None:
        context = Context(
            seconds=self._plan.seconds,
            warm_up=self._plan.warm_up,
            quick=self._plan.quick,
            tell=lambda what: self._progress.now(f"{label}  {what}"),
            note=lambda what: self._progress.note(f"{label}  {what}"),
            stage=stage,
        )
        for attempt in range(1, self._plan.attempts + 1):
            await self._rule.wait(context.tell)
            try:
                run = await scenario.measure(context)
                reason = self._rule.verdict(run.used, saturated=run.saturated, failed=run.failed, failure=run.failure)
            except (BenchError, grpc.aio.AioRpcError, psutil.NoSuchProcess, TimeoutError) as error:
                await asyncio.sleep(0)  # a cancellation goes first
                run, reason = None, f"{type(error).__name__}: {error}"
            if run is not None and not reason:
                self._progress.note(f"{label}  {_shown(scenario, run)}")
                return run
            for figure in scenario.figures:
                self._findings.reasons[figure.name] = reason
            self._progress.note(f"{label}  attempt {attempt} of {self._plan.attempts} is spoiled: {reason}")
        return None


def _shown(scenario: Scenario, run: Run) -> str:
    names = [figure.name for figure in scenario.figures] or list(run.values)
    values = ", ".join(f"{run.values[name]:,.4g}" for name in names)
    cores = ", ".join(f"{name} {used:.2f}" for name, used in run.used.cores.items() if used >= 0.005)
    return f"{values}   [{cores + ', ' if cores else ''}other {run.used.other:.2f}]"
