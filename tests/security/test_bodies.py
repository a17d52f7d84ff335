"""JSON that is too large, too deep or too strange, on every path that takes JSON."""

from __future__ import annotations

import json

import aiohttp
import grpc
import pytest

from envoy.routes import Route, public_routes, read_descriptors
from tests.e2e.callers import Cast, bearer, register

LEAST_LIMIT = 64 * 1024
ROUTES = [
    pytest.param(route, id=route.method)
    for route in public_routes(read_descriptors())
    if route.json is not None and route.json.method != "GET"
]


def nested(depth: int, opening: str, closing: str) -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


BODIES = {
    "too large": json.dumps({"username": "x" * 2 * LEAST_LIMIT}).encode(),
    "deep objects": nested(10_000, '{"username":', "}"),
    "deep lists": nested(10_000, "[", "]"),
    "deep in a field that is not known": b'{"nothing":' + nested(10_000, "[", "]") + b"}",
    "a number without end": b'{"page_size":' + b"9" * 50_000 + b"}",
    "many fields": json.dumps({f"field-{number}": number for number in range(4_000)}).encode()[:LEAST_LIMIT],
    "surrogates alone": rb'{"username": "\ud800", "password": "\udfff\ud800"}',
    "zero bytes": b'{"username": "a\x00b"}',
    "escaped zero bytes": rb'{"username": "a\u0000b", "password": "x\u0000"}',
    "not UTF-8": b'{"username": "\xc3\x28"}',
    "prototype": b'{"__proto__": {"role": "admin"}, "constructor": {}}',
}


@pytest.mark.parametrize("route", ROUTES)
async def test_strange_json_breaks_nothing(envoy: str, channel: grpc.aio.Channel, cast: Cast, route: Route) -> None:
    assert route.json is not None
    headers = {"content-type": "application/json"}
    if not route.public:
        headers["authorization"] = bearer((await register(channel, "strange")).access_token)[0][1]
    wrong = {}
    async with aiohttp.ClientSession(f"http://{envoy}", timeout=aiohttp.ClientTimeout(total=30)) as session:
        for name, body in BODIES.items():
            try:
                async with session.request(route.json.method, route.json.path, data=body, headers=headers) as response:
                    document = await response.json()
                    # Fields that are not known are ignored: a request that needs none may pass.
                    if response.status not in (200, 400, 401, 403, 413) or not isinstance(document, dict):
                        wrong[name] = (response.status, document)
            except (aiohttp.ClientConnectionError, ConnectionError):
                if name != "too large":  # Envoy may close before it has read all of it
                    raise
        async with session.get("/v1/auth/account", headers={"authorization": cast.console[0][1]}) as response:
            assert response.status == 200, "the platform goes on"
    assert wrong == {}
