"""Which nodes Envoy knows, by its own word."""

from __future__ import annotations

from typing import Any

from bench.nodes import healthy


def host(port: int, **health: Any) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "health_status": health}


def test_nodes_that_get_calls_are_healthy_and_of_the_cluster_of_sessions() -> None:
    hosts = [
        host(1, eds_health_status="HEALTHY"),
        host(2, eds_health_status="DRAINING"),
        host(3, eds_health_status="HEALTHY", failed_active_health_check=True),
    ]
    others = [host(4, eds_health_status="HEALTHY")]
    clusters = [
        {"name": "game", "host_statuses": hosts},
        {"name": "auth", "host_statuses": others},
        {"name": "edge"},
    ]
    assert healthy({"cluster_statuses": clusters}) == {"127.0.0.1:1"}
