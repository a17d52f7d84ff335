"""The whole platform, embedded, for tests that come through Envoy."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest

from pkg.embedded import Platform
from pkg.testing.directories import data_directory
from services.up import Choices, options


@contextmanager
def running_platform(
    environment: Mapping[str, str] | None = None, cors_origins: tuple[str, ...] = ()
) -> Iterator[Platform]:
    """A platform with data and settings of its own; rate limits are lifted, for tests log in a lot."""
    directory = data_directory()
    chosen = options(Choices(data_dir=directory, lift_limits=True, cors_origins=cors_origins))
    started = Platform(replace(chosen, environment={**chosen.environment, **(environment or {})}))
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The platform of the test session."""
    with running_platform() as started:
        yield started


@pytest.fixture(scope="session")
def envoy(platform: Platform) -> str:
    """host:port of the front door."""
    return platform.endpoints.envoy


@pytest.fixture
async def channel(envoy: str) -> AsyncIterator[grpc.aio.Channel]:
    """A plain gRPC channel through Envoy."""
    async with grpc.aio.insecure_channel(envoy, options=[("grpc.use_local_subchannel_pool", 1)]) as opened:
        yield opened
