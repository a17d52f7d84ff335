"""Traces by OpenTelemetry: spans of calls, statements and events, sent by OTLP over gRPC.

PostgreSQL and Redis spans come from OpenTelemetry's own instrumentation of asyncpg and redis, which keeps statements
and leaves their values out. They are made inside of calls and events only: what a process does by itself, many times
a second, belongs to no trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from pkg.telemetry.tracing import TRACE_PARENT_HEADER, Tracing, current_trace_parent

_EXPORT_SECONDS: Final = 5
# Spans that wait for the collector; more are dropped, and calls never wait for it.
_QUEUE: Final = 4_096
_FORMAT: Final = TraceContextTextMapPropagator()
# The codes that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
_FAULTS: Final = frozenset({2, 4, 12, 13, 14, 15})


class _CallsOnly(Sampler):
    """Begins a trace for this share of the calls that arrive untraced, and for nothing else."""

    def __init__(self, ratio: float) -> None:
        self._calls = TraceIdRatioBased(ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if kind is not SpanKind.SERVER:
            return SamplingResult(Decision.DROP)
        return self._calls.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"calls only, {self._calls.get_description()}"


class _CallSpan:
    def __init__(self, span: Span) -> None:
        self._span = span

    def ended(self, code: int, request_id: str) -> None:
        self._span.set_attribute("rpc.grpc.status_code", code)
        self._span.set_attribute("oofgg.request_id", request_id)
        if code in _FAULTS:
            self._span.set_status(StatusCode.ERROR)


class OpenTelemetry:
    """Makes spans. See `Tracing`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("oofgg")

    @contextmanager
    def call(self, method: str, parent: str) -> Iterator[_CallSpan]:
        service, _, name = method.rpartition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        # An error the caller made is none of the span's; its code tells.
        with self._span(method, SpanKind.SERVER, parent, attributes, record_exception=False) as span:
            token = current_trace_parent.set(_write(span))
            try:
                yield _CallSpan(span)
            finally:
                current_trace_parent.reset(token)

    @contextmanager
    def publish(self, topic: str, parent: str) -> Iterator[str]:
        with self._span(f"{topic} publish", SpanKind.PRODUCER, parent, _messaging(topic, "publish")) as span:
            yield _write(span)

    @contextmanager
    def apply(self, topic: str, parent: str) -> Iterator[None]:
        with self._span(f"{topic} process", SpanKind.CONSUMER, parent, _messaging(topic, "process")):
            yield

    @contextmanager
    def _span(
        self, name: str, kind: SpanKind, parent: str, attributes: dict[str, str], *, record_exception: bool = True
    ) -> Iterator[Span]:
        context = _FORMAT.extract({TRACE_PARENT_HEADER: parent}, Context())
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            record_exception=record_exception,
            set_status_on_exception=record_exception,
        ) as span:
            yield span


@asynccontextmanager
async def open_tracing(endpoint: str, *, ratio: float, service: str, node: str) -> AsyncIterator[Tracing]:
    """Sends spans to `endpoint` (`http://host:port` of an OTLP receiver, gRPC) until left.

    A collector that is away costs spans, never calls: they wait in a bounded queue, beyond which they are dropped.
    """
    provider = TracerProvider(
        sampler=ParentBased(_CallsOnly(ratio)),
        resource=Resource.create({"service.name": service, "service.instance.id": node, "service.namespace": "oofgg"}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=_EXPORT_SECONDS)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=_QUEUE, schedule_delay_millis=1_000, max_export_batch_size=512)
    )
    instrumentors = (AsyncPGInstrumentor(), RedisInstrumentor())  # type: ignore[no-untyped-call]
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    try:
        yield OpenTelemetry(provider)
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        # It sends what waits, in a thread of its own, and gives up with the exporter's timeout.
        await asyncio.to_thread(provider.shutdown)


def _messaging(topic: str, operation: str) -> dict[str, str]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.operation.type": "send" if operation == "publish" else operation,
    }


def _write(span: Span) -> str:
    carrier: dict[str, str] = {}
    _FORMAT.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(TRACE_PARENT_HEADER, "")
