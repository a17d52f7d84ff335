"""The platform in processes of their own, beside a broker of the test's own: the embedded one, and Apache Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pkg.ids import new_id
from pkg.testing.backends import require_apache_kafka
from pkg.testing.brokers import ApacheBroker, Broker, EmbeddedBroker
from tests.kafka.field import Field


@pytest.fixture(params=["embedded", "apache"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    chosen: Broker
    if request.param == "embedded":
        chosen = EmbeddedBroker(tmp_path / "broker")
    else:
        require_apache_kafka()
        chosen = ApacheBroker(tmp_path / "broker")
    chosen.start()
    yield chosen
    chosen.stop()


@pytest.fixture
async def field(broker: Broker, postgres_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    """Three games, and nothing running yet but the broker."""
    made = Field(postgres_url, redis_url, broker, tmp_path, [new_id() for _ in range(3)])
    yield made
    made.end()
