"""Each match once on each topic and once in each projection, whatever is killed on its way."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.kafka.dying import STEPS
from tests.kafka.field import Field

DIES_SECONDS = 30.0
RESULT_STEPS = list(STEPS)[:2]
RELAY_STEPS = list(STEPS)[2:5]


async def test_killed_at_every_step(field: Field) -> None:
    deciders = field.program("decider", "decide", *field.games)
    game = field.program("game", "serve", "game")
    scoring = field.program("scoring", "serve", "scoring")
    game.start()
    scoring.start()
    for step in RESULT_STEPS:
        deciders.start(step, 5)
        await deciders.dead(DIES_SECONDS)
    deciders.start()
    for step in RELAY_STEPS:
        game.kill()
        game.start(step, 2)
        await game.dead(DIES_SECONDS)
    game.start()
    for step in list(STEPS)[2:]:
        scoring.kill()
        scoring.start(step, 2)
        await scoring.dead(DIES_SECONDS)
    scoring.start()
    await field.grown(50)
    deciders.kill()
    assert await field.each_match_is_everywhere_once() > 300


async def test_killed_at_any_moment(field: Field) -> None:
    """Two of each that relays and projects; one of them, or the broker, dies again and again."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    deciders = field.program("decider", "decide", *field.games)
    others = [field.program(f"{name}-{number}", "serve", name) for name in ("game", "scoring") for number in (1, 2)]
    for program in (deciders, *others):
        program.start()
    await field.grown(30)
    for turn in range(12):
        await asyncio.sleep(choose.uniform(0.2, 2.0))
        if turn % 4 == 3:
            await field.broker.crash()
        else:
            victim = choose.choice([deciders, *others])
            victim.kill()
            victim.start()
    await field.grown(30)
    deciders.kill()
    assert await field.each_match_is_everywhere_once() > 300
