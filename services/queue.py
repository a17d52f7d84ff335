"""`python -m services queue …`: tries a queue out before anybody waits in it.

queue simulate QUEUE TICKETS   plays a queue through over a population: waits, quality, fairness
queue population               writes a made-up population, as CSV

QUEUE is a file with the JSON form of `oofgg.v1.Queue`, as YAML or JSON. TICKETS is a CSV file with a row for each
player; its columns are enter_seconds, party, user, rating, roles, and ms:NAME, text:NAME, list:NAME, number:NAME
(docs/how-to/matchmaking.md).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from google.protobuf.json_format import ParseDict, ParseError

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.errors import InvalidArgument
from services.matchmaking.engine.checks import checked
from services.matchmaking.engine.queues import Queue
from services.matchmaking.messages import queue_of
from services.matchmaking.population import PopulationError, made_up, read
from services.matchmaking.simulator import Report, Spread, simulate

QUIET_SECONDS = 2.0
STEP_SECONDS = 1.0
STEP_SECONDS_IN_A_FILE = 10.0
LEAST_SHARE = 0.005


class QueueFileError(ValueError):
    """A file is not a queue; says what is wrong with it."""


def run(arguments: list[str]) -> int:
    """0 when it was played through, 1 when a file is not what it should be, 2 for wrong arguments."""
    options = _options(arguments)
    try:
        if options.command == "population":
            return _write_population(options)
        queue = read_queue(options.queue)
        with options.tickets.open(newline="") as lines:
            tickets = read(lines)
    except (OSError, QueueFileError, PopulationError, InvalidArgument) as error:
        print(str(error), file=sys.stderr)
        return 1
    progress = _Progress()
    report = simulate(queue, tickets, seed=options.seed, progress=progress)
    progress.clear()
    if options.json:
        print(json.dumps(report.numbers(), indent=2))
    else:
        print("\n".join(told(report)))
    return 0


def read_queue(path: Path) -> Queue:
    """The queue in a file; QueueFileError and InvalidArgument say what is wrong with it."""
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise QueueFileError(f"{path} is neither YAML nor JSON: {error}") from None
    if not isinstance(document, dict):
        raise QueueFileError(f"{path} is not a queue: it should have fields such as name and rules")
    try:
        message = ParseDict(document, pb.Queue())
    except ParseError as error:
        raise QueueFileError(f"{path} is not a queue: {error}") from None
    return checked(queue_of(message))


def told(report: Report) -> list[str]:
    """A report, to read."""
    tickets = (
        f"tickets    {report.tickets:,} of {report.players:,} players: {report.matched:,} matched, "
        f"{report.expired:,} expired, {sum(report.refused.values()):,} without a place"
    )
    lines = [
        tickets,
        *(f"           {count:,} ×  {reason}" for reason, count in report.refused.items()),
        f"matches    {report.matches:,}" + (f", with {report.bots:,} bots" if report.bots else ""),
        "",
        f"{'':<34}{'half within':>12}{'9 of 10':>9}{'99 %':>9}{'all':>9}",
        _line("wait, s", report.waits),
        _line("rating, best to worst of a match", report.rating_spread),
        _line("sum of ratings between teams", report.team_difference),
        _line("longest latency of a match, ms", report.worst_latency),
    ]
    if report.first_choice is not None:
        lines.append(f"{'role of first choice':<34}{report.first_choice:>12.0%}")
    if len(report.by_rating) > 1:
        lines += ["", "wait by rating, s"]
        lines += [_line(f"  {low:.1f} to {high:.1f}", spread) for low, high, spread in report.by_rating]
    if len(report.by_size) > 1:
        lines += ["", "wait by size of the party, s"]
        lines += [
            _line(f"  {size} ({expired:,} expired)" if expired else f"  {size}", spread)
            for size, (expired, spread) in report.by_size.items()
        ]
    if report.kept_by:
        lines += ["", "what kept others from those who waited longest"]
        lines += [f"  {name:<32}{share:>12.0%}" for name, share in report.kept_by.items() if share >= LEAST_SHARE]
    return [line for line in lines if not line.endswith("\0")]


def _line(name: str, spread: Spread | None) -> str:
    if spread is None:
        return f"{name}\0"
    return f"{name:<34}{spread.p50:>12.1f}{spread.p90:>9.1f}{spread.p99:>9.1f}{spread.most:>9.1f}"


def _write_population(options: argparse.Namespace) -> int:
    rows = made_up(
        players=options.players, seconds=options.seconds, largest_party=options.largest_party, seed=options.seed
    )
    if options.output is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        with options.output.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services queue", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    played = commands.add_parser("simulate", help="play a queue through over a population")
    played.add_argument("queue", type=Path, help="the queue: YAML or JSON")
    played.add_argument("tickets", type=Path, help="the population: CSV")
    played.add_argument("--seed", type=int, default=0, help="of what is drawn by lot (default: %(default)s)")
    played.add_argument("--json", action="store_true", help="print the report as JSON")
    made = commands.add_parser("population", help="write a made-up population")
    made.add_argument("--players", type=int, default=2_000, help="how many (default: %(default)s)")
    made.add_argument(
        "--seconds", type=float, default=600.0, help="the time over which they come (default: %(default)s)"
    )
    made.add_argument("--largest-party", type=int, default=1, help="most players of a party (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="another seed, other players (default: %(default)s)")
    made.add_argument("--output", type=Path, help="the file to write (default: standard output)")
    return parser.parse_args(arguments)


class _Progress:
    """Tells how far it is, when it takes longer than two seconds: over one line on a terminal, else in lines."""

    def __init__(self) -> None:
        self._next = time.monotonic() + QUIET_SECONDS
        self._shown = False

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (STEP_SECONDS if sys.stderr.isatty() else STEP_SECONDS_IN_A_FILE)
        self._shown = True
        if sys.stderr.isatty():
            print(f"\r\x1b[K{share:.0%} of the tickets", end="", file=sys.stderr, flush=True)
        else:
            print(f"{share:.0%} of the tickets", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the line away."""
        if self._shown and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
