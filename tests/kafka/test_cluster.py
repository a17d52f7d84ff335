"""Our clients and a cluster of Apache Kafka that keeps copies, or asks who we are."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from envoy.certificates import AUTHORITY_NAME, development_certificate
from pkg.config import KafkaProtocol
from pkg.db.database import Database
from pkg.errors import Unavailable
from pkg.events import clients
from pkg.events.cluster import Cluster
from pkg.events.topics import TopicSpec, ensure_topics
from pkg.testing.addresses import reserve_address
from pkg.testing.backends import require_apache_kafka
from pkg.testing.brokers import ApacheBroker
from tests.integration.events.conftest import database, postgres_schemas
from tests.integration.events.outboxes import committed, id_of, partitions, put, relaying

__all__ = ["database", "postgres_schemas"]


async def told_of(bootstrap: str, topic: str) -> tuple[int, str]:
    """How many copies a topic has, and how many must have a record."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
        (config,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        values = {entry[0]: entry[1] for entry in config.resources[0][4]}  # type: ignore[attr-defined]
        return len(described["partitions"][0]["replicas"]), values["min.insync.replicas"]
    finally:
        await admin.close()


async def test_topics_have_as_many_copies_as_was_said(database: Database, tmp_path: Path) -> None:
    require_apache_kafka()
    first = ApacheBroker(tmp_path / "first")
    first.start()
    cluster = Cluster(first.bootstrap, replication=2, in_sync=2)
    second = ApacheBroker(tmp_path / "second", joins=first)
    try:
        with pytest.raises(Unavailable):
            await ensure_topics(cluster, [TopicSpec("early", 1, 7)])
        second.start()
        ids = await put(database, "results", count=3)
        async with relaying(database, cluster, partitions(1)):
            records = await committed(first.bootstrap, "results", 3)
            assert [id_of(record) for record in records] == ids
            assert await told_of(first.bootstrap, "results") == (2, "2")
            # With one copy left nothing counts as published; with both it is there, once.
            second.stop()
            ids += await put(database, "results", count=3)
            second.start()
            records = await committed(first.bootstrap, "results", 6)
        assert [id_of(record) for record in records] == ids
    finally:
        second.stop()
        first.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApacheBroker, str, Path]]:
    """A broker with a door for those who have a password, its address, and the authority that vouches for it."""
    require_apache_kafka()
    directory = tmp_path_factory.mktemp("guarded")
    files = development_certificate(directory / "tls", ["kafka.internal", "127.0.0.1"], datetime.now(UTC))
    joined = directory / "keystore.pem"
    joined.write_text(files.key.read_text() + files.chain.read_text())
    door = reserve_address()
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    settings = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{login} user_oofgg="right";',
        "listener.name.sasl_ssl.ssl.keystore.type": "PEM",
        "listener.name.sasl_ssl.ssl.keystore.location": str(joined),
    }
    broker = ApacheBroker(directory / "broker", settings, f"SASL_SSL://{door}")
    broker.start()
    yield broker, door, directory / "tls" / AUTHORITY_NAME
    broker.stop()


async def test_services_speak_over_tls_and_say_who_they_are(
    guarded: tuple[ApacheBroker, str, Path], database: Database, topic_prefix: str
) -> None:
    broker, door, authority = guarded
    topic = topic_prefix + "results"

    def known(password: str, tls: ssl.SSLContext) -> Cluster:
        return Cluster(door, KafkaProtocol.SASL_SSL, "PLAIN", "oofgg", password, tls)

    trusting = ssl.create_default_context(cafile=authority)
    await clients.check(known("right", trusting), within=5)
    with pytest.raises((KafkaError, OSError)):
        await clients.check(known("wrong", trusting), within=5)
    with pytest.raises((KafkaError, OSError)):
        await clients.check(known("right", ssl.create_default_context()), within=5)
    with pytest.raises(Unavailable):
        await ensure_topics(known("wrong", trusting), [TopicSpec(topic, 1, 7)])
    ids = await put(database, topic, count=5)
    async with relaying(database, known("right", trusting), partitions(1)):
        assert [id_of(record) for record in await committed(broker.bootstrap, topic, 5)] == ids
