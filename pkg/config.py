"""Settings of a process: environment variables with the prefix `OOFGG_`, checked before anything starts.

A secret is given as `OOFGG_X` or, better, as `OOFGG_X_FILE`, the path of a file that holds it.
"""

from __future__ import annotations

import base64
import binascii
import re
import socket
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)(:[1-9]\d{0,4})?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


class Environment(StrEnum):
    """Where the process runs. Production refuses what is convenient but unsafe."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class KafkaProtocol(StrEnum):
    """How Kafka is spoken to, as Kafka calls it."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def encrypted(self) -> bool:
        """Whether it is over TLS."""
        return self in (KafkaProtocol.SSL, KafkaProtocol.SASL_SSL)

    @property
    def by_password(self) -> bool:
        """Whether the broker asks who we are."""
        return self in (KafkaProtocol.SASL_PLAINTEXT, KafkaProtocol.SASL_SSL)


class KafkaMechanism(StrEnum):
    """How a password is shown to Kafka, as Kafka calls it."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class Settings(BaseSettings):
    """Everything a process can be told."""

    model_config = SettingsConfigDict(env_prefix="OOFGG_", frozen=True, extra="ignore")

    environment: Environment = Field(
        Environment.PRODUCTION, description="`development` allows reflection and self-made developers."
    )
    node: str = Field(
        default_factory=socket.gethostname, description="Name of this process, unique among its kind.", min_length=1
    )

    postgres_url: str = Field(description="`postgresql://user:password@host:port/database`.")
    redis_url: str = Field(description="`redis://host:port/0`, or `unix://` and a path.")
    kafka_bootstrap: str = Field(description="Comma-separated `host:port` of Kafka brokers.")
    kafka_security_protocol: KafkaProtocol = Field(
        KafkaProtocol.PLAINTEXT,
        description="`PLAINTEXT`, `SSL`, `SASL_SSL`, or `SASL_PLAINTEXT`, which is refused in production.",
    )
    kafka_sasl_mechanism: KafkaMechanism = Field(
        KafkaMechanism.SCRAM_SHA_512, description="`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`."
    )
    kafka_username: str = Field("", description="Who the services are to Kafka, with one of the SASL protocols.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Their password.")
    kafka_password_file: Path | None = Field(None, description="File with the password.")
    kafka_ca_file: Path | None = Field(
        None, description="File with the authorities (PEM) that vouch for the brokers. Empty: those of the system."
    )
    kafka_replication_factor: int = Field(
        1, ge=1, le=15, description="Copies of each topic that is made; no more than there are brokers."
    )
    kafka_min_insync_replicas: int = Field(
        0, ge=0, le=15, description="Copies that must have a record before it counts as published; 0: all but one."
    )
    postgres_pool_size: int = Field(10, ge=6, description="Connections per service in this process.")

    grpc_address: str = Field("127.0.0.1:9000", description="Where this process serves gRPC; port 0 is any free one.")
    ops_address: str = Field(
        "127.0.0.1:9001", description="Where it serves /metrics, /healthz, /readyz. Keep it private."
    )
    advertise_address: str = Field(
        "",
        description="`host:port` under which others reach this process's gRPC port, or a host alone. Of a name with "
        "several addresses, this machine's own is taken. Empty: the bound address, or the host's name.",
    )
    registry_lease_seconds: float = Field(
        3.0, ge=1, le=30, description="A process that is silent for this long is taken out of Envoy."
    )
    xds_address: str = Field(
        "127.0.0.1:9002", description="Where `edge` tells Envoy the endpoints of services. Keep it private."
    )
    auth_address: str = Field("", description="gRPC address of `auth`; empty when this process serves it.")
    catalog_address: str = Field("", description="gRPC address of `catalog`; empty when this process serves it.")
    game_address: str = Field("", description="gRPC address of `game`; empty when this process serves it.")
    scoring_address: str = Field("", description="gRPC address of `scoring`; empty when this process serves it.")
    matchmaking_address: str = Field(
        "", description="gRPC address of `matchmaking`; empty when this process serves it."
    )
    jwks_url: str = Field("", description="Public keys of access tokens; empty when this process serves `auth`.")

    master_key: SecretStr = Field(SecretStr(""), description="32 bytes in base64; seals secrets in the database.")
    master_key_file: Path | None = Field(None, description="File with the master key.")
    service_secret: SecretStr = Field(
        SecretStr(""), description="At least 32 characters; services sign their calls to each other with it."
    )
    service_secret_file: Path | None = Field(None, description="File with the service secret.")

    developer_self_service: bool = Field(
        False, description="Whether an account may make itself a developer's. Embedded: yes."
    )
    access_token_seconds: int = Field(900, ge=1, le=86_400, description="Life of an access token.")
    session_token_seconds: int = Field(
        86_400, ge=1, le=86_400, description="Life of a token of `POST /api/login`, which cannot be refreshed."
    )
    refresh_grace_seconds: float = Field(
        60.0, ge=0, le=300, description="How long a client that lost the reply may use a refresh token again."
    )
    signing_key_days: float = Field(30, gt=0, le=365, description="How long a key signs access tokens.")
    signing_key_lead_seconds: float = Field(
        600, ge=0, description="How long a key is published before it signs; Envoy reads keys every minute."
    )
    login_failures: int = Field(5, ge=1, description="Failed logins of one account before further ones have to wait.")
    login_failures_per_address: int = Field(20, ge=1, description="The same for one address, over all accounts.")
    login_wait_seconds: float = Field(1.0, gt=0, description="The first wait; it doubles with every further failure.")
    login_longest_wait_seconds: float = Field(900.0, gt=0, description="The longest wait.")
    secret_calls_per_minute: int = Field(60, ge=1, description="Exchanges of one API key in a minute.")
    login_limits_spare_loopback: bool = Field(
        False, description="No login limits for callers on this machine: for load tests. Not in production."
    )
    game_players: int = Field(0, ge=0, description="Players a game may have unless an admin says otherwise; 0: any.")
    game_sessions: int = Field(0, ge=0, description="The same for sessions at a time.")
    game_calls_per_second: int = Field(0, ge=0, description="The same for calls per second and process.")
    refresh_token_days: int = Field(30, ge=1, le=365, description="Life of an unused refresh token.")
    password_hash_threads: int = Field(2, ge=1, le=64, description="Passwords hashed at the same time.")
    password_hash_queue: int = Field(64, ge=1, description="Logins that may wait for a hash; more are refused.")
    argon2_memory_kib: int = Field(19_456, ge=8, description="argon2id memory (OWASP: 19 MiB with t=2, p=1).")
    argon2_time: int = Field(2, ge=1, description="argon2id passes.")

    otlp_endpoint: str = Field(
        "",
        pattern=r"^(http://[^/:\s]+:\d{1,5})?$",
        description="`http://host:port` of an OpenTelemetry collector (OTLP over gRPC); traces go there. Empty: none.",
    )
    trace_ratio: float = Field(
        1.0, ge=0, le=1, description="Share of the calls that are traced; Envoy decides for those that it lets in."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field("json", description="`json`, or `console` to read it yourself.")
    drain_notice_seconds: float = Field(
        1.0, ge=0, description="Time between turning not ready and refusing calls, for Envoy to notice."
    )
    drain_seconds: float = Field(10.0, ge=0, description="Longest wait for calls to finish at shutdown.")
    migrate: bool = Field(False, description="Apply database migrations at start.")

    @field_validator("advertise_address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and not _ADDRESS.fullmatch(value):
            raise ValueError("must be host:port or a host, such as game-1:9000, 10.0.0.7 or [fd00::7]:9000")
        return value

    @model_validator(mode="after")
    def _secrets_are_safe(self) -> Self:
        try:
            key = base64.b64decode(self.master_key_text(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != 32:
            raise ValueError("OOFGG_MASTER_KEY or OOFGG_MASTER_KEY_FILE must hold 32 random bytes in base64")
        if len(self.service_secret_text()) < 32:
            raise ValueError("OOFGG_SERVICE_SECRET or OOFGG_SERVICE_SECRET_FILE must hold at least 32 characters")
        self._check_kafka()
        if self.environment is Environment.PRODUCTION and self.developer_self_service:
            raise ValueError("OOFGG_DEVELOPER_SELF_SERVICE is for development; in production an admin makes developers")
        if self.environment is Environment.PRODUCTION and self.login_limits_spare_loopback:
            raise ValueError("OOFGG_LOGIN_LIMITS_SPARE_LOOPBACK is for load tests, and refused in production")
        return self

    def _check_kafka(self) -> None:
        protocol = self.kafka_security_protocol
        named = bool(self.kafka_username), bool(self.kafka_password_text())
        if protocol.by_password and not all(named):
            raise ValueError(f"{protocol} needs OOFGG_KAFKA_USERNAME and OOFGG_KAFKA_PASSWORD or its _FILE")
        if not protocol.by_password and any(named):
            raise ValueError(
                f"OOFGG_KAFKA_USERNAME and OOFGG_KAFKA_PASSWORD would not be used: OOFGG_KAFKA_SECURITY_PROTOCOL is "
                f"{protocol}, not SASL_SSL"
            )
        if protocol is KafkaProtocol.SASL_PLAINTEXT and self.environment is Environment.PRODUCTION:
            raise ValueError("OOFGG_KAFKA_SECURITY_PROTOCOL: SASL_PLAINTEXT shows who we are to anybody; use SASL_SSL")
        if self.kafka_ca_file is not None and not protocol.encrypted:
            raise ValueError(f"OOFGG_KAFKA_CA_FILE would not be used: OOFGG_KAFKA_SECURITY_PROTOCOL is {protocol}")
        if self.kafka_ca_file is not None and not self.kafka_ca_file.is_file():
            raise ValueError(f"OOFGG_KAFKA_CA_FILE: {self.kafka_ca_file} is no file")
        if self.kafka_min_insync_replicas > self.kafka_replication_factor:
            raise ValueError("OOFGG_KAFKA_MIN_INSYNC_REPLICAS is more than OOFGG_KAFKA_REPLICATION_FACTOR allows")

    def address_of(self, service: str) -> str:
        """gRPC address of a service: its own setting, or this process."""
        address: str = getattr(self, f"{service}_address") or self.grpc_address
        return address.replace("0.0.0.0", "127.0.0.1", 1)

    def jwks_location(self) -> str:
        """URL of the public keys of access tokens."""
        return self.jwks_url or f"http://{self.ops_address.replace('0.0.0.0', '127.0.0.1', 1)}/.well-known/jwks.json"

    def master_key_text(self) -> str:
        """The master key in base64."""
        return _secret(self.master_key, self.master_key_file)

    def kafka_password_text(self) -> str:
        """The password for Kafka; empty for none."""
        return _secret(self.kafka_password, self.kafka_password_file)

    def kafka_in_sync_replicas(self) -> int:
        """Copies that must have a record before it counts as published."""
        return self.kafka_min_insync_replicas or max(1, self.kafka_replication_factor - 1)

    def service_secret_text(self) -> str:
        """The secret that services share."""
        return _secret(self.service_secret, self.service_secret_file)


def _secret(value: SecretStr, file: Path | None) -> str:
    return file.read_text(encoding="utf-8").strip() if file else value.get_secret_value()
