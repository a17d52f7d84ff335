"""The rules by which readings of the registry become endpoints."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkg.registry.process import Process, Served, State
from services.edge.endpoints import BENEFIT_SECONDS, LONGEST_STEP_SECONDS, Directory, Endpoint, Reading, View

LEASE = 5.0
SERVING, DRAINING, GONE, NOT_READY = State.SERVING, State.DRAINING, State.GONE, State.NOT_READY


def process(incarnation: str, node: str = "", address: str = "", **services: State) -> Process:
    number = sum(map(ord, incarnation))
    return Process(
        incarnation,
        node or f"node-{incarnation}",
        address or f"10.0.0.1:{number}",
        LEASE,
        {name: Served(state) for name, state in (services or {"game": SERVING}).items()},
    )


def endpoint(one: Process, draining: bool = False) -> Endpoint:
    return Endpoint(one.address, one.node, draining)


class Story:
    """Readings in the order of time."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.at = 100.0
        self.renewals = 0
        self.kept: dict[str, tuple[Process, int, float]] = {}

    def read(self, *renewed: Process, lost: Iterable[Process] = (), after: float = 1.0) -> View:
        """A reading: these have renewed since the last, the others are as they were, `lost` are not in it."""
        self.at += after
        for one in renewed:
            self.renewals += 1
            self.kept[one.incarnation] = (one, self.renewals, self.at)
        for one in lost:
            self.kept.pop(one.incarnation, None)
        readings = [Reading(one, renewed, self.at - since) for one, renewed, since in self.kept.values()]
        return self.directory.observe(readings, self.at)


A, B = process("a"), process("b")
BOTH = {"game": (endpoint(A), endpoint(B))}


def test_who_is_registered_is_an_endpoint_of_each_of_its_services() -> None:
    one = process("a", auth=SERVING, game=SERVING)
    assert Story().read(one, B) == {"auth": (endpoint(one),), "game": (endpoint(one), endpoint(B))}


def test_who_drains_is_told_at_once_and_who_is_gone_is_removed_at_once() -> None:
    story = Story()
    story.read(A, B)
    draining = process("a", game=DRAINING)
    assert story.read(draining, after=0.01) == {"game": (endpoint(A, draining=True), endpoint(B))}
    assert story.read(process("a", game=GONE), after=0.01) == {"game": (endpoint(B),)}
    assert story.read(process("b", game=GONE), after=0.01) == {"game": ()}


def test_who_has_left_before_we_looked_is_not_mentioned() -> None:
    assert Story().read(process("a", game=GONE)) == {}


def test_who_is_not_ready_stays() -> None:
    assert Story().read(process("a", game=NOT_READY), B) == BOTH


@pytest.mark.parametrize("lost", [False, True], ids=["silent", "not in the registry any more"])
def test_who_is_silent_for_a_lease_is_removed(lost: bool) -> None:
    story = Story()
    story.read(A, B)
    missing = [A] if lost else []
    for _ in range(int(LEASE)):
        assert story.read(B, lost=missing) == BOTH
    assert story.read(B, lost=missing) == {"game": (endpoint(B),)}
    assert story.read(B, lost=missing) == {"game": (endpoint(B),)}, "and does not come back by itself"
    assert story.read(A, B) == BOTH, "but by renewing"


def test_silence_never_removes_the_last_endpoints() -> None:
    story = Story()
    story.read(A, B)
    for _ in range(60):
        assert story.read(lost=[A, B]) == BOTH
    assert story.read(B) == {"game": (endpoint(B),)}, "until there is one that speaks"


def test_one_that_drains_does_not_make_silent_ones_needless() -> None:
    story = Story()
    story.read(A, B)
    for _ in range(10):
        view = story.read(process("b", game=DRAINING), lost=[A])
    assert view == {"game": (endpoint(A), endpoint(B, draining=True))}


def test_a_registry_that_cannot_be_read_is_no_silence() -> None:
    story = Story()
    story.read(A, B)
    assert story.read(after=600.0) == BOTH, "nobody could renew meanwhile"
    assert story.read(B, after=1.0) == BOTH
    for _ in range(int(LEASE)):
        view = story.read(B)
    assert view == {"game": (endpoint(B),)}


def test_a_registry_that_lost_its_data_removes_nobody_before_all_had_time_to_write_again() -> None:
    story = Story()
    story.read(A, B)
    assert story.read(lost=[A, B]) == BOTH
    assert story.read(B) == BOTH
    assert story.read(A, B) == BOTH


def test_an_edge_that_starts_after_redis_came_back_gives_old_entries_time_to_renew() -> None:
    story = Story()
    story.read(A, B)
    story.directory = Directory()
    assert story.read(after=30.0) == BOTH
    assert story.read(B, after=BENEFIT_SECONDS - 0.5) == BOTH
    assert story.read(B, after=1.0) == {"game": (endpoint(B),)}


def test_a_later_incarnation_of_a_node_replaces_the_earlier_at_once() -> None:
    story = Story()
    earlier = process("a", node="n", address="10.0.0.1:1")
    later = process("b", node="n", address="10.0.0.2:1")
    story.read(earlier)
    assert story.read(later, after=0.1) == {"game": (endpoint(later),)}


def test_a_later_process_at_an_address_replaces_the_earlier_whatever_both_serve() -> None:
    story = Story()
    earlier = process("a", address="10.0.0.1:1", scoring=SERVING)
    later = process("b", address="10.0.0.1:1", game=SERVING)
    assert story.read(earlier, later) == {"game": (endpoint(later),)}


def test_the_same_name_may_serve_different_things() -> None:
    one, two = process("a", node="host", auth=SERVING), process("b", node="host", game=SERVING)
    assert Story().read(one, two) == {"auth": (endpoint(one),), "game": (endpoint(two),)}


def test_a_later_one_that_died_does_not_hide_one_that_speaks() -> None:
    story = Story()
    speaking, died = process("a", node="n", address="10.0.0.1:1"), process("b", node="n", address="10.0.0.2:1")
    story.read(speaking, died)
    for _ in range(10):
        view = story.read(speaking)
    assert view == {"game": (endpoint(speaking),)}


_PROCESSES = [process(name, game=SERVING) for name in "abcd"]
_STEPS = st.lists(
    st.tuples(st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")), st.floats(0.0, 20.0)), max_size=40
)


@given(_STEPS)
def test_whatever_happens_to_redis_a_service_that_nobody_left_keeps_an_endpoint(
    steps: list[tuple[set[str], set[str], float]],
) -> None:
    story = Story()
    by_name = {one.incarnation: one for one in _PROCESSES}
    assert len(story.read(*_PROCESSES)["game"]) == len(_PROCESSES)
    silent = dict.fromkeys(by_name, 0.0)
    for renewed, lost, after in steps:
        view = story.read(*(by_name[name] for name in renewed), lost=[by_name[name] for name in lost], after=after)
        silent = {
            name: 0.0 if name in renewed - lost else since + (after if after <= LONGEST_STEP_SECONDS else 0.0)
            for name, since in silent.items()
        }
        shown = {each.node for each in view["game"]}
        assert shown
        assert shown >= {by_name[name].node for name, since in silent.items() if since < LEASE}
        assert len({each.address for each in view["game"]}) == len(view["game"])
