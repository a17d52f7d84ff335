"""`python -m services migrate auth game …|all`: brings the schemas up to date and exits."""

from __future__ import annotations

import argparse
import asyncio

from pkg.db.migrations import migrate, read_migrations
from pkg.telemetry.logs import configure_logging
from services.serve import SERVICES, definitions, load_settings


def run(arguments: list[str]) -> int:
    """Applies what is missing. 0 when all schemas are up to date, 2 for wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m services migrate", description=__doc__)
    parser.add_argument("service", nargs="+", choices=[*SERVICES, "all"])
    names = parser.parse_args(arguments).service
    settings = load_settings()
    if settings is None:
        return 2
    configure_logging(settings.log_level, settings.log_format, node=settings.node)
    for service in definitions(names):
        if service.migrations is not None:
            asyncio.run(migrate(settings.postgres_url, service.name, read_migrations(service.migrations)))
    return 0
