"""Which queues this node leads: those that rendezvous hashing gives it, and those whose leaders are silent."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pkg.clock import Clock
from pkg.errors import OofggError
from pkg.registry.process import State
from pkg.registry.store import Registry
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken
from services.matchmaking.leading.leader import Leader
from services.matchmaking.metrics import MatchmakingMetrics
from services.matchmaking.stores.leading import LeaderStore, QueueKey

_log = get_logger(__name__)

SERVICE: Final = "matchmaking"
_RENEW_SHARE: Final = 1 / 3
_PATIENCE_SECONDS: Final = 1.0
_FORGET_SECONDS: Final = 3_600.0
_SILENT_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 60.0


def rightful(key: QueueKey, nodes: Iterable[str]) -> str:
    """The node that should lead a queue: highest random weight (Thaler and Ravishankar 1998). Empty without nodes."""
    return max(
        nodes,
        key=lambda node: hashlib.blake2b(f"{key.text} {node}".encode(), digest_size=8).digest(),
        default="",
    )


class Leads:
    """Takes, renews and gives up leads, and runs their leaders."""

    def __init__(
        self,
        node: str,
        store: LeaderStore,
        registry: Registry,
        leader: Callable[[QueueKey, str], Leader],
        clock: Clock,
        metrics: MatchmakingMetrics,
        *,
        lease_seconds: float,
    ) -> None:
        """`node` is the incarnation of this process."""
        self._node = node
        self._store = store
        self._registry = registry
        self._new_leader = leader
        self._clock = clock
        self._metrics = metrics
        self._lease = lease_seconds
        self._leaders: dict[QueueKey, tuple[Leader, asyncio.Task[None]]] = {}
        self._wanted: set[QueueKey] = set()
        self._free_since: dict[QueueKey, float] = {}
        self._failures: dict[QueueKey, tuple[int, float]] = {}  # how often in a row a leader failed, and when last
        self._wake = asyncio.Event()

    def want(self, keys: Iterable[QueueKey]) -> None:
        """These queues have no leader."""
        self._wanted.update(keys)
        self._wake.set()

    def news(self, key: QueueKey) -> None:
        """There is news for the leader of a queue."""
        if key in self._leaders:
            self._leaders[key][0].news()

    async def run(self, draining: asyncio.Event) -> None:
        """Works until cancelled; gives all leads away when the process drains."""
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(self._renew_always())
            while not draining.is_set():
                wanted, self._wanted = self._wanted, set()
                try:
                    await self._round(group, wanted)
                except OofggError as error:
                    _log.warning("queues cannot be looked after", error=repr(error))
                    self._wanted |= wanted
                await woken(self._wake, within=self._lease * _RENEW_SHARE)
                self._wake.clear()
            renewing.cancel()
            await self._give_all()

    async def _renew_always(self) -> None:
        """Renews leads whatever a round takes: when Redis is slow, it takes longer than a lease."""
        while True:
            try:
                await self._renew()
            except OofggError as error:
                _log.warning("leads cannot be renewed", error=repr(error))
            leaders = [leader for leader, _ in self._leaders.values()]
            self._metrics.queues_led.set(len(leaders))
            self._metrics.queue_seconds.set(max((leader.silent_seconds for leader in leaders), default=0.0))
            await asyncio.sleep(self._lease * _RENEW_SHARE)

    async def _renew(self) -> None:
        mine = {key: leader for key, (leader, _) in self._leaders.items()}
        for key, lead in zip(mine, await self._store.lead(list(mine), self._lease, take=False), strict=True):
            leader, task = self._leaders.get(key, (None, None))
            if task is not None and leader is mine[key] and lead.epoch != leader.epoch:
                task.cancel()
                del self._leaders[key]

    async def _round(self, group: asyncio.TaskGroup, wanted: set[QueueKey]) -> None:
        for key, (_, task) in list(self._leaders.items()):
            if task.done():
                del self._leaders[key]
        now = self._clock.now().timestamp()
        others = [key for key in await self._store.active(now - _FORGET_SECONDS) if key not in self._leaders]
        others += [key for key in wanted.difference(others) if key not in self._leaders]
        others = [key for key in others if not self._pauses(key)]
        nodes = await self._nodes()
        if others:
            await self._take(group, others, wanted, nodes)
        for key, (leader, task) in list(self._leaders.items()):
            if rightful(key, nodes) not in (self._node, "") and not task.done():
                await self._give(key, leader, task)
                await self._store.hand(rightful(key, nodes), key)

    async def _take(
        self, group: asyncio.TaskGroup, keys: Sequence[QueueKey], wanted: set[QueueKey], nodes: Sequence[str]
    ) -> None:
        free = await self._store.lead(keys, self._lease, take=False)
        now = self._clock.monotonic()
        self._free_since = {key: self._free_since[key] for key in keys if key in self._free_since}
        chosen = []
        for key, lead in zip(keys, free, strict=True):
            if lead.epoch:  # its leader has failed
                self._begin(group, key, lead.epoch)
            if lead.holder or lead.epoch:
                self._free_since.pop(key, None)
                continue
            should = rightful(key, nodes)
            since = self._free_since.setdefault(key, now)
            if should in (self._node, "") or now - since > _PATIENCE_SECONDS:
                chosen.append(key)
            elif key in wanted:
                await self._store.hand(should, key)
        for key in chosen:
            self._free_since.pop(key, None)
        for key, lead in zip(chosen, await self._store.lead(chosen, self._lease, take=True), strict=True):
            if lead.epoch:
                self._begin(group, key, lead.epoch)

    def _begin(self, group: asyncio.TaskGroup, key: QueueKey, epoch: str) -> None:
        leader = self._new_leader(key, epoch)
        self._leaders[key] = (leader, group.create_task(self._lead(leader), name=f"leader {key.text}"))

    async def _lead(self, leader: Leader) -> None:
        try:
            await leader.run()
        except Exception:
            # It is taken up again, after a pause that grows, by this node or another.
            self._metrics.leader_failures.inc()
            now = self._clock.monotonic()
            count, last = self._failures.get(leader.key, (0, now))
            count = count + 1 if now - last < 2 * _LONGEST_PAUSE_SECONDS else 1
            self._failures[leader.key] = count, now
            _log.exception("a leader failed", game=leader.key.game_id, queue=leader.key.name, times=count)

    def _pauses(self, key: QueueKey) -> bool:
        """Whether the queue's leader failed here a moment ago."""
        count, last = self._failures.get(key, (0, 0.0))
        return count > 0 and self._clock.monotonic() - last < min(
            _LONGEST_PAUSE_SECONDS, self._lease * 2 ** (count - 2)
        )

    async def _give(self, key: QueueKey, leader: Leader, task: asyncio.Task[None]) -> None:
        """Another node should lead this queue."""
        task.cancel()
        await asyncio.wait([task])
        await self._store.release(key, leader.epoch, only_idle=False)
        self._leaders.pop(key, None)

    async def _give_all(self) -> None:
        for key, (leader, task) in list(self._leaders.items()):
            try:
                await self._give(key, leader, task)
                if heir := rightful(key, [node for node in await self._nodes() if node != self._node]):
                    await self._store.hand(heir, key)
            except OofggError as error:
                _log.warning("a lead was not given away", queue=key.name, error=repr(error))

    async def _nodes(self) -> list[str]:
        """Processes that serve matchmaking."""
        found = []
        for sighting in await self._registry.read():
            served = sighting.process.services.get(SERVICE)
            silent = sighting.silent_seconds > max(_SILENT_SECONDS, sighting.process.lease_seconds)
            if served is not None and served.state is State.SERVING and not silent:
                found.append(sighting.process.incarnation)
        return found
