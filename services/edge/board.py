"""What edge knows now, and who wants to hear when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pkg.clock import Clock
from pkg.errors import Unavailable
from pkg.registry.store import Registry
from pkg.telemetry.logs import get_logger
from services.edge.endpoints import Directory, Reading, View
from services.edge.metrics import EdgeMetrics

_log = get_logger(__name__)

# The registry is read at every announcement, and so often without one.
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 0.2
# Announcements that come together are read together.
_TOGETHER_SECONDS = 0.02


class Board:
    """The endpoints as they were last known; they stay when the registry goes away."""

    def __init__(self, registry: Registry, clock: Clock, metrics: EdgeMetrics) -> None:
        self._registry = registry
        self._clock = clock
        self._metrics = metrics
        self._directory = Directory()
        self._listeners: set[asyncio.Event] = set()
        self.view: View = {}
        self.has_read = False
        self._readable = True

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set at every change of the view."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    async def prepare(self) -> None:
        """Reads once, if that can be done now, so that edge is ready from the start."""
        with suppress(Unavailable):
            await self._read()

    async def follow(self) -> None:
        """Follows the registry until cancelled."""
        changes = self._registry.changes()
        try:
            while True:
                try:
                    await self._read()
                    await changes.wait(_POLL_SECONDS)
                    await asyncio.sleep(_TOGETHER_SECONDS)
                except Unavailable as error:
                    if self._readable:
                        _log.warning(
                            "the registry cannot be read; its last endpoints stay", cause=repr(error.__cause__)
                        )
                    self._readable = False
                    self._metrics.unreadable.set(1)
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await changes.close()

    async def check(self) -> None:
        """Raises while nothing has been read yet: there is nothing to tell. Afterwards the last view does."""
        if not self.has_read:
            raise ConnectionError("the registry has not been read yet")

    async def _read(self) -> None:
        sightings = await self._registry.read()
        readings = [Reading(each.process, each.renewed, each.silent_seconds) for each in sightings]
        view = self._directory.observe(readings, self._clock.monotonic())
        if not self._readable:
            _log.info("the registry can be read again")
        self._readable = self.has_read = True
        self._metrics.unreadable.set(0)
        if view == self.view:
            return
        for service in sorted(view):
            if view[service] != self.view.get(service):
                shown = [f"{each.node} {each.address}{' draining' * each.draining}" for each in view[service]]
                _log.info("endpoints", service=service, endpoints=shown)
        self.view = view
        self._metrics.show(view)
        for listener in self._listeners:
            listener.set()
