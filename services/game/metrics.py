"""Metrics of `game`. Documented in docs/reference/metrics.md."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class GameMetrics:
    """How far the background work of live sessions is behind, and what it gave up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.results_waiting = Gauge(
            "oofgg_results_waiting", "Sessions whose decided result is not written yet.", registry=registry
        )
        self.results_refused = Counter(
            "oofgg_results_refused_total", "Results that could not be written and count for nobody.", registry=registry
        )
        self.journal_sessions = Gauge(
            "oofgg_journal_sessions", "Sessions with changes that Redis has not kept yet.", registry=registry
        )
        self.journal_seconds = Gauge(
            "oofgg_journal_seconds", "How long Redis has kept nothing of what waits.", registry=registry
        )
        self.takeover_seconds = Gauge(
            "oofgg_takeover_seconds", "Seconds that the last look for sessions of dead nodes took.", registry=registry
        )
