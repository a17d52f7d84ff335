"""Fixtures for every test."""

import os
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from pkg.testing.backends import (
    _redis_numbers,
    broker,
    kafka_bootstrap,
    postgres_schemas,
    postgres_server,
    postgres_url,
    redis_server_url,
    redis_url,
    start_backend,
    topic_prefix,
)

__all__ = [
    "_redis_numbers",
    "broker",
    "kafka_bootstrap",
    "postgres_schemas",
    "postgres_server",
    "postgres_url",
    "redis_server_url",
    "redis_url",
    "start_backend",
    "topic_prefix",
]

# Plain clients of tests, curl among them, reach this machine directly. That ours do without this is tested with it
# taken away (tests/integration/sdk/test_proxy.py).
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "localhost,127.0.0.1,::1")))

# Tracebacks in colours and frames take a second each.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# A busy machine is slow, not wrong.
settings.register_profile("oofgg", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oofgg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka",
        choices=["embedded", "apache"],
        default="embedded",
        help="the broker that tests run with: the embedded platform's, or Apache Kafka (see `make test-kafka`)",
    )


# Directories whose files share something costly that is made once in a process: an image, a platform.
TOGETHER = ("tests/compose/", "tests/security/", "tests/e2e/")
# These start platforms of their own.
ALONE = ("tests/e2e/test_backup.py", "tests/e2e/test_demo.py", "tests/e2e/test_faults.py", "tests/e2e/test_traces.py")


class ByWhatIsShared(LoadScopeScheduling):
    """Spreads tests over processes so that those which share something costly run in one of them.

    Files are handed out in the order in which they are collected. xdist's own `loadgroup` does nothing with pytest 9.2,
    whose node ids cannot be extended any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in ALONE:
            return file
        return next((directory for directory in TOGETHER if file.startswith(directory)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByWhatIsShared:
    return ByWhatIsShared(config, log)
