"""The table of all RPCs for the docs: who may call what, how often, and under which JSON path."""

from __future__ import annotations

from collections.abc import Sequence

from envoy.render import DEFAULT_LIMITS, Rate
from envoy.routes import Route

HEAD = """\
# Every RPC

Written by `make proto` from the options in the protos, which Envoy's routes and the check in every service come from as
well. An RPC that is not listed here cannot be reached from outside.

**Access** says whose token is accepted. *player*: of an account that is no developer's, or any account's login to a
game. *developer*: a developer's console login, or an API key's token. *host*: a game server's. *admin*: an operator's
console login. *public* needs none. Where a kind of caller is not named, it is refused. **Limit** is the rate-limit
class, see below. A call over JSON takes the request as its body and answers with the fields of the response, named as
in the proto.
"""

LIMITS = """\
## Rate limits

Envoy counts calls per client address and, where a token is asked for, per account; each pair of class and caller has
its own bucket. These are the defaults: calls at once, and per minute in the long run. Past them the answer is
RESOURCE_EXHAUSTED with reason `RATE_LIMITED` and a `RetryInfo`.

| class | per address | per account |
|---|---|---|
"""


def table(routes: Sequence[Route]) -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for service in dict.fromkeys(route.service for route in routes):
        parts.append(f"## {service}\n\n| RPC | access | limit | kind | JSON |\n|---|---|---|---|---|\n")
        parts += [_row(route) for route in routes if route.service == service]
        parts.append("\n")
    parts.append(LIMITS)
    for rate_class, limits in DEFAULT_LIMITS.items():
        parts.append(f"| {rate_class.lower()} | {_rate(limits.per_address)} | {_rate(limits.per_user)} |\n")
    return parts[0] + "\n" + "".join(parts[1:])


def _row(route: Route) -> str:
    access = ", ".join(kind.lower() for kind in route.access)
    json = f"`{route.json.method} {route.json.path}`" if route.json else ""
    return f"| `{route.method}` | {access} | {route.rate_class.lower()} | {_kind(route)} | {json} |\n"


def _kind(route: Route) -> str:
    if route.client_streaming and route.server_streaming:
        return "bidirectional stream"
    if route.server_streaming:
        return "server stream"
    return "client stream" if route.client_streaming else "unary"


def _rate(rate: Rate | None) -> str:
    return "–" if rate is None else f"{rate.burst:,}, then {rate.per_minute:,}/min"
