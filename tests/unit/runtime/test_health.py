"""When a service counts as unable to serve."""

from __future__ import annotations

import pytest

from pkg.errors import backend_unavailable
from pkg.registry.process import State
from pkg.runtime.health import HealthMonitor
from pkg.runtime.host import App
from pkg.telemetry.metrics import Metrics


class Backend:
    """Answers, or fails as it is told."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    async def check(self) -> None:
        if self.failure is not None:
            raise self.failure


def slow() -> Exception:
    error = backend_unavailable("PostgreSQL")
    error.__cause__ = TimeoutError()
    return error


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def monitor(backend: Backend) -> HealthMonitor:
    return HealthMonitor([App("game", [], {"postgres": backend.check})], {}, Metrics())


async def test_a_backend_that_is_slow_takes_a_service_out_only_after_five_checks_in_a_row(
    backend: Backend, monitor: HealthMonitor
) -> None:
    await monitor.check()
    for _ in range(3):
        backend.failure = slow()
        for _ in range(4):
            await monitor.check()
            assert monitor.state_of("game") is State.SERVING
        backend.failure = None
        await monitor.check()
    backend.failure = slow()
    for _ in range(5):
        await monitor.check()
    assert monitor.state_of("game") is State.NOT_READY
    backend.failure = None
    await monitor.check()
    assert monitor.state_of("game") is State.SERVING


async def test_a_backend_that_refuses_takes_a_service_out_at_once(backend: Backend, monitor: HealthMonitor) -> None:
    await monitor.check()
    backend.failure = ConnectionRefusedError()
    await monitor.check()
    assert monitor.state_of("game") is State.NOT_READY
    backend.failure = slow()
    await monitor.check()
    assert monitor.state_of("game") is State.NOT_READY  # it has not answered since


async def test_a_backend_that_was_slow_from_the_start_has_not_been_seen_well(
    backend: Backend, monitor: HealthMonitor
) -> None:
    backend.failure = slow()
    await monitor.check()
    assert monitor.state_of("game") is State.NOT_READY
