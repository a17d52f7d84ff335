"""The nodes that run sessions: which are alive, and which has room.

What is known comes from the registry of processes and is as old as its last reading. It decides where a session is
better off, never who may write: for that there are epochs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from pkg.clock import Clock
from pkg.registry.process import Process, Served, State
from pkg.registry.store import Registry, Sighting
from pkg.telemetry.logs import get_logger

_log = get_logger(__name__)

SERVICE: Final = "game"
# A process renews its entry five times within its lease: who missed two of them may be dead.
_LATE_SHARE: Final = 0.5
_PROBE_SECONDS: Final = 0.5
_PROBE_AGAIN_SECONDS: Final = 0.2
_WAIT_SECONDS: Final = 0.1
_OLD_READING_SECONDS: Final = 2.0


class Life(Enum):
    """What is known of a node."""

    ALIVE = auto()
    LATE = auto()
    """It may be dead: it has not said anything for a while."""
    DEAD = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Peer:
    """A node, this one included."""

    incarnation: str
    node: str


def life_of(incarnation: str, me: str, sightings: Iterable[Sighting], since: float, *, silence_counts: bool) -> Life:
    """What a reading of the registry, made `since` seconds ago, says of a node."""
    by_id = {sighting.process.incarnation: sighting for sighting in sightings}
    if me not in by_id:
        return Life.UNKNOWN  # a registry that does not know us has lost others as well
    sighting = by_id.get(incarnation)
    if sighting is None:
        return Life.DEAD if silence_counts else Life.LATE
    process = sighting.process
    silent = sighting.silent_seconds + since
    served = process.services.get(SERVICE)
    if served is None or served.state is State.GONE or (silent > process.lease_seconds and silence_counts):
        return Life.DEAD
    return Life.LATE if silent > process.lease_seconds * _LATE_SHARE else Life.ALIVE


def least_loaded(sightings: Iterable[Sighting], placed: dict[str, int], me: str) -> Peer | None:
    """The node with the fewest sessions, then calls; this one where it is as good. None when no node takes any.

    `placed` are the sessions that were put on a node since it last told its load.
    """
    best: tuple[tuple[int, bool, int, str], Process] | None = None
    for sighting in sightings:
        process = sighting.process
        served = process.services.get(SERVICE)
        late = sighting.silent_seconds > process.lease_seconds * _LATE_SHARE
        if served is None or served.state is not State.SERVING or late:
            continue
        sessions = served.load.sessions + placed.get(process.incarnation, 0)
        weight = (sessions, process.incarnation != me, served.load.calls, process.incarnation)
        if best is None or weight < best[0]:
            best = weight, process
    return Peer(best[1].incarnation, best[1].node) if best else None


class Peers:
    """The nodes as they were last read."""

    def __init__(self, registry: Registry, me: Peer, clock: Clock) -> None:
        self.me = me
        self._registry = registry
        self._clock = clock
        self._sightings: list[Sighting] = []
        self._read_at = float("-inf")
        self._silence_counts_from = float("inf")
        self._placed: dict[str, int] = {}
        self._renewed: dict[str, int] = {}
        self._probed: dict[str, float] = {}

    async def read(self) -> None:
        """Looks again. Raises Unavailable."""
        self._sightings = await self._registry.read()
        now, before = self._clock.monotonic(), self._read_at
        self._read_at = now
        longest = max((each.process.lease_seconds for each in self._sightings), default=0.0)
        mine = self._sighting(self.me.incarnation)
        late = mine is None or mine.silent_seconds > mine.process.lease_seconds * _LATE_SHARE
        if late or now - before > _OLD_READING_SECONDS:
            # The registry was away, or we were: then others could not renew either, and have a lease's time for it now.
            self._silence_counts_from = now + longest
        renewed = {each.process.incarnation: each.renewed for each in self._sightings}
        for incarnation, when in renewed.items():
            if self._renewed.get(incarnation) != when:
                self._placed.pop(incarnation, None)
        self._renewed = renewed

    def choose(self) -> Peer | None:
        """The node for one more session, which is counted there. None when no node takes any."""
        return self._choose(self._sightings)

    def choose_other(self) -> Peer | None:
        """The same, among the other nodes."""
        return self._choose(each for each in self._sightings if each.process.incarnation != self.me.incarnation)

    def is_dead(self, peer: Peer) -> bool:
        """Whether its sessions are anybody's now. An earlier incarnation of this node is: it made room for us."""
        if peer.node == self.me.node and peer.incarnation < self.me.incarnation:
            return True
        return self._life(peer.incarnation) is Life.DEAD

    async def has_died(self, peer: Peer) -> bool:
        """As `is_dead`, for who has to know: asks a node that may be dead, and waits for one that is late.

        Takes no longer than a lease. Raises Unavailable while the registry cannot be read.
        """
        while True:
            if self.is_dead(peer):
                return True
            if self._clock.monotonic() - self._read_at > _OLD_READING_SECONDS:
                await self.read()
                continue
            life = self._life(peer.incarnation)
            process = self._process(peer.incarnation)
            if process is not None and await self._refuses(process):
                return True
            if life is not Life.LATE:
                return False
            await asyncio.sleep(_WAIT_SECONDS)

    async def watch(self) -> None:
        """Asks the node after this one, in a ring, whether it is there: so one that was killed is soon found."""
        serving = sorted(
            each.process.incarnation
            for each in self._sightings
            if self._serves(each.process) and each.process.incarnation != self.me.incarnation
        )
        after = next((other for other in serving if other > self.me.incarnation), serving[0] if serving else None)
        if after is not None and (process := self._process(after)) is not None:
            await self._refuses(process)

    async def _refuses(self, process: Process) -> bool:
        """Whether nobody listens at the address of a process any more. It is then entered as gone, for all."""
        now = self._clock.monotonic()
        if not self._serves(process) or self._probed.get(process.incarnation, 0.0) > now - _PROBE_AGAIN_SECONDS:
            return False
        self._probed[process.incarnation] = now
        host, _, port = process.address.rpartition(":")
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except ConnectionRefusedError:
            _log.warning("a node is gone without a word", lost=process.node, address=process.address)
            services = {name: Served(State.GONE) for name in process.services}
            gone = Process(process.incarnation, process.node, process.address, process.lease_seconds, services)
            await self._registry.put(gone, announce=True)
            await self.read()
            return True
        except (OSError, TimeoutError):
            return False
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PROBE_SECONDS):
                await writer.wait_closed()
        return False

    def _choose(self, sightings: Iterable[Sighting]) -> Peer | None:
        chosen = least_loaded(sightings, self._placed, self.me.incarnation)
        if chosen is not None:
            self._placed[chosen.incarnation] = self._placed.get(chosen.incarnation, 0) + 1
        return chosen

    def _life(self, incarnation: str) -> Life:
        now = self._clock.monotonic()
        since = now - self._read_at
        if since > _OLD_READING_SECONDS:
            return Life.UNKNOWN
        counts = now >= self._silence_counts_from
        return life_of(incarnation, self.me.incarnation, self._sightings, since, silence_counts=counts)

    def _sighting(self, incarnation: str) -> Sighting | None:
        return next((each for each in self._sightings if each.process.incarnation == incarnation), None)

    def _process(self, incarnation: str) -> Process | None:
        sighting = self._sighting(incarnation)
        return sighting.process if sighting else None

    @staticmethod
    def _serves(process: Process) -> bool:
        served = process.services.get(SERVICE)
        return served is not None and served.state not in (State.GONE, State.DRAINING)
