"""What can happen to a platform while people play, each with what players may notice of it.

A fault begins with everything whole and leaves it so. It returns a line that says what it did.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.chaos.cluster import Cluster
from tests.chaos.proxy import Direction, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

Strike = Callable[[Cluster, Proxy], Awaitable[str]]

LEASE_SECONDS: Final = 5.0
PAUSE_OWNER_SECONDS: Final = LEASE_SECONDS + 3.0
PAUSE_REDIS_SECONDS: Final = 4.0
STALL_SECONDS: Final = 6.0
DELAY_SECONDS: Final = 0.3
# What the design promises after a death, and what an interruption may take beyond its own length.
AFTER_A_DEATH: Final = 5.0
AFTER_AN_INTERRUPTION: Final = 10.0


@dataclass(frozen=True)
class Fault:
    """Something that happens. `outage` is the longest that a RELIABLE command may be on its way, in seconds."""

    name: str
    strike: Strike
    outage: float
    lasts: float = 5.0
    """About how long it takes, so that play goes on around it."""


async def kill_owner(cluster: Cluster, _: Proxy) -> str:
    """The node with the most sessions dies and is started again under its name, as a supervisor would."""
    node, count = await _owner(cluster)
    await asyncio.to_thread(cluster.kill, node)
    await asyncio.to_thread(cluster.start, node)
    await asyncio.to_thread(cluster.wait_whole)
    return f"killed {node}, which ran {count} sessions, and started it again"


async def lose_owner(cluster: Cluster, _: Proxy) -> str:
    """The node with the most sessions dies, and stays dead until the others must have taken over."""
    node, count = await _owner(cluster)
    await asyncio.to_thread(cluster.kill, node)
    await asyncio.sleep(2 * AFTER_A_DEATH)
    await asyncio.to_thread(cluster.start, node)
    await asyncio.to_thread(cluster.wait_whole)
    return f"killed {node}, which ran {count} sessions, and left it dead for a while"


async def pause_owner(cluster: Cluster, _: Proxy) -> str:
    """The node with the most sessions stands still for longer than its lease, and then believes that it has them."""
    node, count = await _owner(cluster)
    with _stopped(cluster.running(node).process.pid):
        await asyncio.sleep(PAUSE_OWNER_SECONDS)
    await asyncio.to_thread(cluster.wait_whole)
    return f"paused {node}, which ran {count} sessions, for {PAUSE_OWNER_SECONDS:.0f} s"


async def drain_owner(cluster: Cluster, _: Proxy) -> str:
    """The node with the most sessions is told to end, and started again, as in a deploy."""
    node, count = await _owner(cluster)
    await asyncio.to_thread(cluster.stop, node)
    await asyncio.to_thread(cluster.start, node)
    await asyncio.to_thread(cluster.wait_whole)
    return f"drained {node}, which ran {count} sessions, and started it again"


async def restart_redis(cluster: Cluster, _: Proxy) -> str:
    """Redis ends in good order and comes back with its data."""
    await asyncio.to_thread(cluster.stage.restart_valkey)
    await asyncio.to_thread(cluster.wait_whole)
    return "restarted Redis"


async def kill_redis(cluster: Cluster, _: Proxy) -> str:
    """Redis dies and comes back with what its append-only file holds."""
    await asyncio.to_thread(cluster.kill_redis)
    await asyncio.to_thread(cluster.wait_whole)
    return "killed Redis, which came back with its file"


async def pause_redis(cluster: Cluster, _: Proxy) -> str:
    """Redis stands still, which looks like a network that swallows everything."""
    with _stopped(await asyncio.to_thread(cluster.redis_pid)):
        await asyncio.sleep(PAUSE_REDIS_SECONDS)
    await asyncio.to_thread(cluster.wait_whole)
    return f"paused Redis for {PAUSE_REDIS_SECONDS:.0f} s"


async def restart_envoy(cluster: Cluster, _: Proxy) -> str:
    """Envoy dies and is started again."""
    await asyncio.to_thread(cluster.kill, "envoy")
    await asyncio.to_thread(cluster.open_envoy)
    return "killed Envoy and started it again"


async def cut_connections(_: Cluster, proxy: Proxy) -> str:
    """All players' connections are reset, twice."""
    cut = proxy.cut()
    assert cut, "there was nothing to cut"
    await asyncio.sleep(2)
    cut += proxy.cut()
    return f"cut {cut} connections"


async def stall_up(_: Cluster, proxy: Proxy) -> str:
    """What players send arrives nowhere for a while; what they are sent arrives."""
    return await _stall(proxy, Direction.UP)


async def stall_down(_: Cluster, proxy: Proxy) -> str:
    """What players are sent arrives nowhere for a while; what they send arrives."""
    return await _stall(proxy, Direction.DOWN)


async def swallow_up(_: Cluster, proxy: Proxy) -> str:
    """What players send on the connections they have never arrives, as behind a router that forgot them."""
    return f"swallowed what came {Direction.UP.value} on {proxy.stall(Direction.UP)} connections for good"


async def swallow_down(_: Cluster, proxy: Proxy) -> str:
    """What players are sent on the connections they have never arrives."""
    return f"swallowed what came {Direction.DOWN.value} on {proxy.stall(Direction.DOWN)} connections for good"


async def delay(_: Cluster, proxy: Proxy) -> str:
    """The network becomes slow for a while."""
    proxy.delay = DELAY_SECONDS
    try:
        await asyncio.sleep(4)
    finally:
        proxy.heal()
    return f"delayed everything by {DELAY_SECONDS:.1f} s each way"


FAULTS: Final = (
    Fault("kill-owner", kill_owner, AFTER_A_DEATH),
    Fault("lose-owner", lose_owner, AFTER_A_DEATH, lasts=10.0),
    Fault("pause-owner", pause_owner, PAUSE_OWNER_SECONDS + AFTER_AN_INTERRUPTION, lasts=PAUSE_OWNER_SECONDS),
    Fault("drain-owner", drain_owner, AFTER_A_DEATH),
    Fault("restart-redis", restart_redis, AFTER_AN_INTERRUPTION),
    Fault("kill-redis", kill_redis, AFTER_AN_INTERRUPTION),
    Fault("pause-redis", pause_redis, PAUSE_REDIS_SECONDS + AFTER_AN_INTERRUPTION, lasts=PAUSE_REDIS_SECONDS),
    Fault("restart-envoy", restart_envoy, AFTER_AN_INTERRUPTION),
    Fault("cut-connections", cut_connections, AFTER_AN_INTERRUPTION),
    Fault("stall-up", stall_up, AFTER_AN_INTERRUPTION, lasts=STALL_SECONDS),
    Fault("stall-down", stall_down, AFTER_AN_INTERRUPTION, lasts=STALL_SECONDS),
    Fault("swallow-up", swallow_up, AFTER_AN_INTERRUPTION, lasts=6.0),
    Fault("swallow-down", swallow_down, AFTER_AN_INTERRUPTION, lasts=6.0),
    Fault("delay", delay, 4 * DELAY_SECONDS + 1.0),
)


async def _owner(cluster: Cluster) -> tuple[str, int]:
    def find() -> tuple[str, int]:
        node = cluster.busiest()
        return node, cluster.sessions()[node]

    return await asyncio.to_thread(find)


async def _stall(proxy: Proxy, direction: Direction) -> str:
    stalled = proxy.stall(direction)
    assert stalled, "there was nothing to stall"
    try:
        await asyncio.sleep(STALL_SECONDS)
    finally:
        proxy.heal()
    return f"held back what came {direction.value} on {stalled} connections for {STALL_SECONDS:.0f} s"


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
