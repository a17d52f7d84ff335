"""The field: how large it is, where its walls are, where things appear. Pure functions, the same for everybody.

Lengths are in units: one unit is half the height of a character, which is also its width. The origin is top left.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 96.0
HEIGHT: Final = 60.0
SHIP_RADIUS: Final = 2.0
GEMS: Final = 3

_STEP: Final = 0.5
_D: Final = math.sqrt(0.5)
# Clockwise from east; `y` grows downwards.
HEADINGS: Final = ((1.0, 0.0), (_D, _D), (0.0, 1.0), (-_D, _D), (-1.0, 0.0), (-_D, -_D), (0.0, -1.0), (_D, -_D))


@dataclass(frozen=True, slots=True)
class Wall:
    """A block that stops ships and bolts."""

    left: float
    top: float
    right: float
    bottom: float

    def touches(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc reaches into it."""
        if not (self.left - radius < x < self.right + radius and self.top - radius < y < self.bottom + radius):
            return False
        across = x - min(max(x, self.left), self.right)
        down = y - min(max(y, self.top), self.bottom)
        return across * across + down * down < radius * radius


# The same seen from every corner, so that no place is better than another.
WALLS: Final = (
    Wall(20, 12, 32, 15),
    Wall(64, 12, 76, 15),
    Wall(20, 45, 32, 48),
    Wall(64, 45, 76, 48),
    Wall(17, 25, 20, 35),
    Wall(76, 25, 79, 35),
    Wall(45, 8, 51, 11),
    Wall(45, 49, 51, 52),
    Wall(38, 28, 41, 32),
    Wall(55, 28, 58, 32),
)


def is_free(x: float, y: float, radius: float = SHIP_RADIUS) -> bool:
    """Whether a disc fits here."""
    if not (radius <= x <= WIDTH - radius and radius <= y <= HEIGHT - radius):
        return False
    for wall in WALLS:  # noqa: SIM110  asked for thousands of times a second
        if wall.touches(x, y, radius):
            return False
    return True


def slide(x: float, y: float, dx: float, dy: float) -> tuple[float, float]:
    """Where a ship gets to that moves by (dx, dy), of less than a wall's thickness: along walls, never into them."""
    for way_x, way_y in ((dx, dy), (dx, 0.0), (0.0, dy)):
        if is_free(x + way_x, y + way_y):
            return x + way_x, y + way_y
    return x, y


def reach(x: float, y: float, heading: int, radius: float = 0.3, most: float = math.inf) -> float:
    """How far a disc gets from here before it meets a wall or the edge, in units; `most` is far enough."""
    dx, dy = HEADINGS[heading]
    far = 0.0
    while far < most and is_free(x + dx * (far + _STEP), y + dy * (far + _STEP), radius):
        far += _STEP
    return far


def spawn(salt: str, seat: int, life: int) -> tuple[float, float]:
    """Where the ship of a seat begins its nth life."""
    return _place(f"{salt}/ship/{seat}/{life}")


def gem(salt: str, slot: int, generation: int) -> tuple[float, float]:
    """Where the nth gem of a slot lies."""
    return _place(f"{salt}/gem/{slot}/{generation}")


def _place(name: str) -> tuple[float, float]:
    chance = random.Random(name)  # noqa: S311  everybody has to come to the same place
    while True:
        x, y = chance.uniform(4, WIDTH - 4), chance.uniform(4, HEIGHT - 4)
        if is_free(x, y, SHIP_RADIUS + 1):
            return x, y
