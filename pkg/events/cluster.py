"""Where Kafka is, how it knows us, and how many copies it keeps."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from pkg.config import KafkaProtocol, Settings


@dataclass(frozen=True, slots=True)
class Cluster:
    """Brokers, as every client of ours speaks to them."""

    bootstrap: str
    """Comma-separated `host:port`."""
    protocol: KafkaProtocol = KafkaProtocol.PLAINTEXT
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    replication: int = 1
    """Copies of each topic that we make."""
    in_sync: int = 1
    """Copies that must have a record before it is acknowledged."""

    @classmethod
    def of(cls, cluster: Cluster | str) -> Cluster:
        """The cluster; of one that asks nobody who they are, the addresses are enough."""
        return cls(cluster) if isinstance(cluster, str) else cluster

    @classmethod
    def from_settings(cls, settings: Settings) -> Cluster:
        """As the settings have it. Raises OSError, or ssl.SSLError, for a file of authorities that cannot be read."""
        protocol = settings.kafka_security_protocol
        tls = None
        if protocol.encrypted:
            tls = ssl.create_default_context(cafile=settings.kafka_ca_file)
        return cls(
            settings.kafka_bootstrap,
            protocol,
            settings.kafka_sasl_mechanism,
            settings.kafka_username,
            settings.kafka_password_text(),
            tls,
            settings.kafka_replication_factor,
            settings.kafka_in_sync_replicas(),
        )

    def connection(self) -> dict[str, Any]:
        """What aiokafka's connections are told of security."""
        return {
            "security_protocol": self.protocol.value,
            "ssl_context": self.tls,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username or None,
            "sasl_plain_password": self.password or None,
        }
