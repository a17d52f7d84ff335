"""A process's own entry in the registry: written when it answers calls, renewed, and ended with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from pkg.errors import Unavailable
from pkg.registry.process import Process, Served, State
from pkg.registry.store import Registry
from pkg.telemetry.logs import get_logger
from pkg.wakes import woken

_log = get_logger(__name__)

# An entry is renewed so many times within its lease: a beat that is late or lost is not a death.
_BEATS = 5


class Registration:
    """Says what this process serves and how it is. One round trip to Redis a beat; without Redis it goes on trying."""

    def __init__(
        self,
        registry: Registry,
        *,
        incarnation: str,
        node: str,
        address: str,
        lease_seconds: float,
        services: Callable[[], Mapping[str, Served]],
        changed: asyncio.Event,
    ) -> None:
        """`services` is asked at every beat; `changed` asks for a beat at once."""
        self._registry = registry
        self._incarnation = incarnation
        self._node = node
        self._address = address
        self._lease_seconds = lease_seconds
        self._services = services
        self._changed = changed
        self._announced: dict[str, State] = {}
        self._failing = False
        self._left = False
        self._beating = asyncio.Lock()

    async def run(self) -> None:
        """Renews the entry until the process leaves."""
        while not self._left:
            self._changed.clear()
            async with self._beating:
                if not self._left:
                    await self._beat(self._services())
            await woken(self._changed, within=self._lease_seconds / _BEATS)

    async def leave(self) -> None:
        """Says that the process is gone; nothing renews the entry afterwards."""
        self._left = True
        async with self._beating:
            await self._beat({name: Served(State.GONE) for name in self._services()})
        self._changed.set()

    async def _beat(self, services: Mapping[str, Served]) -> None:
        process = Process(self._incarnation, self._node, self._address, self._lease_seconds, services)
        states = {name: served.state for name, served in services.items()}
        try:
            await self._registry.put(process, announce=states != self._announced)
        except Unavailable as error:
            if not self._failing:
                _log.warning("this process cannot be registered", cause=repr(error.__cause__))
            self._failing = True
            return
        if self._failing:
            _log.info("this process is registered again")
        self._failing = False
        self._announced = states
