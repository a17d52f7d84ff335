"""`oofgg.sync` is the twin of `oofgg`: what one has, the other has, under the same name and with the same arguments."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import oofgg
import oofgg.sync
from oofgg._inbox import Inbox
from oofgg._outbox import Outbox
from oofgg.sync._queues import SharedInbox, SharedOutbox

NAMES = [
    "Client",
    "Games",
    "History",
    "Leaderboards",
    "OwnAccount",
    "PlaySession",
    "Queues",
    "Ratings",
    "Sessions",
    "Ticket",
]
# What only the twin has.
MORE = {"Client": {"game"}, "PlaySession": {"close", "ended", "poll", "wait"}, "Ticket": {"poll"}}
# What waits may be told for how long.
ARGUMENTS = {
    ("PlaySession", "flush"): "(self, timeout: 'float' = 5.0) -> 'None'",
    ("PlaySession", "started"): "(self, timeout: 'float | None' = None) -> 'None'",
}


def public(of: type) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def pairs() -> list[tuple[str, str]]:
    return [(name, member) for name in NAMES for member in sorted(public(getattr(oofgg, name)))]


def without_async(annotation: Any) -> str:
    return str(annotation).replace("AsyncIterator", "Iterator")


def test_names_of_the_package() -> None:
    assert oofgg.sync.__all__ == NAMES


def waits(of: type) -> bool:
    """Whether a class has something to wait for."""
    members = [inspect.getattr_static(of, name) for name in public(of)]
    return any(inspect.iscoroutinefunction(member) for member in members)


def test_every_class_that_waits_has_a_twin() -> None:
    waiting = {name for name in oofgg.__all__ if inspect.isclass(value := getattr(oofgg, name)) and waits(value)}
    assert waiting == set(NAMES)


def open_attributes(of: type) -> set[str]:
    """What an open client has beside its methods."""
    return set(inspect.get_annotations(of))


def test_an_open_client_has_the_same_parts() -> None:
    source = inspect.getsource(oofgg.Client.__aenter__)
    parts = set(re.findall(r"self\.([a-z]\w*) = ", source)) - {"stubs"}
    assert open_attributes(oofgg.sync.Client) == parts


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_missing_and_nothing_is_more(name: str) -> None:
    assert public(getattr(oofgg.sync, name)) - MORE.get(name, set()) == public(getattr(oofgg, name))


@pytest.mark.parametrize(("name", "member"), pairs())
def test_arguments_and_results_are_the_same(name: str, member: str) -> None:
    ours = inspect.getattr_static(getattr(oofgg.sync, name), member)
    theirs = inspect.getattr_static(getattr(oofgg, name), member)
    assert inspect.getdoc(ours)
    assert isinstance(ours, property) == isinstance(theirs, property)
    if isinstance(ours, property):
        ours, theirs = ours.fget, theirs.fget
    assert not inspect.iscoroutinefunction(ours)
    found, expected = inspect.signature(ours), inspect.signature(theirs)
    if special := ARGUMENTS.get((name, member)):
        assert str(found) == special
        return
    assert found.parameters == expected.parameters
    assert found.return_annotation == without_async(expected.return_annotation)


@pytest.mark.parametrize("name", ["Client"])
def test_it_is_made_in_the_same_way(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(package, name)) for package in (oofgg.sync, oofgg))
    assert ours == theirs


@pytest.mark.parametrize(("shared", "plain"), [(SharedInbox, Inbox), (SharedOutbox, Outbox)])
def test_what_two_threads_may_call_is_guarded(shared: type, plain: type) -> None:
    """A method added to the inbox or outbox has to say here what it does about the other thread."""
    lonely = {"over"}  # reads what the loop's thread alone writes
    own = {name for name in vars(shared) if not name.startswith("_")}
    assert {name for name in vars(plain) if not name.startswith("_")} - own - lonely == set()
