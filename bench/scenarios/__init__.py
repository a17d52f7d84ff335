"""The registry of all scenarios, in the order of the report."""

from __future__ import annotations

from bench.scenario import Group
from bench.scenarios import boards, engine, identity, latency, login, relay, results, startup, streams, unary

GROUPS: tuple[Group, ...] = (
    unary.GROUP,
    login.GROUP,
    identity.GROUP,
    relay.GROUP,
    latency.GROUP,
    streams.GROUP,
    results.GROUP,
    boards.GROUP,
    startup.GROUP,
    engine.GROUP,
)
