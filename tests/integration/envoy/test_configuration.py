"""What Envoy understood of the generated configuration: read back from its admin page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from envoy.render import Environment, Inputs, Limits, Rate, render
from envoy.routes import CLUSTERS, RateClass, Route, public_routes, read_descriptors
from pkg.embedded.binaries import ENVOY, find
from tests.integration.envoy.stage import START_SECONDS, inputs

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = public_routes(read_descriptors())
JWT = "envoy.filters.http.jwt_authn"
PRODUCTION = inputs(1, 2, environment=Environment.PRODUCTION)


@dataclass(frozen=True)
class Understood:
    """The static part of a configuration."""

    bootstrap: dict[str, Any]

    @property
    def _manager(self) -> dict[str, Any]:
        listener = self.bootstrap["static_resources"]["listeners"][0]
        manager: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
        return manager

    @property
    def host(self) -> dict[str, Any]:
        """The one virtual host."""
        host: dict[str, Any] = self._manager["route_config"]["virtual_hosts"][0]
        return host

    @property
    def routes(self) -> dict[str, dict[str, Any]]:
        return {route["name"]: route for route in self.host["routes"]}

    @property
    def filters(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry.get("typed_config", {}) for entry in self._manager["http_filters"]}

    @property
    def origins(self) -> list[dict[str, Any]]:
        policy = self.host["typed_per_filter_config"]["envoy.filters.http.cors"]
        origins: list[dict[str, Any]] = policy["allow_origin_string_match"]
        return origins

    @property
    def clusters(self) -> dict[str, dict[str, Any]]:
        return {cluster["name"]: cluster for cluster in self.bootstrap["static_resources"]["clusters"]}


async def understand(chosen: Inputs, folder: Path) -> Understood:
    """Boots Envoy and asks it."""
    configuration = folder / f"{chosen.admin_port}.yaml"
    await asyncio.to_thread(configuration.write_text, render(chosen))
    process = await asyncio.create_subprocess_exec(
        find(ENVOY, {}).path, "-c", configuration, "--disable-hot-restart", "--concurrency", "1", "-l", "off"
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as http:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{chosen.admin_port}/config_dump") as response:
                        dump = await response.json(content_type=None)
                    return Understood(dump["configs"][0]["bootstrap"])
                except aiohttp.ClientError:
                    assert process.returncode is None
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.02)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def production(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Understood]:
    yield await understand(PRODUCTION, tmp_path_factory.mktemp("production"))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
async def test_the_policy_of_each_route_is_its_option(production: Understood, route: Route) -> None:
    rendered = production.routes[route.path]
    assert rendered["match"] == {"path": route.path}
    policy = rendered["typed_per_filter_config"][JWT]
    assert policy.get("disabled", False) is route.public
    assert policy.get("requirement_name") == (None if route.public else "token")
    assert rendered["metadata"]["filter_metadata"]["oofgg"]["rate_class"] == route.rate_class
    assert rendered["route"]["cluster"] == route.cluster
    if route.streaming:
        assert rendered["route"]["timeout"] == "0s"
        assert rendered["route"]["idle_timeout"] == "3600s"
        assert "max_stream_duration" not in rendered["route"]
    else:
        assert rendered["route"]["timeout"] == "0s", "it would replace the caller's deadline"
        assert rendered["route"]["max_stream_duration"] == {
            "max_stream_duration": "30s",
            "grpc_timeout_header_max": "30s",
        }
    retried = set(rendered["route"]["retry_policy"]["retry_on"].split(","))
    assert retried <= {"reset-before-request", "connect-failure", "refused-stream"}, "no call may run twice"


async def test_nothing_else_is_forwarded(production: Understood) -> None:
    """Preflights go to a cluster in name only: the CORS filter answers them."""
    others = production.routes.keys() - {route.path for route in ROUTES}
    for name in others - {"unknown"}:
        if name.startswith("not gRPC for "):
            assert production.routes[name]["direct_response"]["status"] == 415
            continue
        if name.startswith("no trailers for "):
            assert production.routes[name]["direct_response"]["status"] == 400
            continue
        if name.startswith("parameters in the address of "):
            assert production.routes[name]["direct_response"]["status"] == 400
            continue
        if name.startswith("other methods of "):
            assert production.routes[name]["direct_response"]["status"] == 405
            continue
        assert name.startswith(("preflight of /v1/", "preflight of /api/"))
        match = production.routes[name]["match"]
        assert {header["name"] for header in match["headers"]} == {":method", "origin", "access-control-request-method"}
    assert production.host["routes"][-1]["direct_response"]["status"] == 404


async def test_reflection_is_for_development(production: Understood, tmp_path: Path) -> None:
    development = await understand(inputs(1, 2), tmp_path)
    assert not [name for name in production.routes if "reflection" in name]
    found = {name: route for name, route in development.routes.items() if "reflection" in name}
    assert {route["match"]["prefix"] for route in found.values()} == {
        "/grpc.reflection.v1.ServerReflection/",
        "/grpc.reflection.v1alpha.ServerReflection/",
    }
    assert all(route["route"]["cluster"] == "auth" for route in found.values())


async def test_filters_come_in_the_order_that_works(production: Understood) -> None:
    """The transcoder before limits and tokens: a JSON path is then held by the policy of its RPC."""
    assert [name.removeprefix("envoy.filters.http.") for name in production.filters] == [
        "lua", "cors", "grpc_web", "oofgg.json_body", "oofgg.json_names", "grpc_json_transcoder",
        "oofgg.rate_limit.address", "jwt_authn", "oofgg.rate_limit.user", "buffer", "oofgg.message",
        "header_to_metadata", "grpc_stats", "router",
    ]  # fmt: skip


async def test_the_admin_page_is_on_loopback(production: Understood) -> None:
    assert production.bootstrap["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


async def test_every_cluster_is_checked_and_not_capped(production: Understood) -> None:
    for name in set(CLUSTERS.values()):
        cluster = production.clusters[name]
        assert cluster["health_checks"][0]["grpc_health_check"] == {"service_name": name}
        assert cluster["circuit_breakers"]["thresholds"][0]["max_requests"] > 100_000
        assert cluster["lb_subset_config"]["fallback_policy"] == "ANY_ENDPOINT"


async def test_figures_of_the_limits_arrive(tmp_path: Path) -> None:
    limits = {rate_class: Limits(Rate(7, 30), Rate(9, 6000)) for rate_class in RateClass}
    filters = (await understand(replace(PRODUCTION, limits=limits), tmp_path)).filters
    for name, bucket in {
        "oofgg.rate_limit.address": {"max_tokens": 7, "tokens_per_fill": 1, "fill_interval": "2s"},
        "oofgg.rate_limit.user": {"max_tokens": 9, "tokens_per_fill": 5, "fill_interval": "0.050s"},
    }.items():
        descriptors = filters[name]["descriptors"]
        assert [entry["entries"][0]["value"] for entry in descriptors] == list(RateClass)
        assert all(entry["token_bucket"] == bucket for entry in descriptors)


@pytest.mark.parametrize("origins", [("https://x\n- evil: 1",), ('"}, x: {"',), ("{{ 1 }}", "%REQ(a)%")])
async def test_hostile_values_stay_values(tmp_path: Path, origins: tuple[str, ...]) -> None:
    understood = await understand(replace(PRODUCTION, cors_origins=origins), tmp_path)
    assert understood.origins == [{"exact": origin} for origin in origins]


async def test_no_foreign_origin_by_default(tmp_path: Path) -> None:
    understood = await understand(replace(PRODUCTION, cors_origins=()), tmp_path)
    assert all("://" not in origin["exact"] for origin in understood.origins)
