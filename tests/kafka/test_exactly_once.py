"""Each match once on each topic and once in each projection, whatever is killed on its way."""

from __future__ import annotations

import asyncio
import random
import signal

import pytest

from pkg.testing.brokers import ApacheBroker
from tests.kafka.dying import STEPS
from tests.kafka.field import Field
from tests.kafka.programs import Program

pytestmark = pytest.mark.timeout(600)

# From its start, which takes most of it where the machine has other things to do.
DIES_SECONDS = 120.0
AWAKE_SECONDS = 3.0
MANY = 200
RESULT_STEPS, RELAY_STEPS, PROJECTION_STEPS = list(STEPS)[:2], list(STEPS)[2:5], list(STEPS)[5:]


async def test_killed_at_every_step(field: Field) -> None:
    decider = field.program("decider", "decide", *field.games)
    game = field.program("game", "serve", "game")
    scoring = field.program("scoring", "serve", "scoring")
    for step in RESULT_STEPS:
        decider.start(step, 5)
        await decider.dead(DIES_SECONDS)
    decider.start()
    await asyncio.gather(dies_at_each(game, RELAY_STEPS), dies_at_each(scoring, [*PROJECTION_STEPS, *RELAY_STEPS]))
    await field.grown(50)
    decider.kill()
    assert await field.each_match_is_everywhere_once() > MANY


async def dies_at_each(program: Program, steps: list[str]) -> None:
    """Starts it to die at each of these steps, and then to live."""
    for step in steps:
        program.start(step, 2)
        await program.dead(DIES_SECONDS)
    program.start()


async def test_killed_at_any_moment(field: Field) -> None:
    """Two of each that relays and projects; one of them, or Apache Kafka, dies again and again.

    The embedded broker is left alone here: what it makes of a relay and itself dying within a second or two is not
    always told to readers (docs/architecture/events.md). That it gets back what it lost is in tests/integration/events.
    """
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    decider = field.program("decider", "decide", *field.games)
    others = [field.program(f"{name}-{number}", "serve", name) for name in ("game", "scoring") for number in (1, 2)]
    for program in (decider, *others):
        program.start()
    await field.grown(30)
    for turn in range(12):
        await asyncio.sleep(choose.uniform(0.2, 2.0))
        if turn % 4 == 3 and isinstance(field.broker, ApacheBroker):
            await field.broker.crash()
        else:
            victim = choose.choice([decider, *others])
            victim.kill()
            victim.start()
    await field.grown(30)
    decider.kill()
    assert await field.each_match_is_everywhere_once() > MANY


async def test_who_was_paused_writes_nothing(field: Field) -> None:
    """A relay is stopped inside a transaction with the broker, a projection inside one with PostgreSQL, another with
    records in its hands. Others take their work over; then the three wake up and try to go on."""
    decider = field.program("decider", "decide", *field.games)
    zombies = [
        (field.program("game-1", "serve", "game"), "records are sent, not committed"),
        (field.program("scoring-1", "serve", "scoring"), "a match is taken in, not committed"),
        (field.program("scoring-2", "serve", "scoring"), "records are fetched, not applied"),
    ]
    decider.start()
    for zombie, step in zombies:
        zombie.start(step, 3, signal.SIGSTOP)
    for zombie, _ in zombies[1:]:  # they go on while there is something to read
        await zombie.paused(DIES_SECONDS)
    await zombies[0][0].paused(DIES_SECONDS)
    heirs = [field.program("game-2", "serve", "game"), field.program("scoring-3", "serve", "scoring")]
    for heir in heirs:
        heir.start()
    await field.grown(100)
    decider.kill()
    count = await field.each_match_is_everywhere_once()
    for zombie, _ in zombies:
        zombie.resume()
    await asyncio.sleep(AWAKE_SECONDS)
    assert await field.each_match_is_everywhere_once() == count


async def test_partitions_move_under_load(field: Field) -> None:
    """A second projection comes, shares the partitions, goes in order; the first takes them back. Nothing stops."""
    decider = field.program("decider", "decide", *field.games)
    first, second = (field.program(f"scoring-{number}", "serve", "scoring") for number in (1, 2))
    for program in (decider, field.program("game", "serve", "game"), first):
        program.start()
    await field.shared_among(1)
    for end in (second.kill, second.terminate):
        second.start()
        await field.shared_among(2)
        await field.grown(50)
        end()
        await field.shared_among(1)
    decider.kill()
    assert await field.each_match_is_everywhere_once() > MANY
