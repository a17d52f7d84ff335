"""Counts and times of a run, in memory that does not grow with it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

_SMALLEST = 1e-4
_STEP = 1.07
_BUCKETS = 250


class Histogram:
    """Times in seconds, to within 7 %, from 0.1 ms to half an hour."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0.0
        self._buckets = [0] * _BUCKETS

    def add(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.longest = max(self.longest, seconds)
        index = math.ceil(math.log(max(seconds, _SMALLEST) / _SMALLEST, _STEP))
        self._buckets[min(index, _BUCKETS - 1)] += 1

    def percentile(self, share: float) -> float:
        """The time that a share (0 to 1) of them does not exceed; 0 when there are none."""
        left = share * self.count
        for index, count in enumerate(self._buckets):
            left -= count
            if count and left <= 0:
                return min(_SMALLEST * _STEP**index, self.longest)
        return self.longest


@dataclass(frozen=True, slots=True)
class Outage:
    """The longest time between sending a RELIABLE command and seeing it come back."""

    seconds: float = 0.0
    at: float = 0.0
    """When the command was sent, in seconds since play began."""
    session: str = ""
    seat: int = 0
    number: int = 0


@dataclass
class Figures:
    """What all bots together have counted."""

    sent: Counter[str] = field(default_factory=Counter)
    """By delivery class."""
    seen: Counter[str] = field(default_factory=Counter)
    round_trip: Histogram = field(default_factory=Histogram)
    """From sending a RELIABLE command to seeing it, of bots that read all the time."""
    outage: Outage = field(default_factory=Outage)
    resumes: int = 0
    """Streams that were opened again, by the SDK or by a dropper."""
    drops: int = 0
    log_resets: int = 0
    skipped: int = 0
    """Commands that were not sent because too many were on their way."""

    def came_back(self, outage: Outage) -> None:
        """A RELIABLE command has come back to its sender."""
        self.round_trip.add(outage.seconds)
        self.still_away(outage)

    def still_away(self, outage: Outage) -> None:
        """A RELIABLE command has not come back for so long."""
        if outage.seconds > self.outage.seconds:
            self.outage = outage
