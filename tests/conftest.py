"""Fixtures for every test."""

from hypothesis import HealthCheck, settings

from pkg.testing.backends import (
    _redis_numbers,
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
    "kafka_bootstrap",
    "postgres_schemas",
    "postgres_server",
    "postgres_url",
    "redis_server_url",
    "redis_url",
    "start_backend",
    "topic_prefix",
]

# A busy machine is slow, not wrong.
settings.register_profile("oofgg", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oofgg")
