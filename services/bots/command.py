"""The command line of the bots."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import oofgg
from services.bots import load
from services.bots.load import CannotRun
from services.bots.payload import SMALLEST
from services.bots.plan import DEFAULT_MIX, Plan, parse_mix
from services.bots.report import Report

HELD: Final = 0
BROKEN: Final = 1
WRONG_USAGE: Final = 2
COULD_NOT_RUN: Final = 3
_PASSWORD: Final = "OOFGG_BOTS_PASSWORD"  # noqa: S105

_MOST_PLAYERS: Final = 2_000
_MOST_PAYLOAD: Final = 64 * 1024
_EPILOG: Final = f"""\
exit codes: {HELD} every promise held; {BROKEN} one was broken, which is named; {WRONG_USAGE} wrong usage;
{COULD_NOT_RUN} the load could not be run, for instance because the target cannot be reached.
The password of --developer is read from {_PASSWORD}."""


def run(arguments: list[str]) -> int:
    """Plays and judges; returns the exit code."""
    plan = parse(arguments)
    report = Report(plan.seed, plan.players + plan.spectators, plan.sessions)
    try:
        asyncio.run(load.run(plan, report))
    except KeyboardInterrupt:
        return 130
    except (CannotRun, oofgg.OofggError, TimeoutError, OSError) as error:
        report.exit_code = COULD_NOT_RUN
        print(f"\ncould not run: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    except Exception:  # a mistake here must not look like a broken promise
        report.exit_code = COULD_NOT_RUN
        traceback.print_exc()
    else:
        report.exit_code = BROKEN if report.breaches else HELD
        report.summary()
    if plan.report is not None:
        report.write(plan.report)
    return report.exit_code


def parse(arguments: list[str]) -> Plan:
    """What was asked for. Ends the process with WRONG_USAGE when that makes no sense."""
    parser = _parser()
    told = parser.parse_args(arguments)
    if told.players % told.session_size:
        parser.error("--players is a multiple of --session-size")
    if told.droppers + told.slow > told.players:
        parser.error("more players misbehave (--droppers, --slow) than there are")
    if told.developer and told.game:
        parser.error("--developer makes a game, --game is there already: only one of them")
    if told.tls_ca is not None and not told.tls_ca.is_file():
        parser.error(f"--tls-ca: there is no file {told.tls_ca}")
    if told.report is not None and not told.report.resolve().parent.is_dir():
        parser.error(f"--report: there is no directory {told.report.resolve().parent}")
    values = vars(told) | {"password": os.environ.get(_PASSWORD, ""), "tls": told.tls or told.tls_ca is not None}
    if told.developer and not values["password"]:
        parser.error(f"--developer needs the account's password in {_PASSWORD}")
    if told.seed is None:
        values["seed"] = random.SystemRandom().randrange(1 << 32)
    return Plan(**values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services bots",
        description="Players that load a platform and check, while they play, what it promises.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--target", default="localhost:8080", help="host:port of the platform's Envoy (%(default)s)")
    add("--players", type=_count(2, _MOST_PLAYERS), default=8, help="how many players (%(default)s)")
    add("--session-size", type=_count(1, 512), default=4, help="players in a session (%(default)s)")
    add(
        "--spectators", type=_count(0, _MOST_PLAYERS), default=0, help="how many watch, over all sessions (%(default)s)"
    )
    add("--rate", type=_number(0.01, 1_000), default=5.0, help="commands a second and player (%(default)s)")
    add("--seconds", type=_number(0.1, 7 * 86_400), default=10.0, help="how long they play (%(default)s)")
    add("--mix", type=_mix, default=DEFAULT_MIX, metavar="SHARES", help="shares of the delivery classes (%(default)s)")
    add("--payload", type=_count(SMALLEST, _MOST_PAYLOAD), default=64, help="bytes of a command (%(default)s)")
    add("--keys", type=_count(1, 64), default=2, help="LATEST keys of a player (%(default)s)")
    add("--flush-window-ms", type=_count(0, 1_000), help="flush window of the sessions; the platform's own otherwise")
    add("--droppers", type=_count(0, _MOST_PLAYERS), default=0, help="players that cut their stream and come back")
    add("--slow", type=_count(0, _MOST_PLAYERS), default=0, help="players that stop reading now and then")
    add("--reconnect-for", type=_number(1, 3_600), default=60.0, help="seconds without a stream until one gives up")
    add("--max-outage", type=_number(0, 3_600), help="longest seconds from sending a RELIABLE command to seeing it")
    add("--allow-reset", action="store_true", help="a LogReset is no breach: Redis may lose what it had confirmed")
    add("--seed", type=int, help="repeats the bots' choices; random otherwise")
    add("--game", default="", metavar="ID", help="game to play in; otherwise one is made")
    add("--developer", default="", metavar="NAME", help="account that makes the game; otherwise one is registered")
    add("--tls", action="store_true", help="encrypt the connection")
    add("--tls-ca", type=Path, metavar="FILE", help="certificates to trust (PEM); implies --tls")
    add("--report", type=Path, metavar="FILE", help="write the result as JSON")
    return parser


def _count(least: int, most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"is from {least} to {most}")
        return value

    return count


def _number(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"is from {least} to {most}")
        return value

    return number


def _mix(text: str) -> object:
    try:
        return parse_mix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"such as {DEFAULT_MIX}: {error}") from None
