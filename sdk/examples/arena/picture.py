"""What the field looks like at a moment, painted on a canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from .canvas import Canvas, mix
from .field import HEADINGS, HEIGHT, WALLS, WIDTH
from .motion import Pose
from .play import SPARK_SECONDS, Game
from .rules import BOLT_SPEED

COLOURS: Final = (
    0x4CC9F0, 0xFF5D8F, 0xFFD166, 0x7CFC98, 0xC77DFF, 0xFF9F5A,
    0x5EEAD4, 0xF472F2, 0xB8E986, 0x8AA8FF, 0xFFB4A2, 0xE2E8F0,
)  # fmt: skip
WHITE: Final = 0xFFFFFF
GEM: Final = 0x9DFFEC
_OUTSIDE: Final = 0x07080F
_FLOOR: Final = 0x0D1224
_FLOOR_LIGHT: Final = 0x17203E
_GRID: Final = 0x1B2647
_EDGE: Final = 0x2B3A6B
_WALL: Final = 0x3B4C86
_WALL_LIGHT: Final = 0x6F88D2
_WALL_DARK: Final = 0x2A3766
_SHADOW: Final = 0x090D1B
_FLAME: Final = 0xFFC46B
_TRAIL: Final = 14
_GO_SECONDS: Final = 0.8


def colour_of(seat: int) -> int:
    """A seat's colour."""
    return COLOURS[(seat - 1) % len(COLOURS)]


