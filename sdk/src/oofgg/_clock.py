"""How far the server's clock is ahead of this machine's."""

from __future__ import annotations

from collections import deque

# Enough to have met a quiet moment, few enough that clocks that drift or are set are followed.
_SAMPLES = 8


class ClockOffset:
    """An estimate out of heartbeats: of the last ones, that with the shortest round trip, as it can be least wrong.

    The answer is taken to have been sent in the middle of the round trip; the error is at most half of it.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)

    @property
    def estimate(self) -> float | None:
        """Seconds to add to this machine's clock; None before the first measurement."""
        return min(self._samples)[1] if self._samples else None

    def measured(self, round_trip: float, server_time: float, local_time: float) -> None:
        """A heartbeat was answered at `server_time`, and the answer arrived at `local_time` of this machine's clock."""
        self._samples.append((round_trip, server_time - (local_time - round_trip / 2)))
