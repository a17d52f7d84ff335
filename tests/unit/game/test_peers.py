"""Which node is alive, and which one gets the next session."""

from __future__ import annotations

from typing import Any

import pytest

from pkg.registry.process import Load, Process, Served, State
from pkg.registry.store import Sighting
from services.game.nodes.peers import Life, Peer, Peers, least_loaded, life_of

LEASE = 3.0


def seen(
    incarnation: str, *, sessions: int = 0, calls: int = 0, state: State = State.SERVING, silent: float = 0.1
) -> Sighting:
    served = {"game": Served(state, Load(calls, sessions))}
    return Sighting(Process(incarnation, f"node-{incarnation}", "127.0.0.1:1", LEASE, served), 1, silent)


@pytest.mark.parametrize(
    ("sighting", "life"),
    [
        (seen("b"), Life.ALIVE),
        (seen("b", silent=2.0), Life.LATE),
        (seen("b", silent=3.1), Life.DEAD),
        (seen("b", state=State.GONE), Life.DEAD),
        (seen("b", state=State.DRAINING), Life.ALIVE),
        (seen("c"), Life.DEAD),
    ],
    ids=["speaks", "is late", "silent for a lease", "said so", "drains", "is not there"],
)
def test_life_is_read_from_the_registry(sighting: Sighting, life: Life) -> None:
    assert life_of("b", "a", [seen("a"), sighting], 0.0, silence_counts=True) is life


def test_a_registry_without_us_says_nothing() -> None:
    assert life_of("b", "a", [], 0.0, silence_counts=True) is Life.UNKNOWN
    late = [seen("a"), seen("b", silent=1.0)]
    assert life_of("b", "a", late, 2.5, silence_counts=True) is Life.DEAD, "the reading is old"
    assert life_of("b", "a", late, 2.5, silence_counts=False) is Life.LATE, "nobody could renew"


class Stub:
    """A registry that says what it is told to, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.seen: list[Sighting] = []

    def monotonic(self) -> float:
        return self.now

    async def read(self) -> list[Sighting]:
        return self.seen


async def test_silence_counts_only_while_others_could_be_heard() -> None:
    stub: Any = Stub()
    peers, other = Peers(stub, Peer("a", "node-a"), stub), Peer("b", "node-b")

    async def look(after: float, mine: float, theirs: float) -> bool:
        stub.now += after
        stub.seen = [seen("a", silent=mine), seen("b", silent=theirs)]
        await peers.read()
        return peers.is_dead(other)

    assert not await look(0.0, 0.1, 9.0), "we have only just begun to look"
    for _ in range(10):
        assert not await look(0.25, 0.1, 9.0)
    assert await look(0.75, 0.1, 9.0), "a whole lease without a word"
    assert not await look(0.25, 0.1, 0.2)
    assert not await look(0.25, 5.0, 5.0), "Redis stood still"
    assert not await look(0.25, 0.1, 5.2), "we were first to be heard again"
    assert not await look(5.0, 0.1, 5.0), "we could not read for five seconds"
    for _ in range(11):
        assert not await look(0.25, 0.1, 5.0)
    assert await look(0.75, 0.1, 8.0)
    stub.seen = [seen("a"), seen("b", state=State.GONE), seen("b2")]
    await peers.read()
    assert peers.is_dead(other), "a word always counts"
    assert peers.is_dead(Peer("0", "node-a")), "an earlier incarnation made room for us"
    assert not peers.is_dead(Peer("b2", "node-a")), "a later one did not"


def test_a_session_goes_where_fewest_are() -> None:
    nodes = [seen("a", sessions=3), seen("b", sessions=1, calls=9), seen("c", sessions=1, calls=5)]
    assert least_loaded(nodes, {}, "a") == Peer("c", "node-c")
    assert least_loaded(nodes, {}, "b") == Peer("b", "node-b"), "at home where that is as good"
    assert least_loaded(nodes, {"b": 3, "c": 3}, "b") == Peer("a", "node-a"), "what was placed since counts"


def test_a_session_goes_to_nobody_who_drains_or_is_late() -> None:
    nodes = [seen("a", state=State.DRAINING), seen("b", silent=2.0), seen("c", state=State.NOT_READY)]
    assert least_loaded(nodes, {}, "a") is None