@dataclass(slots=True)
class Picture:
    """Paints a game; everything is shown in whatever room there is."""

    columns: int
    lines: int
    canvas: Canvas = field(init=False)
    _scale: float = field(init=False)
    _left: float = field(init=False)
    _top: float = field(init=False)
    _trails: dict[int, list[tuple[float, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._scale = min(self.columns / WIDTH, self.lines * 2 / HEIGHT)
        self._left = (self.columns - WIDTH * self._scale) / 2
        self._top = (self.lines * 2 - HEIGHT * self._scale) / 2
        self.canvas = Canvas(self.columns, self.lines, self._ground)

    def paint(self, game: Game) -> None:
        """Paints the present moment."""
        now, canvas = game.now, self.canvas
        canvas.clear()
        for slot in range(len(game.round.gems)):
            self._gem(*game.round.gem(slot), now + slot)
        for shot in game.flying():
            x, y = shot.place(now)
            back = min(BOLT_SPEED * max(now - shot.at, 0.0), 5.0)
            dx, dy = HEADINGS[shot.heading]
            self._bolt((x - dx * back, y - dy * back), (x, y), colour_of(shot.seat))
        own = game.session.seat
        for seat, pose in game.others().items():
            player = game.round.players[seat]
            self._ship(seat, pose, now, shielded=now < player.shielded_until, own=False)
            self._name(player.name, pose, colour_of(seat))
        if own in game.round.players and not game.is_down:
            self._ship(own, game.ship, now, shielded=now < game.round.players[own].shielded_until, own=True)
        for spark in game.sparks:
            self._spark(spark.x, spark.y, (now - spark.at) / SPARK_SECONDS)
        self._announce(game, now)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self._left + x * self._scale, self._top + y * self._scale

    def _ground(self, column: float, row: float) -> int:
        x, y = (column - self._left) / self._scale, (row - self._top) / self._scale
        if not (0 <= x <= WIDTH and 0 <= y <= HEIGHT):
            return _OUTSIDE
        pixel = 1 / self._scale
        if min(x, WIDTH - x, y, HEIGHT - y) < pixel:
            return _EDGE
        for wall in WALLS:
            if wall.left <= x < wall.right and wall.top <= y < wall.bottom:
                if y < wall.top + pixel:
                    return _WALL_LIGHT
                return _WALL_DARK if y >= wall.bottom - pixel else _WALL
            if wall.left + 1 <= x < wall.right + 1 and wall.top + 1 <= y < wall.bottom + 1.5:
                return _SHADOW
        middle = math.hypot((x - WIDTH / 2) / WIDTH, (y - HEIGHT / 2) / HEIGHT)
        floor = mix(_FLOOR_LIGHT, _FLOOR, min(middle * 1.6, 1.0))
        return mix(floor, _GRID, 0.7) if x % 8 < 0.999 * pixel and y % 6 < 0.999 * pixel else floor

    def _gem(self, x: float, y: float, phase: float) -> None:
        beat = 0.5 + 0.5 * math.sin(phase * 5)
        x, y = self._at(x, y)
        self.canvas.glow(x, y, (3.2 + beat) * self._scale, GEM, 0.35 + 0.2 * beat)
        self.canvas.disc(x, y, 0.8 * self._scale, mix(GEM, WHITE, beat * 0.7))

    def _bolt(self, tail: tuple[float, float], head: tuple[float, float], colour: int) -> None:
        self.canvas.line(*self._at(*tail), *self._at(*head), colour, 0.9)
        x, y = self._at(*head)
        self.canvas.glow(x, y, 2.6 * self._scale, colour, 0.5)
        self.canvas.disc(x, y, 0.5, WHITE)

    def _ship(self, seat: int, pose: Pose, now: float, *, shielded: bool, own: bool) -> None:
        canvas, colour, size = self.canvas, colour_of(seat), self._scale
        dx, dy = HEADINGS[pose.heading]
        trail = self._trails.setdefault(seat, [])
        if trail and math.dist(trail[-1], (pose.x, pose.y)) > _TRAIL / 2:
            trail.clear()
        trail.append((pose.x, pose.y))
        del trail[:-_TRAIL]
        for index, (x, y) in enumerate(trail[:-2]):
            canvas.disc(*self._at(x - dx, y - dy), 0.7 * size, colour, 0.02 + 0.3 * index / _TRAIL)
        x, y = self._at(pose.x, pose.y)
        canvas.glow(x, y, (7 if own else 5.5) * size, WHITE if own else colour, 0.28)
        if pose.moving:
            beat = 0.7 + 0.3 * math.sin(now * 40 + seat)
            canvas.glow(*self._at(pose.x - dx * 2.6, pose.y - dy * 2.6), 2.2 * size, _FLAME, beat)

        def corner(ahead: float, aside: float) -> tuple[float, float]:
            return self._at(pose.x + dx * ahead - dy * aside, pose.y + dy * ahead + dx * aside)

        canvas.triangle((corner(3.2, 0), corner(-2.2, 2.6), corner(-2.2, -2.6)), mix(colour, 0, 0.45))
        canvas.triangle((corner(3.2, 0), corner(-1.4, 1.5), corner(-1.4, -1.5)), mix(colour, WHITE, 0.15))
        canvas.disc(*corner(0.2, 0), 0.7 * size, WHITE)
        if shielded and now % 0.3 < 0.2:
            canvas.ring(x, y, 4.2 * size, GEM, 0.9, thick=0.8)

    def _name(self, name: str, pose: Pose, colour: int) -> None:
        if self._scale > 0.45:
            x, y = self._at(pose.x, pose.y - 4.2)
            self.canvas.label(name, x, y, mix(colour, WHITE, 0.3))

    def _spark(self, x: float, y: float, age: float) -> None:
        if not 0 <= age < 1:
            return
        x, y = self._at(x, y)
        fade = 1 - age
        self.canvas.glow(x, y, (3 + 5 * age) * self._scale, 0xFFB347, 0.9 * fade)
        self.canvas.ring(x, y, (1 + 8 * age) * self._scale, 0xFFE08A, 0.8 * fade)
        for ray in range(10):
            angle = ray * math.tau / 10 + x
            far = (2 + (7 + ray % 3 * 2) * age) * self._scale
            self.canvas.disc(x + math.cos(angle) * far, y + math.sin(angle) * far, 0.4, WHITE, fade)

    def _announce(self, game: Game, now: float) -> None:
        start, end = game.round.start, game.round.end
        if start is None or end is None:
            return
        x, y = self._at(WIDTH / 2, HEIGHT / 2)
        size = max(round(3 * self._scale), 1)
        if now < start:
            self.canvas.big(str(math.ceil(start - now)), x, y, size, 0xFFD166)
        elif now < start + _GO_SECONDS:
            self.canvas.big("GO!", x, y, size, 0x7CFC98, 1 - (now - start) / _GO_SECONDS)
        elif game.round.closed:
            return
        elif now >= end:
            self.canvas.big("TIME!", x, y, size, 0xFF5D8F)
        elif end - now < 5:
            self.canvas.big(str(math.ceil(end - now)), x, y, size, 0xFF5D8F, 0.25 + 0.35 * ((end - now) % 1))
