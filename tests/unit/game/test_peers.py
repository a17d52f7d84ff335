"""Which node is alive, and which one gets the next session."""

from __future__ import annotations

import pytest

from pkg.registry.process import Load, Process, Served, State
from pkg.registry.store import Sighting
from services.game.peers import Life, Peer, least_loaded, life_of

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
    assert life_of("b", "a", [seen("a"), sighting], 0.0) is life


def test_a_registry_without_us_says_nothing() -> None:
    assert life_of("b", "a", [], 0.0) is Life.UNKNOWN
    assert life_of("b", "a", [seen("a"), seen("b", silent=1.0)], 2.5) is Life.DEAD, "the reading is old"


def test_a_session_goes_where_fewest_are() -> None:
    nodes = [seen("a", sessions=3), seen("b", sessions=1, calls=9), seen("c", sessions=1, calls=5)]
    assert least_loaded(nodes, {}, "a") == Peer("c", "node-c")
    assert least_loaded(nodes, {}, "b") == Peer("b", "node-b"), "at home where that is as good"
    assert least_loaded(nodes, {"b": 3, "c": 3}, "b") == Peer("a", "node-a"), "what was placed since counts"


def test_a_session_goes_to_nobody_who_drains_or_is_late() -> None:
    nodes = [seen("a", state=State.DRAINING), seen("b", silent=2.0), seen("c", state=State.NOT_READY)]
    assert least_loaded(nodes, {}, "a") is None
