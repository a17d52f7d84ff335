"""The rules of an Envoy's subscription."""

from __future__ import annotations

import pytest

from services.edge.endpoints import Endpoint, View
from services.edge.subscription import MOST_NAMES, Request, Response, Subscription, TooManyNames

ONE, TWO = Endpoint("10.0.0.1:1", "a"), Endpoint("10.0.0.2:1", "b")
VIEW: View = {"auth": (ONE,), "game": (ONE,)}
CHANGED: View = {"auth": (ONE,), "game": (ONE, TWO)}


def asks(*names: str, nonce: str = "", error: str = "") -> Request:
    return Request(frozenset(names), nonce, error)


def response(subscription: Subscription, view: View) -> Response:
    found = subscription.next(view)
    assert found is not None
    return found


def accepted(*names: str, view: View = VIEW) -> tuple[Subscription, Response]:
    subscription = Subscription()
    assert subscription.take(asks(*names)) is None
    first = response(subscription, view)
    assert subscription.take(asks(*names, nonce=first.nonce)) is True
    return subscription, first


def test_what_is_asked_for_is_told_once() -> None:
    subscription, first = accepted("game")
    assert first.endpoints == {"game": (ONE,)}
    assert subscription.next(VIEW) is None


def test_nothing_is_told_before_it_is_asked_for() -> None:
    assert Subscription().next(VIEW) is None


def test_a_change_is_told_and_a_change_of_something_else_is_not() -> None:
    subscription, first = accepted("game")
    second = response(subscription, CHANGED)
    assert second.endpoints == {"game": (ONE, TWO)}
    assert second.nonce != first.nonce
    other, _ = accepted("auth")
    assert other.next(CHANGED) is None


def test_changes_wait_for_the_answer_and_are_told_together() -> None:
    subscription = Subscription()
    subscription.take(asks("game"))
    first = response(subscription, VIEW)
    assert subscription.waiting
    assert subscription.next(CHANGED) is None
    subscription.take(asks("game", nonce=first.nonce))
    assert response(subscription, {"game": (TWO,)}).endpoints == {"game": (TWO,)}


def test_what_was_refused_is_not_told_again_before_it_has_changed() -> None:
    subscription = Subscription()
    subscription.take(asks("game"))
    first = response(subscription, VIEW)
    assert subscription.take(asks("game", nonce=first.nonce, error="no such thing")) is False
    assert subscription.next(VIEW) is None
    assert response(subscription, CHANGED).endpoints == {"game": (ONE, TWO)}


def test_an_answer_to_an_older_response_says_nothing() -> None:
    subscription, first = accepted("game")
    second = response(subscription, CHANGED)
    assert subscription.take(asks("auth", nonce=first.nonce)) is None
    assert subscription.waiting
    assert subscription.take(asks("game", nonce=second.nonce)) is True


def test_an_unknown_resource_is_not_mentioned_until_it_is_known() -> None:
    subscription, first = accepted("game", "later")
    assert first.endpoints.keys() == {"game"}
    assert subscription.next(VIEW) is None
    known = {**VIEW, "later": (TWO,)}
    assert response(subscription, known).endpoints == {"game": (ONE,), "later": (TWO,)}
    nothing = Subscription()
    nothing.take(asks("nobody"))
    assert nothing.next(VIEW) is None


def test_a_resource_that_everybody_left_is_told_as_empty() -> None:
    subscription, _ = accepted("game")
    assert response(subscription, {"game": ()}).endpoints == {"game": ()}


def test_more_names_are_told_more() -> None:
    subscription, first = accepted("game")
    subscription.take(asks("game", "auth", nonce=first.nonce))
    assert response(subscription, VIEW).endpoints == VIEW


def test_a_resource_that_is_asked_for_again_is_told_again() -> None:
    subscription, first = accepted("game")
    subscription.take(asks(nonce=first.nonce))
    assert subscription.next(CHANGED) is None
    subscription.take(asks("game", nonce=first.nonce))
    assert response(subscription, VIEW).endpoints == {"game": (ONE,)}


def test_names_are_bounded() -> None:
    with pytest.raises(TooManyNames):
        Subscription().take(asks(*map(str, range(MOST_NAMES + 1))))
