"""What the engine of a live session costs per delivery, in memory: `python -m bench.engine`.

N players are saturated: each sends in turn, and every player's queue is flushed as soon as its share of the window is
free. A delivery is one event given to one player. Encoding is included, the transport and the log are not.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from dataclasses import dataclass

from oofgg.v1 import session_pb2
from services.game.codec import PieceEncoder, trailer
from services.game.engine.facts import Profile, SessionFacts
from services.game.engine.room import Room
from services.game.engine.sessions import Session


@dataclass(frozen=True, slots=True)
class Load:
    """Commands of one class in requests of `batch`."""

    name: str
    title: str
    batch: int
    delivery: session_pb2.DeliveryClass.ValueType


LOADS = (
    Load("reliable", "reliable, 1 command a request", 1, session_pb2.DELIVERY_CLASS_RELIABLE),
    Load("reliable_joined", "reliable, 8 commands a request", 8, session_pb2.DELIVERY_CLASS_RELIABLE),
    Load("latest", "latest, 1 key each", 1, session_pb2.DELIVERY_CLASS_LATEST),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU per delivery."""

    deliveries: int
    microseconds: float


def saturate(load: Load, players: int, commands: int) -> Cost:
    """`commands` per player; every receiver takes and acknowledges after each round."""
    batch, delivery = load.batch, load.delivery
    facts = SessionFacts("bench", "bench", players, players, 0, 0.0, "")
    session = Session(facts, Profile("bench"))
    room = Room(session, PieceEncoder())
    for number in range(1, players + 1):
        room.apply(session.join(f"user-{number}", f"player {number}", 0, 0.0), 0.0)
    receivers = [room.open(number, None, lambda: None, 0.0).receiver for number in range(1, players + 1)]
    _keep(room)
    numbers = [0] * (players + 1)
    payload = bytes(32)
    delivered = sent = 0
    started = time.process_time()
    for _ in range(commands // batch):
        for seat in range(1, players + 1):
            first = numbers[seat]
            numbers[seat] += batch
            request = session_pb2.PlayRequest(
                commands=[
                    session_pb2.Command(
                        number=first + n,
                        delivery=delivery,
                        payload=payload,
                        key=str(n) if delivery == session_pb2.DELIVERY_CLASS_LATEST else "",
                    )
                    for n in range(1, batch + 1)
                ]
            )
            room.command(seat, request.commands, 1.0)
            sent += batch
        _keep(room)
        for receiver in receivers:
            while flush := receiver.take(1.0):
                body = flush.body + trailer(flush.number, flush.ack_command)
                delivered += len(body)
                if flush.number:
                    receiver.acknowledge(flush.number)
            receiver.settle()
    elapsed = time.process_time() - started
    deliveries = sent * (players if delivery == session_pb2.DELIVERY_CLASS_RELIABLE else players - 1)
    if delivered < deliveries * len(payload):
        raise AssertionError("not everything was delivered")
    return Cost(deliveries, elapsed / deliveries * 1e6)


def _keep(room: Room) -> None:
    while batch := room.begin():
        room.confirm(batch)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--players", type=int, default=32)
    parser.add_argument("--commands", type=int, default=2_000, help="per player")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    for load in LOADS:
        cost = saturate(load, options.players, options.commands)
        print(f"{load.title:<32} {cost.microseconds:6.3f} µs per delivery ({cost.deliveries:,} deliveries)")
    profile.disable()
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(20)


if __name__ == "__main__":
    main()
