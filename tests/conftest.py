"""Fixtures for every test."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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

# A busy machine is slow, not wrong.
settings.register_profile("oofgg", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oofgg")

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka",
        choices=["embedded", "apache"],
        default="embedded",
        help="the broker that tests run with: the embedded platform's, or Apache Kafka (see `make test-kafka`)",
    )


@pytest.hookimpl(tryfirst=True)  # before the plugin that looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `make test`, which runs in two processes: what shares something costly runs in one of them.

    That is a file, and for the image and the containers made of it, all of their tests.
    """
    for item in items:
        file = item.path.relative_to(HERE) if item.path.is_relative_to(HERE) else item.path
        item.add_marker(pytest.mark.xdist_group("compose" if file.parts[0] == "compose" else str(file)))
