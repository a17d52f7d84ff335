"""`python -m services demo [--keep]`: starts the embedded platform, plays a match through Envoy, shows the result.

Everything here is what a game developer would write: the SDK towards Envoy, and a plain Kafka consumer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from aiokafka import AIOKafkaConsumer

import oofgg
from oofgg.events.v1 import match_pb2
from pkg.embedded import EmbeddedError, Endpoints, Platform
from sdk.examples.rock_paper_scissors import Hand, Match, Round, play
from services.up import DATA_DIR, STOP_SIGNALS, Choices, describe, ignore_signals, options

_VISIBLE_SECONDS = 30.0
_POLL_SECONDS = 0.1
_SIGNS = {Hand.ROCK: "rock    ", Hand.PAPER: "paper   ", Hand.SCISSORS: "scissors"}


class DemoFailed(Exception):
    """The match was played, but did not show where it should."""


class Stage:
    """Says what is happening, and where it went wrong."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.step = "starting"

    @contextmanager
    def act(self, step: str) -> Iterator[None]:
        """A step of the demonstration: named before, timed after."""
        self.step = step
        self.say(f"\n{step}")
        began = time.monotonic()
        yield
        self.say(f"  done in {time.monotonic() - began:.1f} s")

    def say(self, line: str) -> None:
        """A line for whoever watches."""
        print(line, flush=True)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began


def run(arguments: list[str]) -> int:
    """Plays the demonstration. 0 when all of it was seen to work, 1 when something failed, which is then named."""
    parser = argparse.ArgumentParser(prog="python -m services demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the platform running until Ctrl-C")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR / "demo", help="where data is kept")
    parser.add_argument("--pace", type=float, default=0.15, help="seconds a player thinks before a throw")
    told = parser.parse_args(arguments)
    stage = Stage()
    platform = Platform(options(Choices(data_dir=told.data_dir, report=lambda line: stage.say(f"  {line}"))))
    interrupt_on_signals()
    try:
        with stage.act("Starting the platform: PostgreSQL, Valkey, Kafka broker, services, Envoy"):
            platform.start()
        asyncio.run(_perform(platform.endpoints, stage, told.pace))
        stage.say(f"\nAll of it worked, in {stage.seconds:.1f} s.")
        if told.keep:
            stage.say(f"\nThe platform keeps running:\n\n{describe(platform.endpoints)}\n\nCtrl-C stops it.")
            platform.wait()
    except KeyboardInterrupt:
        ignore_signals()
        stage.say("\nstopping")
        return 0 if told.keep else 130
    except (EmbeddedError, DemoFailed, oofgg.OofggError, TimeoutError, OSError) as error:
        print(f"\nFAILED while: {stage.step}\n  {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(f"  logs: {platform.data_dir / 'logs'}", file=sys.stderr, flush=True)
        return 1
    finally:
        ignore_signals()
        platform.stop()
    return 0


async def _perform(endpoints: Endpoints, stage: Stage, pace: float) -> None:
    target = endpoints.envoy
    suffix = os.urandom(3).hex()
    async with oofgg.Client(target) as studio:
        with stage.act("A developer registers a game"):
            name = f"studio-{suffix}"
            await studio.register(name, f"{name}@example.org", os.urandom(12).hex())
            await studio.become_developer()
            game = await studio.games.create(f"Rock Paper Scissors {suffix}")
            stage.say(f"  {name} made “{game.name}”\n  game id {game.game_id}")

    async with oofgg.Client(target, game=game.game_id) as ada, oofgg.Client(target, game=game.game_id) as bob:
        with stage.act("Two players register and join a session"):
            names = {}
            for client, first_name in ((ada, "ada"), (bob, "bob")):
                name = f"{first_name}-{suffix}"
                account = await client.register(name, f"{name}@example.org", os.urandom(12).hex())
                names[account.user_id] = name
                stage.say(f"  {name} registered")
            session = await ada.sessions.create(label="best of three", min_seats=2, max_seats=2)
            stage.say(f"  session {session.session_id}")

        with stage.act("They play, best of three, over two streams through Envoy"):
            match_id = session.session_id
            winner = await _play(ada, bob, match_id, names, stage, pace)
            stage.say(f"  {winner} wins; both stated the same result")

        with stage.act("The leaderboard"):
            await _show_leaderboard(ada, game.game_id, winner, stage)

        with stage.act("The match history"):
            match = await ada.history.get(match_id)
            stage.say(f"  match {match.match_id} {match.result_state}")
            for p in match.participants:
                stage.say(f"    {p.placement}. {p.username:<12} {p.outcome:<5} {p.score} rounds")

    with stage.act(f"The record on Kafka topic {game.match_history_topic}"):
        record = await _read_record(endpoints.kafka_bootstrap, game.match_history_topic, match_id)
        for line in str(record).splitlines():
            stage.say(f"    {line}")


async def _play(
    ada: oofgg.Client, bob: oofgg.Client, session_id: str, names: dict[str, str], stage: Stage, pace: float
) -> str:
    async def choose(_: int) -> Hand:
        await asyncio.sleep(pace)
        return random.choice(list(Hand))  # noqa: S311

    async with ada.play(session_id) as left, bob.play(session_id) as right:

        def show(match: Match, done: Round) -> None:
            by_seat = {number: names[seat.user_id] for number, seat in left.seats.items()}
            hands = "  ".join(f"{by_seat[seat]} {_SIGNS[hand]}" for seat, hand in done.hands.items())
            result = f"{by_seat[done.winner]} scores" if done.winner else "equal, again"
            stage.say(f"  round {done.number}: {hands}  {result}  {':'.join(map(str, match.score.values()))}")

        left_match, right_match = await asyncio.gather(play(left, choose, show), play(right, choose))
        if left_match.winner is None or left_match.rounds != right_match.rounds:
            raise DemoFailed("the two players did not see the same match")
        by_seat = {number: names[seat.user_id] for number, seat in left.seats.items()}
        return by_seat[left_match.winner]


async def _show_leaderboard(client: oofgg.Client, game_id: str, winner: str, stage: Stage) -> None:
    deadline = time.monotonic() + _VISIBLE_SECONDS
    while True:
        entries = [entry async for entry in client.leaderboards.get(game_id=game_id)]
        if entries:
            break
        if time.monotonic() > deadline:
            raise DemoFailed(f"the leaderboard shows nothing after {_VISIBLE_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)
    stage.say("  rank  player        wins  losses  score")
    for entry in entries:
        stage.say(f"  {entry.rank:>4}  {entry.username:<12} {entry.wins:>5} {entry.losses:>7} {entry.score:>6}")
    if entries[0].username != winner or entries[0].wins != 1:
        raise DemoFailed(f"{winner} should lead with one win")


async def _read_record(bootstrap: str, topic: str, match_id: str) -> match_pb2.MatchFinished:
    """Reads the topic from its beginning, as any subscriber would."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with asyncio.timeout(_VISIBLE_SECONDS):
        await consumer.start()
        try:
            async for record in consumer:
                event = match_pb2.MatchFinished.FromString(record.value)
                if event.match_id == match_id:
                    return event
        finally:
            await consumer.stop()
    raise DemoFailed(f"{topic} ended without the match")


def interrupt_on_signals() -> None:
    """Every wish to stop takes the way of Ctrl-C, which asyncio knows how to unwind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else interrupt)
