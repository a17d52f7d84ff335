"""What a bot thinks. It sees what a player sees, no sooner, and steers as one does; it knows nothing of networks."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from .field import HEADINGS, reach
from .motion import Pose
from .rules import BOLT_SPEED, Shot

NAMES: Final = ("rook", "wren", "kestrel", "heron", "merlin", "swift", "osprey", "plover", "dunlin", "avocet", "curlew")

_RANGE: Final = 42.0
_WIDTH_OF_AIM: Final = 2.4
_DANGER_SECONDS: Final = 0.7
_DANGER_WIDTH: Final = 3.2
_ROOM: Final = 5.0


@dataclass(frozen=True, slots=True)
class View:
    """What a pilot goes by, at one moment."""

    now: float
    me: Pose
    others: Sequence[Pose]
    """Ships that can be hit."""
    gems: Sequence[tuple[float, float]]
    shots: Sequence[Shot]
    """Bolts of others."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a pilot wants: a heading to fly (None: stand), and to fire."""

    heading: int | None = None
    fire: bool = False


class Pilot(Protocol):
    """A player's hands."""

    def decide(self, view: View) -> Intent:
        """What to do now; asked in every tick."""
        ...


@dataclass(slots=True)
class Brain:
    """A bot. It thinks a few times a second, hesitates, and does not always hit: skill is from 0 to 1."""

    chance: random.Random
    skill: float = 0.6
    _think_at: float = 0.0
    _heading: int = 0
    _wander: tuple[float, float] = field(default=(48.0, 30.0))

    def decide(self, view: View) -> Intent:
        """What to do now."""
        if view.now < self._think_at:
            return Intent(self._heading)
        self._think_at = view.now + self.chance.uniform(0.08, 0.34 - 0.2 * self.skill)
        if (away := self._dodge(view)) is not None:
            self._heading = away
            return Intent(away)
        if (target := self._aim(view)) is not None and self.chance.random() < 0.35 + 0.6 * self.skill:
            self._heading = target
            return Intent(target, fire=True)
        self._heading = self._towards(view.me, self._goal(view))
        return Intent(self._heading)

    def _dodge(self, view: View) -> int | None:
        for shot in view.shots:
            dx, dy = HEADINGS[shot.heading]
            x, y = shot.place(view.now)
            ahead = (view.me.x - x) * dx + (view.me.y - y) * dy
            aside = (view.me.x - x) * -dy + (view.me.y - y) * dx
            if 0 < ahead < BOLT_SPEED * _DANGER_SECONDS and abs(aside) < _DANGER_WIDTH:
                if self.chance.random() > self.skill:
                    return None
                side = 2 if aside >= 0 else -2
                ways = ((shot.heading + side) % 8, (shot.heading - side) % 8)
                return max(ways, key=lambda way: reach(view.me.x, view.me.y, way, 2.0, most=_ROOM))
        return None

    def _aim(self, view: View) -> int | None:
        best: tuple[float, int] | None = None
        for other in view.others:
            away = math.dist((view.me.x, view.me.y), (other.x, other.y))
            if away > _RANGE:
                continue
            # Where it will be when a bolt arrives; the better one aims, the more one leads.
            there = other.after(self.skill * min(away / BOLT_SPEED, 0.5)) if other.moving else other
            across, down = there.x - view.me.x, there.y - view.me.y
            for heading, (dx, dy) in enumerate(HEADINGS):
                ahead, aside = across * dx + down * dy, across * -dy + down * dx
                if ahead <= 0 or abs(aside) > _WIDTH_OF_AIM or reach(view.me.x, view.me.y, heading, most=ahead) < ahead:
                    continue
                if best is None or ahead < best[0]:
                    best = (ahead, heading)
        return best[1] if best else None

    def _goal(self, view: View) -> tuple[float, float]:
        here = (view.me.x, view.me.y)
        near = [(math.dist(here, gem) * 0.8, gem) for gem in view.gems]
        # Not to the other ship itself, but to where it can be shot at from.
        near += [(math.dist(here, (o.x, o.y)), self._line_up(here, (o.x, o.y))) for o in view.others]
        if near:
            return min(near)[1]
        if math.dist(here, self._wander) < _ROOM:
            self._wander = (self.chance.uniform(5, 90), self.chance.uniform(5, 55))
        return self._wander

    def _line_up(self, here: tuple[float, float], there: tuple[float, float]) -> tuple[float, float]:
        across, down = there[0] - here[0], there[1] - here[1]
        return (there[0], here[1]) if abs(across) < abs(down) else (here[0], there[1])

    def _towards(self, me: Pose, goal: tuple[float, float]) -> int:
        across, down = goal[0] - me.x, goal[1] - me.y
        length = math.hypot(across, down) or 1.0

        def worth(heading: int) -> float:
            dx, dy = HEADINGS[heading]
            progress = (across * dx + down * dy) / length
            room = reach(me.x, me.y, heading, 2.0, most=_ROOM) / _ROOM
            keep = 0.25 if heading == self._heading else 0.0
            return progress + 1.5 * room + keep + self.chance.uniform(0, 0.3)

        return max(range(len(HEADINGS)), key=worth)
