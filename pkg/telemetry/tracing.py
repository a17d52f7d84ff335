"""What the code knows of traces. `pkg.telemetry.otel` makes them, and is loaded only where they are sent somewhere."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Final, Protocol

TRACE_PARENT_HEADER: Final = "traceparent"
_TRACE_PARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

# The span of the call being served, as W3C Trace Context writes it; empty where nothing is traced.
current_trace_parent: ContextVar[str] = ContextVar("current_trace_parent", default="")


class CallSpan(Protocol):
    """The span of a call being served."""

    def ended(self, code: int, request_id: str) -> None:
        """Notes how the call ended: the number of its gRPC code (0 is OK), and its request id."""


class Tracing(Protocol):
    """Makes spans. A parent is a W3C `traceparent`, or empty for none."""

    def call(self, method: str, parent: str) -> AbstractContextManager[CallSpan]:
        """A call being served: `method` is its full name, such as `oofgg.v1.AuthService/Login`."""

    def publish(self, topic: str, parent: str) -> AbstractContextManager[str]:
        """An event on its way to a topic. Yields the parent for whoever receives it."""

    def apply(self, topic: str, parent: str) -> AbstractContextManager[None]:
        """An event from a topic having its effect."""


def sane_trace_parent(text: str) -> str:
    """The text if it is a `traceparent`, else nothing."""
    return text if _TRACE_PARENT.fullmatch(text) else ""
