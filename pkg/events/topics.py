"""Kafka topics: which there are, and creating those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import (
    InvalidConfigurationError,
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from pkg.errors import backend_unavailable
from pkg.events import clients
from pkg.events.cluster import Cluster
from pkg.telemetry.logs import get_logger

_log = get_logger(__name__)

_DEADLINE_SECONDS: Final = 10.0
_DAY_MS: Final = 24 * 3600 * 1000

MATCH_RESULTS: Final = "oofgg.match-results"
MATCH_HISTORY_PREFIX: Final = "oofgg.match-history."
ACCOUNTS: Final = "oofgg.accounts"
AUDIT: Final = "oofgg.audit"
MATCHMAKING: Final = "oofgg.matchmaking"
DEAD_LETTERS: Final = "oofgg.dead-letters"
_RESULT_PARTITIONS: Final = 8
_RESULT_RETENTION_DAYS: Final = 7
_HISTORY_RETENTION_DAYS: Final = 30
_ACCOUNTS_RETENTION_DAYS: Final = 30
_AUDIT_PARTITIONS: Final = 4
_AUDIT_RETENTION_DAYS: Final = 30
_DEAD_LETTERS_RETENTION_DAYS: Final = 30
_MATCHMAKING_PARTITIONS: Final = 4
_MATCHMAKING_RETENTION_DAYS: Final = 7
_AUDIT_LINGER_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be."""

    name: str
    partitions: int
    retention_days: int
    linger_seconds: float = 0.0
    """How long an event waits for others to be published with: a transaction costs the same for one as for many."""


def spec_of(name: str) -> TopicSpec:
    """The declaration of one of our topics. Raises ValueError for any other name."""
    if name == MATCH_RESULTS:
        return TopicSpec(name, _RESULT_PARTITIONS, _RESULT_RETENTION_DAYS)
    if name == ACCOUNTS:
        return TopicSpec(name, 1, _ACCOUNTS_RETENTION_DAYS)
    if name == AUDIT:
        return TopicSpec(name, _AUDIT_PARTITIONS, _AUDIT_RETENTION_DAYS, _AUDIT_LINGER_SECONDS)
    if name == MATCHMAKING:
        return TopicSpec(name, _MATCHMAKING_PARTITIONS, _MATCHMAKING_RETENTION_DAYS)
    if name == DEAD_LETTERS:
        return TopicSpec(name, 1, _DEAD_LETTERS_RETENTION_DAYS)
    if name.startswith(MATCH_HISTORY_PREFIX):
        # One partition: whoever subscribes sees a game's matches in one order.
        return TopicSpec(name, 1, _HISTORY_RETENTION_DAYS)
    raise ValueError(f"{name} is not a topic of this platform")


async def ensure_topics(cluster: Cluster | str, specs: Sequence[TopicSpec]) -> None:
    """Creates the topics that are missing, and the partitions that are missing from those that exist.

    A broker that creates topics by itself, for whoever asks about them, makes them with one partition.

    Raises Unavailable(BACKEND_UNAVAILABLE) when the broker does not answer or refuses.
    """
    cluster = Cluster.of(cluster)
    admin = clients.admin(cluster, "oofgg-topics")
    try:
        await clients.start(admin, within=_DEADLINE_SECONDS)
        await clients.whole(_create(admin, specs, cluster), within=_DEADLINE_SECONDS)
    except (InvalidReplicationFactorError, InvalidConfigurationError) as error:
        _log.error("the broker makes no topics with so many copies", copies=cluster.replication, cause=repr(error))
        raise backend_unavailable("Kafka") from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise backend_unavailable("Kafka") from error
    finally:
        await clients.stop(admin.close)


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], cluster: Cluster) -> None:
    copies = {"min.insync.replicas": str(cluster.in_sync)} if cluster.replication > 1 else {}
    response = await admin.create_topics(
        [
            NewTopic(
                spec.name,
                num_partitions=spec.partitions,
                replication_factor=cluster.replication,
                topic_configs={"retention.ms": str(spec.retention_days * _DAY_MS), **copies},
            )
            for spec in specs
        ]
    )
    existing = []
    for name, code, *_ in response.topic_errors:  # type: ignore[attr-defined]
        if code == TopicAlreadyExistsError.errno:
            existing.append(name)
        elif code != 0:
            raise for_code(code)()
    if existing:
        wanted = {spec.name: spec.partitions for spec in specs}
        found = {told["topic"]: len(told["partitions"]) for told in await admin.describe_topics(existing)}
        if short := {name: NewPartitions(wanted[name]) for name in existing if found[name] < wanted[name]}:
            grown = await admin.create_partitions(short)
            for _, code, *_ in grown.topic_errors:  # type: ignore[attr-defined]
                if code != 0:
                    raise for_code(code)()
