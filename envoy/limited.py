"""Refusals of calls beyond a rate limit: which limit it is, how long to wait, and how a developer lifts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from envoy.replies import Code, Refusal
from envoy.routes import RateClass
from oofgg.v1.errors_pb2 import ErrorReason

if TYPE_CHECKING:
    from envoy.render import Limits, Rate

# The response header in which a filter that limits says what it counts by.
COUNTED_BY: Final = "x-oofgg-rate-limit"
# Less is not worth telling: a whole call takes about as long.
_LEAST_WAIT_SECONDS: Final = 1.0
_LIFT: Final = (
    " On a platform for development, `make up ARGS=--lift-limits` starts it without limits for callers on its own "
    "machine."
)


def refusals(limits: Mapping[RateClass, Limits], *, development: bool) -> Iterator[Refusal]:
    """One for each bucket of each class. `development`: the message says how to lift the limit."""
    for rate_class in RateClass:
        own = limits[rate_class]
        for by, whose, rate in (("address", "address", own.per_address), ("user", "account", own.per_user)):
            if rate is not None:
                yield _refusal(rate_class, by, whose, rate, development=development)


def _refusal(rate_class: RateClass, by: str, whose: str, rate: Rate, *, development: bool) -> Refusal:
    wait = max(_LEAST_WAIT_SECONDS, rate.interval_seconds)
    return Refusal(
        f"response.code == 429 && response.headers['{COUNTED_BY}'] == '{by}' && "
        f"xds.route_metadata.filter_metadata['oofgg']['rate_class'] == '{rate_class.value}'",
        Code.RESOURCE_EXHAUSTED,
        429,
        ErrorReason.ERROR_REASON_RATE_LIMITED,
        f"Too many calls: one {whose} may make {rate.burst:,} calls of the class {rate_class.value} at once, and "
        f"{rate.per_minute:,} a minute. Wait {wait:g} s and try again.{_LIFT if development else ''}",
        retry_after=wait,
    )
