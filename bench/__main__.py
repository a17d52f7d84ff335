"""`make bench`: measures the platform and writes bench/results/latest.json and docs/performance.md.

Exit code: 0 when every figure was taken, 1 when one is missing, 2 when something that is needed is not there, 130 when
it was asked to end.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from bench import page
from bench.generator import PROGRAM, ROOT, BenchError, build
from bench.progress import Progress
from bench.quiet import Rule
from bench.results import LATEST, in_order, read, results, write
from bench.runner import Plan, Runner
from bench.scenario import Group, Scenario
from bench.scenarios import GROUPS
from bench.scenarios.unary import ECHO

_QUICK_OUTPUT = ROOT / "build" / "bench.json"


def main(arguments: list[str]) -> int:
    """Measures what was asked for; returns the exit code."""
    options = _options(arguments)
    if options.page:
        page.write(read(LATEST))
        return 0
    groups = _chosen(options.only)
    plan, rule = _plan(options)
    output = options.output or (_QUICK_OUTPUT if options.quick else LATEST)
    try:
        document = asyncio.run(_measure(groups, plan, rule, built=options.built, before=read(output)))
    except BenchError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except asyncio.CancelledError:
        print("\nended; nothing was written", file=sys.stderr)
        return 130
    write(output, document)
    print(f"\n{page.table(document)}\n{output}")
    if output == LATEST:
        page.write(document)
    absent = [name for name in _names(groups) if document["figures"][name].get("missing")]
    for name in absent:
        print(f"missing: {name}: {document['figures'][name]['missing']}", file=sys.stderr)
    return 1 if absent and not options.allow_missing else 0


async def _measure(
    groups: Sequence[Group], plan: Plan, rule: Rule, *, built: bool, before: dict[str, Any]
) -> dict[str, Any]:
    progress = Progress()
    # Asked to end, it takes down what it has started.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, cast("asyncio.Task[Any]", asyncio.current_task()).cancel)
    if not built or not PROGRAM.exists():
        progress.note("the load generator is built")
        await build()
    findings = await Runner(plan, rule, progress).run(groups)
    return in_order(results(groups, findings, plan, rule, before), GROUPS)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a second for each scenario: shows that all of it runs")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="groups or scenarios; others stay as they are"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each scenario (default: 3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a run (default: 5)")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds of load before it counts (default: 2)")
    parser.add_argument("--tolerance", type=float, default=0.15, metavar="CORES",
                        help="other load that spoils no run (default: 0.15; inf takes every run)")  # fmt: skip
    parser.add_argument("--attempts", type=int, default=3, help="how often a spoiled run is tried (default: 3)")
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds to wait for a quiet machine (default: 30)"
    )
    parser.add_argument("--allow-missing", action="store_true", help="exit 0 although a figure is missing")
    parser.add_argument("--output", type=Path, help="where to write (default: bench/results/latest.json)")
    parser.add_argument("--built", action="store_true", help="take build/loadgen as it is")
    parser.add_argument("--page", action="store_true", help="measure nothing; write docs/performance.md again")
    return parser.parse_args(arguments)


def _plan(options: argparse.Namespace) -> tuple[Plan, Rule]:
    if options.quick:
        return Plan(1, 2, 1.0, 0.5, quick=True), Rule(math.inf, 0.0)
    plan = Plan(options.runs, options.attempts, options.seconds, options.warm_up, quick=False)
    return plan, Rule(options.tolerance, options.patience)


def _chosen(names: Sequence[str]) -> list[Group]:
    """The groups and scenarios of these names. What is compared with U brings the echo along."""
    if unknown := set(names) - {group.name for group in GROUPS} - {s.name for group in GROUPS for s in group.scenarios}:
        raise SystemExit(f"there is no group or scenario {', '.join(sorted(unknown))}")
    chosen = []
    for group in GROUPS:
        kept = [s for s in group.scenarios if not names or group.name in names or s.name in names]
        if kept:
            echo = _echo(group, kept)
            chosen.append(replace(group, scenarios=[*echo, *kept, *echo]))
    return chosen


def _echo(group: Group, kept: Sequence[Scenario]) -> list[Scenario]:
    return [scenario for scenario in group.scenarios if scenario.name == ECHO and scenario not in kept][:1]


def _names(groups: Sequence[Group]) -> list[str]:
    return [figure.name for group in groups for scenario in group.scenarios for figure in scenario.figures]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
