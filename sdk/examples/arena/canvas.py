"""Pixels in a terminal: each character shows two, one above the other, as the upper half block and its background.

Colours are numbers, 0xRRGGBB. Shapes have soft edges, by how much of a pixel they cover.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

_UPPER: Final = "▀"
# Three by five pixels each.
_GLYPHS: Final = {
    "0": "###|#.#|#.#|#.#|###",
    "1": ".#.|##.|.#.|.#.|###",
    "2": "###|..#|###|#..|###",
    "3": "###|..#|.##|..#|###",
    "4": "#.#|#.#|###|..#|..#",
    "5": "###|#..|###|..#|###",
    "6": "###|#..|###|#.#|###",
    "7": "###|..#|.#.|.#.|.#.",
    "8": "###|#.#|###|#.#|###",
    "9": "###|#.#|###|..#|###",
    "G": "###|#..|#.#|#.#|###",
    "O": "###|#.#|#.#|#.#|###",
    "T": "###|.#.|.#.|.#.|.#.",
    "I": "###|.#.|.#.|.#.|###",
    "M": "#.#|###|###|#.#|#.#",
    "E": "###|#..|##.|#..|###",
    "!": ".#.|.#.|.#.|...|.#.",
}
GLYPH_WIDTH: Final = 4
GLYPH_HEIGHT: Final = 5

_SAMPLES: Final = tuple((x, y) for x in (1 / 6, 0.5, 5 / 6) for y in (1 / 6, 0.5, 5 / 6))
"""Of a pixel, to tell how much of it is covered."""

Row = tuple[int, ...]


def mix(one: int, two: int, part: float) -> int:
    """A colour between two: `part` of the second."""
    rest = 1.0 - part
    return (
        (int((one >> 16) * rest + (two >> 16) * part) << 16)
        | (int((one >> 8 & 255) * rest + (two >> 8 & 255) * part) << 8)
        | int((one & 255) * rest + (two & 255) * part)
    )


@lru_cache(maxsize=16_384)
def _style(above: int, below: int) -> Style:
    return Style(color=_colour(above), bgcolor=_colour(below))


@lru_cache(maxsize=16_384)
def _colour(value: int) -> Color:
    return Color.from_rgb(value >> 16, value >> 8 & 255, value & 255)


class Canvas:
    """A picture of `columns` by `lines` characters, over a background that is drawn once."""

    def __init__(self, columns: int, lines: int, background: Callable[[float, float], int]) -> None:
        """`background` tells the colour of a pixel by its middle."""
        self.width, self.height = columns, lines * 2
        self._ground = [[background(x + 0.5, y + 0.5) for x in range(columns)] for y in range(self.height)]
        self._pixels = [row[:] for row in self._ground]
        self._labels: list[dict[int, tuple[str, int]]] = [{} for _ in range(lines)]

    def clear(self) -> None:
        """Back to the background."""
        self._pixels = [row[:] for row in self._ground]
        self._labels = [{} for _ in self._labels]

    def disc(self, x: float, y: float, radius: float, colour: int, strength: float = 1.0) -> None:
        """A filled circle."""
        self._shape(x, y, radius + 0.5, colour, lambda away: min(radius + 0.5 - away, 1.0) * strength)

    def ring(self, x: float, y: float, radius: float, colour: int, strength: float = 1.0, thick: float = 1.0) -> None:
        """A circle's line."""
        edge = thick / 2 + 0.5
        self._shape(x, y, radius + edge, colour, lambda away: min(max(edge - abs(away - radius), 0.0), 1.0) * strength)

    def triangle(self, corners: Sequence[tuple[float, float]], colour: int, strength: float = 1.0) -> None:
        """A filled triangle, with its corners clockwise."""
        left, right = min(x for x, _ in corners), max(x for x, _ in corners)
        top, bottom = min(y for _, y in corners), max(y for _, y in corners)
        edges = [(*corners[index], *corners[(index + 1) % 3]) for index in range(3)]
        for row in range(max(int(top), 0), min(int(bottom) + 1, self.height)):
            pixels = self._pixels[row]
            for column in range(max(int(left), 0), min(int(right) + 1, self.width)):
                inside = sum(
                    all((bx - ax) * (row + dy - ay) >= (by - ay) * (column + dx - ax) for ax, ay, bx, by in edges)
                    for dx, dy in _SAMPLES
                )
                if inside:
                    pixels[column] = mix(pixels[column], colour, strength * inside / len(_SAMPLES))

    def glow(self, x: float, y: float, radius: float, colour: int, strength: float = 1.0) -> None:
        """Light that fades towards the edge."""
        self._shape(x, y, radius, colour, lambda away: (1.0 - away / radius) ** 2 * strength)

    def line(self, x: float, y: float, to_x: float, to_y: float, colour: int, strength: float = 1.0) -> None:
        """A line one pixel thick, which fades towards its beginning."""
        steps = max(int(math.dist((x, y), (to_x, to_y)) * 1.5), 1)
        for step in range(steps + 1):
            part = step / steps
            self.disc(x + (to_x - x) * part, y + (to_y - y) * part, 0.25, colour, strength * (0.15 + 0.85 * part))

    def big(self, text: str, x: float, y: float, size: int, colour: int, strength: float = 1.0) -> None:
        """Large letters, of those there are, with their middle at a place."""
        left = round(x - (len(text) * GLYPH_WIDTH - 1) * size / 2)
        top = round(y - GLYPH_HEIGHT * size / 2)
        for index, letter in enumerate(text):
            for down, line in enumerate(_GLYPHS[letter].split("|")):
                for across, dot in enumerate(line):
                    if dot == "#":
                        corner = (left + (index * GLYPH_WIDTH + across) * size, top + down * size)
                        self._block(*corner, size, colour, strength)

    def label(self, text: str, x: float, y: float, colour: int) -> None:
        """Small text with its middle at a pixel."""
        line, left = int(y) // 2, round(x - len(text) / 2)
        if 0 <= line < len(self._labels):
            left = max(min(left, self.width - len(text)), 0)
            for index, letter in enumerate(text[: self.width - left]):
                self._labels[line][left + index] = (letter, colour)

    def row(self, line: int) -> Row:
        """What a line of characters looks like, to compare."""
        above, below = self._pixels[line * 2], self._pixels[line * 2 + 1]
        labels = self._labels[line]
        return (*above, *below, *(hash(item) for item in labels.items())) if labels else (*above, *below)

    def segments(self, line: int) -> list[Segment]:
        """A line of characters."""
        above, below, labels = self._pixels[line * 2], self._pixels[line * 2 + 1], self._labels[line]
        segments: list[Segment] = []
        text, last = "", (-1, -1)
        for column, pair in enumerate(zip(above, below, strict=True)):
            letter = _UPPER
            if labels and column in labels:
                letter, colour = labels[column]
                pair = (colour, mix(mix(pair[0], pair[1], 0.5), 0, 0.35))
            if pair != last and text:
                segments.append(Segment(text, _style(*last)))
                text = ""
            text, last = text + letter, pair
        if text:
            segments.append(Segment(text, _style(*last)))
        return segments

    def _shape(self, x: float, y: float, reach: float, colour: int, cover: Callable[[float], float]) -> None:
        for row in range(max(int(y - reach), 0), min(int(y + reach) + 1, self.height)):
            pixels, down = self._pixels[row], row + 0.5 - y
            for column in range(max(int(x - reach), 0), min(int(x + reach) + 1, self.width)):
                away = math.hypot(column + 0.5 - x, down)
                if away < reach and (part := cover(away)) > 0:
                    pixels[column] = mix(pixels[column], colour, part)

    def _block(self, left: int, top: int, size: int, colour: int, strength: float) -> None:
        for row in range(max(top, 0), min(top + size, self.height)):
            pixels = self._pixels[row]
            for column in range(max(left, 0), min(left + size, self.width)):
                pixels[column] = mix(pixels[column], colour, strength)
