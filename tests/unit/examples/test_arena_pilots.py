"""Bots, hands, and where others' ships are thought to be."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.examples.arena.bots import Brain, Intent, View
from sdk.examples.arena.canvas import Canvas, mix
from sdk.examples.arena.field import HEADINGS, is_free, spawn
from sdk.examples.arena.motion import Pose, Track
from sdk.examples.arena.rules import BOLT_SPEED, SHIP_SPEED, Shot
from sdk.examples.arena.screen import Hands


def view(me: Pose, others: list[Pose] | None = None, **seen: list[Shot] | list[tuple[float, float]]) -> View:
    return View(100.0, me, others or [], seen.get("gems", []), seen.get("shots", []))  # type: ignore[arg-type]


def test_a_bot_shoots_at_who_is_in_line_and_not_through_walls() -> None:
    fired = [
        Brain(random.Random(n), skill=1.0).decide(view(Pose(10, 20), [Pose(40, 20.5)])) == Intent(0, fire=True)
        for n in range(40)
    ]
    assert sum(fired) > 30
    behind = view(Pose(10, 30), [Pose(30, 30)])
    assert not any(Brain(random.Random(n), skill=1.0).decide(behind).fire for n in range(40))


def test_a_bot_dodges_a_bolt() -> None:
    coming = Shot(2, 1, 99.9, 70.0 - 0.1 * BOLT_SPEED, 20.0, 4, 5.0)
    heading = Brain(random.Random(1), skill=1.0).decide(view(Pose(40, 20), shots=[coming])).heading
    assert heading is not None
    assert abs(HEADINGS[heading][0]) < 0.1


@pytest.mark.parametrize("seed", range(6))
def test_a_bot_gets_to_a_gem_around_walls(seed: int) -> None:
    chance = random.Random(seed)
    brain, me, gem = Brain(chance), Pose(*spawn("s", seed, 1)), spawn("s", seed, 2)
    now = 0.0
    while math.dist((me.x, me.y), gem) > 3:
        now += 1 / 30
        intent = brain.decide(View(now, me, [], [gem], []))
        assert intent.heading is not None
        me = Pose(me.x, me.y, intent.heading, True).after(1 / 30)
        assert is_free(me.x, me.y)
        assert now < 30, "it found no way"


def test_a_track_is_between_what_was_heard_and_a_little_beyond() -> None:
    track = Track()
    assert track.at(1.0) is None
    track.hear(1.0, Pose(40, 20, 0, True))
    track.hear(1.1, Pose(42, 20, 0, True))
    track.hear(1.05, Pose(0, 0))  # late, and no longer of interest
    middle = track.at(1.05)
    assert middle is not None
    assert middle.x == pytest.approx(41)
    beyond = track.at(1.15)
    assert beyond is not None
    assert beyond.x == pytest.approx(42 + 0.05 * SHIP_SPEED)
    assert track.at(60.0) == track.at(61.0), "but not for long"


def test_a_ship_that_begins_anew_does_not_fly_there() -> None:
    track = Track()
    track.hear(1.0, Pose(10, 10))
    track.hear(1.1, Pose(80, 50))
    assert track.at(1.09) == Pose(10, 10)
    assert track.at(1.1) == Pose(80, 50)


@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 20), st.floats(0, 3))
def test_no_ship_gets_into_a_wall(seat: int, heading: int, life: int, seconds: float) -> None:
    moved = Pose(*spawn("s", seat, life), heading, True).after(seconds)
    assert is_free(moved.x, moved.y)


def test_two_keys_at_once_are_a_diagonal_and_one_after_another_are_not() -> None:
    hands, nothing = Hands(), view(Pose(1, 1))
    assert hands.decide(nothing) == Intent(None)
    hands.press("right", 1.0)
    hands.press("w", 1.05)
    assert hands.decide(nothing).heading == 7
    hands.press("down", 2.0)
    assert hands.decide(nothing).heading == 2
    hands.press("up", 2.05)
    assert hands.decide(nothing).heading == 6, "opposites are no diagonal"
    hands.press("x", 3.0)
    assert hands.decide(nothing).heading is None
    assert not hands.press("z", 3.0)


def test_a_shot_is_not_forgotten_however_late_it_is_asked_for() -> None:
    hands, nothing = Hands(), view(Pose(1, 1))
    hands.press("space", -1e9)
    assert hands.decide(nothing).fire
    assert not hands.decide(nothing).fire


def test_a_canvas_paints_what_is_in_it_and_nothing_beyond() -> None:
    canvas = Canvas(12, 5, lambda _x, _y: 0)
    blank = [canvas.row(line) for line in range(5)]
    canvas.disc(-50, 3, 4, 0xFFFFFF)
    assert [canvas.row(line) for line in range(5)] == blank
    canvas.disc(6, 4, 2, 0xFF0000)
    canvas.big("GO!", 6, 4, 1, 0x00FF00)
    canvas.label("somebody with a long name", 6, 9, 0x0000FF)
    painted = ["".join(segment.text for segment in canvas.segments(line)) for line in range(5)]
    assert all(len(line) == 12 for line in painted)
    assert painted[4] == "somebody wit"
    canvas.clear()
    assert [canvas.row(line) for line in range(5)] == blank
    assert mix(0x000000, 0xFFFFFF, 0.5) == 0x7F7F7F
