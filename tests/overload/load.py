"""Giving a worker twice what it can do, and seeing what becomes of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.chaos.proxy import Proxy

# How long each worker is overloaded: `make test-overload SECONDS=60`.
SECONDS: Final = float(os.environ.get("OOFGG_OVERLOAD_SECONDS", "6"))
_OFFERS_PER_SECOND: Final = 10
_CAPACITY_SECONDS: Final = 1.5
_LONGEST_SECONDS: Final = 60.0
# What is told may come a moment later than it is done: looks for new work, renewed connections.
_LATE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Backends behind proxies: addresses that are slow, as slow as they are told to be."""

    postgres: Proxy
    redis: Proxy
    kafka: Proxy
    postgres_url: str
    redis_url: str
    kafka_bootstrap: str

    def slow(self, seconds: float) -> None:
        """What is sent, and what is answered, takes so long on its way."""
        for proxy in (self.postgres, self.redis, self.kafka):
            proxy.delay = seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured; units of work, and seconds."""

    capacity: float
    """A second, while there is always something to do."""
    offered: float
    throughput: float
    """A second, under overload."""
    backlog: int
    drained_in: float

    def __str__(self) -> str:
        return (
            f"can do {self.capacity:.0f}/s, was given {self.offered:.0f}/s and did {self.throughput:.0f}/s "
            f"({self.throughput / self.capacity:.2f} of it); {self.backlog} waited in the end, "
            f"for {self.drained_in:.1f} s"
        )


async def overload(
    name: str,
    offer: Callable[[int], Awaitable[None]],
    done: Callable[[], Awaitable[int]],
    *,
    first: int = 20,
    least: float = 0.5,
) -> Outcome:
    """Measures what a worker can do, gives it twice that for `SECONDS`, then nothing, and waits until all is done.

    `offer` gives it so many units of work more; `done` tells how many have been done, ever. Asserts that it does at
    `least` this share of what it can do, and has done the rest in as much time as that takes at half its speed.
    """
    await offer(first)  # to begin with: connections, elections
    await _reach(name, done, first, _LONGEST_SECONDS)
    offered, capacity, units = first, 0.0, 2 * first
    while True:
        began = time.monotonic()
        await offer(units)
        offered += units
        await _reach(name, done, offered, _LONGEST_SECONDS)
        elapsed = time.monotonic() - began
        capacity = units / elapsed
        if elapsed >= _CAPACITY_SECONDS:
            break
        units = int(units * min(8.0, max(1.5, 1.3 * _CAPACITY_SECONDS / elapsed))) + 1
    before, began, given = offered, time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < SECONDS:
        more = int(2 * capacity * (elapsed + 1 / _OFFERS_PER_SECOND)) - given
        if more > 0:
            await offer(more)
            given += more
        await asyncio.sleep(max(0.0, elapsed + 1 / _OFFERS_PER_SECOND - (time.monotonic() - began)))
    elapsed = time.monotonic() - began
    finished = await done()
    ended = time.monotonic()
    backlog = before + given - finished
    allowed = 2 * backlog / capacity + _LATE_SECONDS
    await _reach(name, done, before + given, allowed)
    outcome = Outcome(capacity, given / elapsed, (finished - before) / elapsed, backlog, time.monotonic() - ended)
    print(f"\n{name}: {outcome}")
    assert outcome.offered > 1.5 * capacity, f"{name} was not overloaded: {outcome}"
    assert outcome.throughput >= capacity * least, f"{name} slows down under overload: {outcome}"
    return outcome


async def _reach(name: str, done: Callable[[], Awaitable[int]], wanted: int, within: float) -> None:
    deadline = time.monotonic() + within
    while (found := await done()) < wanted:
        assert time.monotonic() < deadline, f"{name}: {found} of {wanted} done within {within:.1f} s"
        await asyncio.sleep(0.02)
