"""How long a ticket will wait, by how long those waited that were matched lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

MOST: Final = 256
FORGOTTEN_AFTER_SECONDS: Final = 3600.0
_FEWEST: Final = 8  # of a size, before they speak for it


@dataclass(frozen=True, slots=True)
class Estimate:
    """Waits from entering to the match, in seconds: half were no longer than the median, nine of ten than `p90`."""

    median: float
    p90: float


class Waits:
    """The last waits of matched tickets in a queue, by the size of their party; what is an hour old does not count."""

    def __init__(self, numbers: Sequence[float] = ()) -> None:
        """From what `numbers` gave; what is incomplete at its end is left out."""
        whole = len(numbers) - len(numbers) % 3
        self._waits: deque[tuple[float, float, int]] = deque(
            [(numbers[i], numbers[i + 1], int(numbers[i + 2])) for i in range(0, whole, 3)], MOST
        )

    def add(self, waited: float, now: float, *, size: int = 1) -> None:
        """A ticket of so many players was matched after `waited` seconds."""
        self._waits.append((now, max(waited, 0.0), size))

    def estimate(self, now: float, *, size: int | None = None) -> Estimate | None:
        """For a party of this size, where enough of them were matched, or for anybody. None when nobody was."""
        recent = [(waited, party) for at, waited, party in self._waits if at + FORGOTTEN_AFTER_SECONDS > now]
        alike = [waited for waited, party in recent if party == size]
        waits = sorted(alike if len(alike) >= _FEWEST else [waited for waited, _ in recent])
        if not waits:
            return None
        return Estimate(quantile(waits, 0.5), quantile(waits, 0.9))

    def numbers(self, now: float) -> list[float]:
        """All of it as at most 768 numbers: time, wait, players, in turn, oldest first; rounded to milliseconds."""
        return [
            number
            for at, waited, size in self._waits
            if at + FORGOTTEN_AFTER_SECONDS > now
            for number in (round(at, 3), round(waited, 3), size)
        ]


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed."""
    return ordered[max(ceil(share * len(ordered)) - 1, 0)]
