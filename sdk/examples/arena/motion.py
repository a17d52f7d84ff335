"""How ships move: one's own by its pilot, the others' as far as their positions arrive."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from .field import HEADINGS, slide
from .rules import SHIP_SPEED

DELAY: Final = 0.1
"""Seconds in the past that others are shown in: two positions at 20 Hz, so that there is mostly one on either side."""
_GUESS: Final = 0.25
"""Seconds for which a ship that is not heard of goes on as it did."""
_JUMP: Final = 8.0
"""Units beyond which it did not fly there, but began anew."""
_LONGEST_STEP: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a ship is and what it does."""

    x: float
    y: float
    heading: int = 0
    moving: bool = False

    def after(self, seconds: float) -> Pose:
        """Where it is when it goes on like this."""
        if not self.moving:
            return self
        dx, dy = HEADINGS[self.heading]
        x, y, far = self.x, self.y, SHIP_SPEED * seconds
        while far > 0:
            step = min(far, _LONGEST_STEP)
            x, y = slide(x, y, dx * step, dy * step)
            far -= step
        return Pose(x, y, self.heading, self.moving)


@dataclass(slots=True)
class Track:
    """The last positions heard of another ship, by the platform's clock."""

    _heard: deque[tuple[float, Pose]] = field(default_factory=lambda: deque(maxlen=12))

    def hear(self, at: float, pose: Pose) -> None:
        """Takes a position."""
        if not self._heard or at > self._heard[-1][0]:
            self._heard.append((at, pose))

    def at(self, moment: float) -> Pose | None:
        """Where the ship was: between what was heard, or a little beyond. None before anything was."""
        earlier: tuple[float, Pose] | None = None
        for time, pose in self._heard:
            if time > moment:
                return pose if earlier is None else _between(earlier, (time, pose), moment)
            earlier = (time, pose)
        return None if earlier is None else earlier[1].after(min(moment - earlier[0], _GUESS))


def _between(one: tuple[float, Pose], two: tuple[float, Pose], moment: float) -> Pose:
    (since, start), (until, stop) = one, two
    if abs(stop.x - start.x) + abs(stop.y - start.y) > _JUMP:
        return start
    part = (moment - since) / (until - since)
    return Pose(
        start.x + (stop.x - start.x) * part,
        start.y + (stop.y - start.y) * part,
        stop.heading if part > 0.5 else start.heading,
        stop.moving,
    )
