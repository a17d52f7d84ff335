"""Who is an endpoint of which service: the rules by which readings of the registry become what Envoy is told.

The registry can be away, empty or old, and none of that may take a service out of Envoy. So:

1. Who says that it is draining gets no new calls; who says that it is gone is removed. Both at once.
2. Who is silent for its whole lease is removed. Only time in which the registry could be read counts as silence: while
   it is away nobody can renew anything. Being absent from the registry is silence too, not a word.
3. Silence never removes the last endpoints of a service. Whether they live, Envoy's own health check finds out.
4. A later incarnation replaces an earlier one at once: of the same address, and of the same node and service.
5. Who is not ready stays. Envoy's health check asks it more often than we do, and goes on when we do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pkg.registry.process import Process, State

# Two readings further apart say nothing of the time between them: nobody knows who could have renewed in it.
LONGEST_STEP_SECONDS: Final = 2.0
# Who was silent already when we began to look has this long to renew: the registry may just have come back.
BENEFIT_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Where a service of a process can be reached."""

    address: str
    node: str
    draining: bool = False


View = Mapping[str, tuple[Endpoint, ...]]
"""Endpoints by service, in order. A service without any is in it only if it has been seen with one: all have left."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A process as a reading of the registry shows it."""

    process: Process
    renewed: int
    """Tells one renewal from the next."""
    silent_seconds: float


@dataclass(slots=True)
class _Known:
    process: Process
    renewed: int
    silent: float
    listed: bool = True
    """Whether the last reading had it."""

    @property
    def late(self) -> bool:
        return self.silent > self.process.lease_seconds


class Directory:
    """What has been learnt from the registry."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._named: set[str] = set()
        self._observed_at: float | None = None

    def observe(self, readings: Iterable[Reading], at: float) -> View:
        """Takes a reading made at this moment of a clock that never goes back; returns the endpoints after it."""
        step = 0.0 if self._observed_at is None else at - self._observed_at
        self._observed_at = at
        if step > LONGEST_STEP_SECONDS:
            step = 0.0
        for known in self._known.values():
            known.silent += step
            known.listed = False
        for reading in readings:
            self._take(reading)
        shown = self._shown()
        self._known = {
            incarnation: known
            for incarnation, known in self._known.items()
            # One that is listed is kept even when it counts for nothing: else it would be new with every reading.
            if known.listed or incarnation in shown
        }
        view: dict[str, set[Endpoint]] = {}
        for incarnation, services in shown.items():
            process = self._known[incarnation].process
            for name in services:
                draining = process.services[name].state is State.DRAINING
                view.setdefault(name, set()).add(Endpoint(process.address, process.node, draining))
        self._named |= view.keys()
        return {name: tuple(sorted(view.get(name, ()))) for name in sorted(self._named)}

    def _take(self, reading: Reading) -> None:
        process = reading.process
        known = self._known.get(process.incarnation)
        if known is None:
            longest = max(0.0, process.lease_seconds - BENEFIT_SECONDS)
            self._known[process.incarnation] = _Known(process, reading.renewed, min(reading.silent_seconds, longest))
            return
        known.listed = True
        if reading.renewed != known.renewed:
            known.process, known.renewed, known.silent = process, reading.renewed, 0.0

    def _shown(self) -> dict[str, list[str]]:
        """Which services of which incarnation have an endpoint."""
        holders: dict[tuple[str, str], str] = {}
        for incarnation in sorted(self._known, key=lambda each: (not self._known[each].late, each)):
            process = self._known[incarnation].process
            holders["", process.address] = incarnation
            holders.update({(name, process.node): incarnation for name in process.services})
        candidates = {
            incarnation: [
                name
                for name, served in known.process.services.items()
                if served.state is not State.GONE and holders[name, known.process.node] == incarnation
            ]
            for incarnation, known in self._known.items()
            if holders["", known.process.address] == incarnation
        }
        attended = {
            name
            for incarnation, names in candidates.items()
            for name in names
            if not self._known[incarnation].late
            and self._known[incarnation].process.services[name].state is not State.DRAINING
        }
        shown = {
            incarnation: [name for name in names if name not in attended or not self._known[incarnation].late]
            for incarnation, names in candidates.items()
        }
        return {incarnation: names for incarnation, names in shown.items() if names}
