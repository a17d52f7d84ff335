"""Metrics of `edge`. Documented in docs/reference/metrics.md."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.edge.endpoints import View


class EdgeMetrics:
    """What edge tells, to how many, and what they made of it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._endpoints = Gauge(
            "oofgg_edge_endpoints", "Endpoints that Envoy is told.", ["service", "state"], registry=registry
        )
        self.envoys = Gauge("oofgg_edge_envoys", "Envoys that are connected.", registry=registry)
        self.pushes = Counter("oofgg_edge_pushes_total", "Responses that were sent.", registry=registry)
        self.refusals = Counter("oofgg_edge_refusals_total", "Responses that Envoy refused.", registry=registry)
        self.unreadable = Gauge(
            "oofgg_edge_registry_unreadable", "1 while the registry cannot be read.", registry=registry
        )

    def show(self, view: View) -> None:
        """Counts the endpoints."""
        for service, endpoints in view.items():
            draining = sum(endpoint.draining for endpoint in endpoints)
            self._endpoints.labels(service, "serving").set(len(endpoints) - draining)
            self._endpoints.labels(service, "draining").set(draining)
