"""The backends of a test, and the same behind proxies that make them slow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiokafka.client
import pytest

from tests.chaos.proxy import Proxy
from tests.overload.load import Neighbours


@pytest.fixture
async def neighbours(
    postgres_url: str, redis_url: str, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Neighbours]:
    """PostgreSQL, Redis and Kafka, each reached through a proxy of its own."""
    async with (
        Proxy(_postgres_target(postgres_url)) as postgres,
        Proxy(_redis_target(redis_url)) as redis,
        Proxy(kafka_bootstrap) as kafka,
    ):
        real: Any = vars(aiokafka.client)["create_conn"]

        async def connect(host: str, port: int, **options: Any) -> Any:
            # A broker tells its clients its own address.
            if options.get("client_id", "").startswith("oofgg-") and f"{host}:{port}" == kafka_bootstrap:
                host, _, told = kafka.address.rpartition(":")
                port = int(told)
            return await real(host, port, **options)

        monkeypatch.setattr(aiokafka.client, "create_conn", connect)
        yield Neighbours(
            postgres=postgres,
            redis=redis,
            kafka=kafka,
            postgres_url=_through_postgres(postgres_url, postgres.address),
            redis_url=f"redis://{redis.address}/{_redis_number(redis_url)}",
            kafka_bootstrap=kafka_bootstrap,
        )


def _postgres_target(url: str) -> str:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = query["host"][0] if "host" in query else parts.hostname or "127.0.0.1"
    port = query["port"][0] if "port" in query else str(parts.port or 5432)
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{host}:{port}"


def _through_postgres(url: str, address: str) -> str:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    user = query["user"][0] if "user" in query else parts.username or "postgres"
    password = f":{parts.password}" if parts.password else ""
    return f"postgresql://{user}{password}@{address}{parts.path}?sslmode=disable"


def _redis_target(url: str) -> str:
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port}"


def _redis_number(url: str) -> str:
    parts = urlsplit(url)
    return parse_qs(parts.query)["db"][0] if parts.scheme == "unix" else parts.path.strip("/") or "0"
