"""Health of a process: real checks, for gRPC health, /readyz and metrics.

Health names: each service by its name, `""` for the whole process, and each backend (`postgres`, `redis`, `kafka`).
A service is ready while its own checks pass; Kafka is only observed, for nobody needs it to answer a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.exceptions
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from pkg.registry.process import State
from pkg.runtime.host import App, Check
from pkg.telemetry.logs import get_logger
from pkg.telemetry.metrics import Metrics

_log = get_logger(__name__)

_INTERVAL_SECONDS = 1.0
_CHECK_SECONDS = 3.0
# A backend that refuses is away at once. One that is merely slow is so only after this many checks in a row: to take a
# busy service out of Envoy gives its load to the others, which are then slow as well.
_SLOW_CHECKS = 5


@dataclass
class Report:
    """The last results: the error of each check, empty when it passed."""

    services: dict[str, dict[str, str]] = field(default_factory=dict)
    observed: dict[str, str] = field(default_factory=dict)
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether every service of the process can serve."""
        return (
            not self.draining
            and bool(self.services)
            and not any(error for checks in self.services.values() for error in checks.values())
        )

    def document(self) -> Mapping[str, Any]:
        """The report for /readyz."""
        return {
            "ready": self.ready,
            "draining": self.draining,
            "services": {name: _readable(checks) for name, checks in self.services.items()},
            "observed": _readable(self.observed),
        }


def _readable(checks: Mapping[str, str]) -> dict[str, str]:
    return {name: error or "ok" for name, error in checks.items()}


class HealthMonitor:
    """Runs the checks and tells everybody who asks."""

    def __init__(self, apps: Sequence[App], observed: Mapping[str, Check], metrics: Metrics) -> None:
        self.servicer = HealthServicer()
        self.report = Report()
        self._apps = apps
        self._observed = observed
        self._metrics = metrics
        self._last: dict[str, bool] = {}
        self._slow: dict[tuple[str, str], int] = {}
        self._errors: dict[tuple[str, str], str] = {}
        # Set when a service has turned ready or not; cleared by who waits for it.
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Checks until cancelled, and measures by how much the loop is late."""
        clock = asyncio.get_running_loop().time
        while True:
            await self.check()
            due = clock() + _INTERVAL_SECONDS
            await asyncio.sleep(_INTERVAL_SECONDS)
            self._metrics.loop_lag.set(clock() - due)

    async def check(self) -> None:
        """One round of all checks, each within its deadline."""
        jobs = [(app.name, name, check) for app in self._apps for name, check in app.checks.items()]
        observed = [("", name, check) for name, check in self._observed.items()]
        checks = [*jobs, *observed]
        failures = await asyncio.gather(*(_attempt(check) for _, _, check in checks))
        errors = [
            self._verdict((service, name), failure)
            for (service, name, _), failure in zip(checks, failures, strict=True)
        ]
        services: dict[str, dict[str, str]] = {app.name: {} for app in self._apps}
        backends: dict[str, bool] = {}
        for (service, name, _), error in zip([*jobs, *observed], errors, strict=True):
            (services[service] if service else self.report.observed)[name] = error
            backends[name] = backends.get(name, True) and not error
            self._metrics.backend_up.labels(service or "process", name).set(0 if error else 1)
        self.report.services = services
        for service, found in services.items():
            await self._set(service, not self.report.draining and not any(found.values()), found)
        for name, up in backends.items():
            await self._set(
                name, up, {name: next(e for (_, n, _), e in zip([*jobs, *observed], errors, strict=True) if n == name)}
            )
        await self._set("", self.report.ready, {})

    def _verdict(self, which: tuple[str, str], failure: Exception | None) -> str:
        """The error of a check, empty when it passed. Slowness leaves the last verdict for a while."""
        self._slow[which] = self._slow.get(which, 0) + 1 if _is_slow(failure) else 0
        if not 0 < self._slow[which] < _SLOW_CHECKS or which not in self._errors:
            self._errors[which] = "" if failure is None else repr(failure.__cause__ or failure)[:200]
        return self._errors[which]

    async def drain(self) -> None:
        """Turns everything not ready, for good."""
        self.report.draining = True
        for app in self._apps:
            await self._set(app.name, False, {})
        await self._set("", False, {})

    def state_of(self, service: str) -> State:
        """How a service of this process is."""
        if self.report.draining:
            return State.DRAINING
        return State.SERVING if self._last.get(service) else State.NOT_READY

    async def _set(self, name: str, up: bool, errors: Mapping[str, str]) -> None:
        if self._last.get(name) is not up:
            if name:
                failed = {check: error for check, error in errors.items() if error}
                _log.info("health", name=name, serving=up, **({"failed": failed} if failed else {}))
            self._last[name] = up
            self.changed.set()
            status = health_pb2.HealthCheckResponse
            await self.servicer.set(name, status.SERVING if up else status.NOT_SERVING)


async def _attempt(check: Check) -> Exception | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception as error:
        return error
    return None


def _is_slow(failure: Exception | None) -> bool:
    """Whether a check got no answer in time, instead of a bad one."""
    cause = failure.__cause__ or failure if failure is not None else None
    # What a system tells as ETIMEDOUT has had its time.
    return isinstance(cause, TimeoutError | redis.exceptions.TimeoutError) and getattr(cause, "errno", None) is None
