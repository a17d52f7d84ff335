"""Metrics of `matchmaking`. Documented in docs/reference/metrics.md."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class MatchmakingMetrics:
    """How the leaders of queues keep up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queues_led = Gauge("oofgg_queues_led", "Queues that this process leads.", registry=registry)
        self.queue_seconds = Gauge(
            "oofgg_queue_seconds", "Seconds since the last look at the queue that waits longest.", registry=registry
        )
        self.leader_failures = Counter(
            "oofgg_queue_leader_failures_total", "Leaders of queues that ended with an error.", registry=registry
        )
