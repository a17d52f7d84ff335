"""Tracing is free where nobody asked for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from pkg.clock import SystemClock
from pkg.config import Settings
from pkg.events.outbox import Event
from pkg.events.records import headers_of, received
from pkg.ids import new_id
from pkg.telemetry.tracing import sane_trace_parent

ROOT = Path(__file__).parents[3]
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_what_makes_spans_is_not_even_loaded() -> None:
    """OpenTelemetry's metrics are: redis imports them where they are installed."""
    program = "import sys, services.serve as s; s.definitions(['all']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pkg.telemetry.tracing" in done.stdout
    for module in ("pkg.telemetry.otel", "opentelemetry.sdk.trace", "opentelemetry.exporter"):
        assert module not in done.stdout.split()
    assert "opentelemetry.instrumentation" not in done.stdout


@pytest.mark.parametrize("text", ["", PARENT.upper(), PARENT[:-1], f" {PARENT}", "00-x", PARENT + "\n"])
def test_only_a_trace_parent_passes_for_one(text: str) -> None:
    assert sane_trace_parent(text) == ""
    assert sane_trace_parent(PARENT) == PARENT


@pytest.mark.parametrize("parent", ["", PARENT])
def test_records_carry_it_as_cloudevents_have_it(parent: str) -> None:
    event = Event(new_id(), "oofgg.events.v1.MatchFinished", "key", b"payload", SystemClock().now())
    headers = headers_of(event, "/oofgg/test", 1, 0, 1, parent)
    assert dict(headers).get("ce_traceparent", b"").decode() == parent
    assert received(b"key", b"payload", headers).trace_parent == parent


def test_nonsense_in_its_place_is_no_reason_to_refuse_an_event() -> None:
    event = Event(new_id(), "oofgg.events.v1.MatchFinished", "key", b"payload", SystemClock().now())
    headers = [*headers_of(event, "/", 1, 0, 1), ("ce_traceparent", b"\xff nonsense")]
    assert received(b"key", b"", headers).trace_parent == ""


@pytest.mark.parametrize("endpoint", ["collector:4317", "https://collector:4317", "http://collector", "http://c:1/v1"])
def test_an_endpoint_that_would_not_work_is_refused(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("OOFGG_OTLP_ENDPOINT", endpoint)
    with pytest.raises(ValidationError, match="otlp_endpoint"):
        Settings()  # type: ignore[call-arg]
