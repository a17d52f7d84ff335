"""`python -m services serve auth game …|all [--migrate]`: runs services in this process."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import sys
from importlib import import_module
from pathlib import Path

import uvloop
from pydantic import ValidationError

from pkg.config import Settings
from pkg.runtime.addresses import CannotStart
from pkg.runtime.host import Host, ServiceDefinition
from pkg.runtime.serve import serve
from pkg.telemetry.logs import configure_logging, get_logger

# New objects after which the collector looks at those that are new.
_YOUNG_OBJECTS = 20_000

_log = get_logger(__name__)

SERVICES = ("catalog", "auth", "game", "scoring", "matchmaking", "edge")


def run(arguments: list[str]) -> int:
    """Serves until told to stop. 0 after a clean stop, 1 after a fault, 2 for wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m services serve", description=__doc__)
    parser.add_argument("service", nargs="+", choices=[*SERVICES, "all"])
    parser.add_argument("--migrate", action="store_true", help="apply database migrations first")
    options = parser.parse_args(arguments)
    settings = load_settings(migrate=True) if options.migrate else load_settings()
    if settings is None:
        return 2
    configure_logging(settings.log_level, settings.log_format, node=settings.node)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve_until_signal(settings, definitions(options.service)))
    except CannotStart as error:
        _log.error("the process cannot start", cause=str(error))
        return 1
    except Exception as error:
        _log.exception("the process stops", cause=f"{type(error).__name__}: {error}")
        return 1
    return 0


async def _serve_until_signal(settings: Settings, services: list[ServiceDefinition]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, services, stop, _keep_what_is_there)


def _keep_what_is_there(_: Host) -> None:
    """What was made at the start stays. Each full round of the collector would walk over all of it, and stall every
    stream for tens of milliseconds."""
    gc.collect()
    gc.freeze()
    # A call makes some hundred objects, nearly all of which are freed by counting. Looking for cycles after every 700
    # of them costs 6 % of a busy process.
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)


def definitions(names: list[str]) -> list[ServiceDefinition]:
    """The services of these names; all of them for `all`."""
    chosen = SERVICES if "all" in names else [name for name in SERVICES if name in names]
    return [_definition(name) for name in chosen]


def _definition(name: str) -> ServiceDefinition:
    app = import_module(f"services.{name}.app").app
    migrations = Path(__file__).parent / name / "migrations"
    return ServiceDefinition(name, app, migrations if migrations.is_dir() else None)


def load_settings(**overrides: object) -> Settings | None:
    """The settings of the environment; None after saying on standard error what is wrong with them."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        for problem in error.errors():
            name = f"OOFGG_{problem['loc'][0]}".upper() if problem["loc"] else ""
            print(f"settings: {name} {problem['msg']}", file=sys.stderr)
        return None
