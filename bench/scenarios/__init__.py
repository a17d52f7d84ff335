"""The registry of all scenarios, in the order of the report."""

from __future__ import annotations

from bench.scenario import Group
from bench.scenarios import (
    boards,
    duels,
    engine,
    hostile,
    identity,
    login,
    matching,
    matchmaking,
    nodes,
    pace,
    relay,
    results,
    startup,
    streams,
    takeover,
    unary,
)

GROUPS: tuple[Group, ...] = (
    unary.GROUP,
    login.GROUP,
    identity.GROUP,
    relay.GROUP,
    pace.GROUP,
    duels.GROUP,
    nodes.GROUP,
    takeover.GROUP,
    hostile.GROUP,
    streams.GROUP,
    results.GROUP,
    boards.GROUP,
    matchmaking.GROUP,
    startup.GROUP,
    engine.GROUP,
    matching.GROUP,
)
