"""A process of the platform that ends at a step: `python -m tests.kafka.dying SIGNAL STEP TIMES COMMAND…`.

It sends itself SIGKILL, or SIGSTOP, the TIMES-th time it comes to STEP; never where STEP is empty. COMMAND is one of
`python -m services`, or `decide GAME…`: results are decided and written, as `game` writes them, until it is ended.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import signal
import sys
import uuid
from typing import Any, Final

from aiokafka import AIOKafkaProducer

import services.game.app
import services.game.finish
import services.scoring.app
from pkg.clock import SystemClock
from pkg.db.database import open_database
from pkg.events.applying import PartitionReader
from pkg.events.ledger import Ledger
from pkg.events.positions import Positions
from pkg.events.projection import Projection, ProjectionTimes
from pkg.events.relay import Relay, RelayTimes
from pkg.events.topics import MATCH_HISTORY_PREFIX
from pkg.ids import new_id
from services.__main__ import main
from services.game.codec import PieceEncoder
from services.game.engine.facts import Profile, SessionFacts
from services.game.engine.results import SeatResult
from services.game.engine.room import Room
from services.game.engine.sessions import Session
from services.game.finish import ResultStore
from services.game.replays import ReplayStore
from services.scoring.projection import MatchProjection

PLAYERS: Final = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"player {number}")) for number in range(6)]
_PAUSE_SECONDS: Final = 0.02
# Whoever is dead or silent is given up sooner than in earnest, so that a test waits less for each death.
_PROJECTION_TIMES: Final = ProjectionTimes(lease=2.0, renew=0.5, retry_most=1.0, verify=1.0)
_RELAY_TIMES: Final = RelayTimes(election=0.2, silence=4.0, poll=0.5, check=0.5, retry_most=1.0)

# Where it is called, what is called, and whether the process dies before the call or after it.
STEPS: Final[dict[str, tuple[Any, str, str]]] = {
    "a result is written, its event is not": (services.game.finish, "append", "before"),
    "result and event are written, not committed": (services.game.finish, "append", "after"),
    "events are numbered, not sent": (Ledger, "number_next", "after"),
    "records are sent, not committed": (AIOKafkaProducer, "commit_transaction", "before"),
    "the broker has committed, the relay does not know": (AIOKafkaProducer, "commit_transaction", "after"),
    "records are fetched, not applied": (PartitionReader, "_commit", "before"),
    "the position has moved, nothing is applied": (Positions, "advance", "after"),
    "a match is taken in, not committed": (MatchProjection, "apply", "after"),
    "a projection has committed": (PartitionReader, "_commit", "after"),
}


def die_at(step: str, times: int, how: signal.Signals) -> None:
    """Has this process end, or pause, at a step."""
    owner, name, moment = STEPS[step]
    real = getattr(owner, name)
    left = times

    def come(*, worth: bool) -> None:
        nonlocal left
        left -= worth
        if not left:
            os.kill(os.getpid(), how)

    @functools.wraps(real)
    async def watched(*arguments: Any, **options: Any) -> Any:
        if moment == "before":
            come(worth=True)
        result = await real(*arguments, **options)
        if moment == "after":
            come(worth=result is None or bool(result))  # numbering nothing is no step
        return result

    setattr(owner, name, watched)


def hurry() -> None:
    """Gives relays and projections of this process shorter times."""
    relay = functools.partial(Relay, times=_RELAY_TIMES)
    vars(services.game.app)["Relay"] = vars(services.scoring.app)["Relay"] = relay
    vars(services.scoring.app)["Projection"] = functools.partial(Projection, times=_PROJECTION_TIMES)


def decided_room(game_id: str, choose: random.Random) -> Room:
    """A session of two that has just ended, the first seat ahead."""
    now = SystemClock().now().timestamp()
    facts = SessionFacts(
        session_id=new_id(), game_id=game_id, min_seats=2, max_seats=2, flush_window_ms=20, create_time=now,
        history_topic=MATCH_HISTORY_PREFIX + game_id,
    )  # fmt: skip
    ada, bob = choose.sample(range(len(PLAYERS)), 2)
    session = Session(facts, Profile(PLAYERS[ada]))
    for player in (ada, bob):
        session.join(PLAYERS[player], f"player-{player}", 0, now)
    session.host_result([SeatResult(1, 0, 1, 2), SeatResult(2, 0, 2, 1)], now)
    return Room(session, PieceEncoder())


async def decide(games: list[str]) -> None:
    """Writes results of these games until the process is ended."""
    choose = random.Random()
    async with open_database(os.environ["OOFGG_POSTGRES_URL"], "game", size=2) as database:
        store = ResultStore(database, ReplayStore(database, SystemClock(), days=0), new_id)
        while True:
            await store.record(decided_room(choose.choice(games), choose), "")
            await asyncio.sleep(_PAUSE_SECONDS)


def run(arguments: list[str]) -> int:
    """Runs a command that may die."""
    how, step, times, *command = arguments
    hurry()
    if step:
        die_at(step, int(times), signal.Signals[how])
    if command[0] == "decide":
        asyncio.run(decide(command[1:]))
        return 0
    return main(command)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
