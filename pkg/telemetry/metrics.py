"""Prometheus metrics of a process. Names and labels are documented in docs/reference/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class MethodMetrics:
    """The metrics of one RPC, bound to its label."""

    name: str
    _calls: Counter
    latency: Histogram
    in_flight: Gauge
    _by_code: dict[str, Counter] = field(default_factory=dict)

    def count(self, code: str) -> None:
        """Counts a call that ended with this gRPC code, such as `OK`."""
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._calls.labels(self.name, code)
        counter.inc()


class Metrics:
    """One registry per process, passed to whoever measures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._calls = Counter("oofgg_rpc_calls_total", "Calls that ended.", ["method", "code"], registry=self.registry)
        self._latency = Histogram(
            "oofgg_rpc_seconds",
            "Seconds from the first byte to the end of a call; of a stream, its life.",
            ["method"],
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._in_flight = Gauge("oofgg_rpc_in_flight", "Calls being served.", ["method"], registry=self.registry)
        self.backend_up = Gauge(
            "oofgg_backend_up", "1 when the last check succeeded.", ["service", "backend"], registry=self.registry
        )
        self.outbox_events = Gauge(
            "oofgg_outbox_events", "Events that wait to be published.", ["service"], registry=self.registry
        )
        self.outbox_seconds = Gauge(
            "oofgg_outbox_seconds", "How long the first of them has waited.", ["service"], registry=self.registry
        )
        self.projection_lag = Gauge(
            "oofgg_projection_lag", "Offsets that were not read yet.", ["topic", "partition"], registry=self.registry
        )
        self.projection_seconds = Gauge(
            "oofgg_projection_seconds", "How long it has not caught up.", ["topic"], registry=self.registry
        )
        self.projection_went_back = Counter(
            "oofgg_projection_went_back_total",
            "How often reading went back to records that were passed over.",
            ["topic"],
            registry=self.registry,
        )
        self.loop_lag = Gauge(
            "oofgg_loop_lag_seconds", "By how much the process's event loop is late.", registry=self.registry
        )
        self.revocations_seconds = Gauge(
            "oofgg_revocations_seconds", "Seconds since ended logins were read last.", registry=self.registry
        )
        self.dead_letters = Counter(
            "oofgg_dead_letters_total", "Records put aside since the process began.", ["topic"], registry=self.registry
        )
        self.dead_letters_kept = Gauge(
            "oofgg_dead_letters_kept", "Records that are put aside.", ["service"], registry=self.registry
        )

    def method(self, name: str) -> MethodMetrics:
        """The metrics of the RPC with this full name, such as `oofgg.v1.AuthService/Login`."""
        return MethodMetrics(name, self._calls, self._latency.labels(name), self._in_flight.labels(name))

    def in_flight(self) -> dict[str, int]:
        """Calls being served, by the full name of their RPC."""
        (family,) = self._in_flight.collect()
        return {sample.labels["method"]: int(sample.value) for sample in family.samples}

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)
