"""The registry of all scenarios, in the order in which they run."""

from __future__ import annotations

from bench.scenario import Group
from bench.scenarios import engine, latency, login, relay, results, startup, streams, unary

GROUPS: tuple[Group, ...] = (
    engine.GROUP,
    startup.GROUP,
    unary.GROUP,
    login.GROUP,
    relay.GROUP,
    latency.GROUP,
    streams.GROUP,
    results.GROUP,
)
