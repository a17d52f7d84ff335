"""Structured logs: one JSON object (or one readable line) per event, with the request id of the call it belongs to."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

import structlog

from pkg.telemetry.tracing import current_trace_parent

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# The request id of the call being served, set by the RPC pipeline.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")

Logger = structlog.stdlib.BoundLogger


def configure_logging(level: str, style: str, *, node: str) -> None:
    """Sends all logs of the process, the libraries' too, to standard error. `style` is `json` or `console`."""

    def add_context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["node"] = node
        if request_id := current_request_id.get():
            event["request_id"] = request_id
        if trace_parent := current_trace_parent.get():
            event["trace_id"] = trace_parent.split("-")[1]
        return event

    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_context,
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # aiokafka reports every lost connection as an error of its own; what matters is in our own logs.
    logging.getLogger("aiokafka").setLevel("CRITICAL")
    logging.getLogger("aiohttp.access").setLevel("WARNING")


def get_logger(name: str) -> Logger:
    """The logger of a module."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger
