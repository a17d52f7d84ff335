"""Fixtures with the real backends: started once per test session, at first use, unless their URL is in the environment.

- `postgres_url`: a database of its own for the test, cloned from a template with the migrations of `postgres_schemas`.
- `redis_url`: an empty Redis database, shared with no other test at the same time.
- `kafka_bootstrap` and `topic_prefix`: the broker, and a prefix no other test uses; `broker` is one that the test may
  crash. `--kafka apache` has both be Apache Kafka.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import asyncpg
import pytest
import redis.asyncio

from pkg.db.migrations import migrate, read_migrations
from pkg.embedded import Options, Platform
from pkg.testing.brokers import ApacheBroker, Broker, EmbeddedBroker, kafka_missing
from pkg.testing.directories import data_directory

ROOT = Path(__file__).parents[2]
REDIS_DATABASES = 15
TIMEOUT = 30.0
# A test's data need not survive a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


def replace_database(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    parts = urlsplit(url)
    replaced = urlunsplit(parts._replace(path=f"/{name}"))
    # urlsplit drops the empty host of a Unix socket's URL only where there is no user; keep it a URL with authority.
    return replaced if replaced.startswith("postgres") else url


def replace_redis_database(url: str, number: int) -> str:
    """The URL of another database of the same server."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        query = {**{key: values[0] for key, values in parse_qs(parts.query).items()}, "db": str(number)}
        return f"unix://{parts.path}?{urlencode(query)}"
    return urlunsplit(parts._replace(path=f"/{number}"))


class PostgresServer:
    """A server on which databases come and go."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._templates: dict[tuple[str, ...], str] = {}

    async def template(self, schemas: tuple[str, ...]) -> str:
        """Name of a database in which the migrations of these services are applied."""
        if schemas not in self._templates:
            name = f"template_{uuid.uuid4().hex[:12]}"
            await self.execute(f'create database "{name}"')
            self._templates[schemas] = name
            for schema in schemas:
                folder = ROOT / "services" / schema / "migrations"
                await migrate(replace_database(self.url, name), schema, read_migrations(folder))
        return self._templates[schemas]

    async def execute(self, statement: str) -> None:
        """Runs a statement outside of any transaction, in the server's own database."""
        connection = await asyncpg.connect(self.url, timeout=TIMEOUT, command_timeout=TIMEOUT)
        try:
            await connection.execute(statement)
        finally:
            await connection.close(timeout=TIMEOUT)

    async def drop_templates(self) -> None:
        for name in self._templates.values():
            await self.execute(f'drop database if exists "{name}" with (force)')
        self._templates.clear()


Start = Callable[[str], Platform]


@pytest.fixture(scope="session")
def start_backend() -> Iterator[Start]:
    """Starts one backend by name, in a directory that is short enough for sockets and removed at the end."""
    started: list[Platform] = []

    def start(name: str) -> Platform:
        directory = data_directory()
        environment = {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_BOOTSTRAP"))}
        platform = Platform(Options(directory, backends=(name,), environment=environment, postgres_settings=FAST))
        platform.start()
        started.append(platform)
        return platform

    yield start
    for platform in started:
        platform.stop()
        shutil.rmtree(platform.data_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(start_backend: Start) -> Iterator[PostgresServer]:
    """The PostgreSQL of the session."""
    server = PostgresServer(os.environ.get("OOFGG_POSTGRES_URL") or start_backend("postgres").endpoints.postgres_url)
    yield server
    asyncio.run(server.drop_templates())


@pytest.fixture(scope="session")
def redis_server_url(start_backend: Start) -> str:
    """The Valkey of the session."""
    return os.environ.get("OOFGG_REDIS_URL") or start_backend("valkey").endpoints.redis_url


def require_apache_kafka() -> None:
    """Skips the test where Apache Kafka is not to be had."""
    if missing := kafka_missing():
        pytest.skip(missing)


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> Iterator[str]:
    """host:port of the session's broker."""
    if given := os.environ.get("OOFGG_KAFKA_BOOTSTRAP"):
        yield given
        return
    if request.config.getoption("--kafka") == "embedded":
        start: Start = request.getfixturevalue("start_backend")
        yield start("kafka").endpoints.kafka_bootstrap
        return
    require_apache_kafka()
    directory = data_directory()
    broker = ApacheBroker(directory)
    broker.start()
    yield broker.bootstrap
    broker.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A running broker that this test alone uses, and may crash."""
    chosen: Broker
    if request.config.getoption("--kafka") == "embedded":
        chosen = EmbeddedBroker(tmp_path / "broker")
    else:
        require_apache_kafka()
        chosen = ApacheBroker(tmp_path / "broker")
    chosen.start()
    yield chosen
    chosen.stop()


@pytest.fixture
def postgres_schemas() -> tuple[str, ...]:
    """The services whose migrations the test's database has: all. Override it beside tests that need fewer."""
    return tuple(sorted(folder.parent.name for folder in (ROOT / "services").glob("*/migrations")))


@pytest.fixture
async def postgres_url(postgres_server: PostgresServer, postgres_schemas: tuple[str, ...]) -> AsyncIterator[str]:
    """URL of a database that only this test uses."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    template = await postgres_server.template(postgres_schemas)
    await postgres_server.execute(f'create database "{name}" template "{template}"')
    yield replace_database(postgres_server.url, name)
    await postgres_server.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture(scope="session")
def _redis_numbers() -> Iterator[int]:
    def cycle() -> Iterator[int]:
        while True:
            yield from range(1, REDIS_DATABASES + 1)

    return cycle()


@pytest.fixture
async def redis_url(redis_server_url: str, _redis_numbers: Iterator[int]) -> AsyncIterator[str]:
    """URL of an empty Redis database."""
    url = replace_redis_database(redis_server_url, next(_redis_numbers))
    client = redis.asyncio.Redis.from_url(url, socket_timeout=TIMEOUT)
    await client.flushdb()
    yield url
    await client.flushdb()
    await client.aclose()


@pytest.fixture
def topic_prefix() -> str:
    """Begins the name of every topic a test makes."""
    return f"test-{uuid.uuid4().hex[:12]}."
