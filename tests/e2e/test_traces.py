"""Traces, from Envoy to the databases and over Kafka, as a collector receives them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from oofgg.v1 import auth_pb2, auth_pb2_grpc
from pkg.embedded import Platform
from tests.e2e.callers import PASSWORD, bearer, make_cast, outcome, register
from tests.e2e.conftest import running_platform
from tests.e2e.matches import play_match, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREIGN_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass
class Collector:
    """Receives spans as an OpenTelemetry collector does, and keeps them."""

    address: str = ""
    spans: list[tuple[str, Span]] = field(default_factory=list)
    received: bytes = b""

    async def export(self, request: bytes, _context: Any) -> bytes:
        self.received += request
        for resource in otlp.ExportTraceServiceRequest.FromString(request).resource_spans:
            (name,) = [each.value.string_value for each in resource.resource.attributes if each.key == "service.name"]
            self.spans += [(name, span) for scope in resource.scope_spans for span in scope.spans]
        return b""

    def calls(self, method: str) -> list[Span]:
        return [span for service, span in self.spans if span.name == method and service == "services"]

    def of(self, trace_id: bytes) -> list[tuple[str, Span]]:
        return [(service, span) for service, span in self.spans if span.trace_id == trace_id]


def attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def collector() -> AsyncIterator[Collector]:
    kept = Collector()
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(kept.export)
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    kept.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield kept
    await server.stop(None)


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[Platform]:
    """A platform of its own that sends its spans to the collector."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OOFGG_OTLP_ENDPOINT", f"http://{collector.address}")
        with running_platform() as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def channel(traced: Platform) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(traced.endpoints.envoy) as opened:
        yield opened


async def test_a_result_is_one_trace_from_envoy_over_kafka_to_the_leaderboard(
    traced: Platform, collector: Collector, channel: grpc.aio.Channel
) -> None:
    cast = await make_cast(channel)
    await play_match(traced.endpoints.envoy, cast.game_id)
    found: list[tuple[str, Span]] = []

    topic_span = f"oofgg.match-history.{cast.game_id} publish"

    async def complete() -> bool:
        """Whoever takes part sends spans at a time of its own: all are there when none lacks its parent."""
        for finish in collector.calls("oofgg.v1.SessionService/Finish"):
            found[:] = collector.of(finish.trace_id)
            known = {span.span_id for _, span in found}
            statements = [attributes(span).get("db.statement", "") for _, span in found]
            told = any(span.name == topic_span for _, span in found)
            if told and any("insert into standing" in text for text in statements):
                return all(span.parent_span_id in known for _, span in found if span.parent_span_id)
        return False

    await until(complete, "the trace of a result")
    by_id = {span.span_id: (service, span) for service, span in found}

    def ancestors(span: Span) -> list[str]:
        names = []
        while span.parent_span_id:
            service, span = by_id[span.parent_span_id]
            names.append(f"{service}: {span.name}")
        return names

    (standing,) = [span for _, span in found if "insert into standing" in attributes(span).get("db.statement", "")][:1]
    assert ancestors(standing) == [
        "services: oofgg.match-results process",
        "services: oofgg.match-results publish",
        "services: oofgg.v1.SessionService/Finish",
        "envoy: router game egress",
        "envoy: ingress",
    ]
    kinds = {span.name: span.kind for _, span in found}
    assert kinds[topic_span] == Span.SPAN_KIND_PRODUCER
    assert "GET" in kinds, "Redis"


async def test_calls_carry_their_request_id_and_their_code(collector: Collector, channel: grpc.aio.Channel) -> None:
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    foreign = ("traceparent", f"00-{FOREIGN_TRACE}-00f067aa0ba902b7-01")
    refused = stub.Login(
        auth_pb2.LoginRequest(username="nobody", password=PASSWORD),
        metadata=(("x-request-id", "quoted-by-a-user"), foreign),
        timeout=5,
    )
    assert (await outcome(refused))[0] is grpc.StatusCode.UNAUTHENTICATED
    spans: list[Span] = []

    async def there() -> bool:
        wanted = collector.calls("oofgg.v1.AuthService/Login")
        spans[:] = [span for span in wanted if attributes(span)["oofgg.request_id"] == "quoted-by-a-user"]
        return bool(spans)

    await until(there, "the span of the call")
    (span,) = spans
    assert attributes(span)["rpc.grpc.status_code"] == str(grpc.StatusCode.UNAUTHENTICATED.value[0])
    assert span.status.code != Status.STATUS_CODE_ERROR, "the caller's fault is not the server's"
    assert span.trace_id.hex() != FOREIGN_TRACE, "who is outside does not decide what is traced"


async def test_a_service_that_calls_another_is_in_the_same_trace(
    collector: Collector, channel: grpc.aio.Channel
) -> None:
    cast = await make_cast(channel)
    await register(channel, "visitor", cast.game_id)

    async def there() -> bool:
        lookups = collector.calls("pkg.internal.v1.GameDirectoryService/LookupGame")
        callers = {span.span_id: span.name for _, span in collector.spans}
        return any(callers.get(span.parent_span_id, "").startswith("oofgg.v1.AuthService/") for span in lookups)

    await until(there, "the call between services")


async def test_no_secret_is_in_a_span(collector: Collector, channel: grpc.aio.Channel) -> None:
    registered = await register(channel, "secretive")
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    before = len(collector.calls("oofgg.v1.AuthService/GetAccount"))
    await stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(registered.access_token), timeout=5)

    async def there() -> bool:
        return len(collector.calls("oofgg.v1.AuthService/GetAccount")) > before

    await until(there, "the span of the call")
    for secret in (PASSWORD, registered.access_token, registered.refresh_token):
        assert secret.encode() not in collector.received


async def test_what_a_process_does_by_itself_is_no_trace(collector: Collector) -> None:
    roots = {span.name for service, span in collector.spans if service == "services" and not span.parent_span_id}
    assert not {name for name in roots if "/" not in name}, "calls alone begin a trace"


@pytest.fixture
def unheard() -> Iterator[Platform]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OOFGG_OTLP_ENDPOINT", "http://127.0.0.1:9")
        with running_platform() as started:
            yield started


async def test_a_collector_that_is_away_costs_nobody_anything(unheard: Platform) -> None:
    async with grpc.aio.insecure_channel(unheard.endpoints.envoy) as channel:
        cast = await make_cast(channel)
    await play_match(unheard.endpoints.envoy, cast.game_id)
