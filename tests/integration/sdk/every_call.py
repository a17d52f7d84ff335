"""Every public function of the SDK that a client offers, with arguments that pass its own checks."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import oofgg

PARTS = {
    "": oofgg.Client,
    "me": oofgg.OwnAccount,
    "games": oofgg.Games,
    "sessions": oofgg.Sessions,
    "leaderboards": oofgg.Leaderboards,
    "history": oofgg.History,
    "ratings": oofgg.Ratings,
    "queues": oofgg.Queues,
}
# What ends a client, and what makes a session that still has to be entered.
_OTHERS = {"close", "play", "spectate"}
# By parameter: every one that has no default.
_ARGUMENTS: dict[str, Any] = {
    "result": {1: 1, 2: 2},
    "scores": [oofgg.Score("laps", 1)],
    "score": 1,
    "seat": 1,
    "seats": {1: 1},
    "user_ids": ["u1"],
    "queue": oofgg.Queue("duel"),
    "rules": oofgg.RatingRules(),
    "key": "k",
    "login": "l",
}


def names() -> Iterator[tuple[str, str]]:
    """(part, function) of each that asks the platform."""
    for part, kind in PARTS.items():
        for name, member in vars(kind).items():
            if not name.startswith("_") and inspect.isfunction(member) and name not in _OTHERS:
                yield part, name


def function(client: Any, part: str, name: str) -> Callable[..., Any]:
    """One of them, of this client."""
    owner = getattr(client, part) if part else client
    found: Callable[..., Any] = getattr(owner, name)
    return found


def begin(client: Any, part: str, name: str, **more: Any) -> Any:
    """Calls it: a coroutine or an iterator, or for the blocking twin what it returns."""
    called = function(client, part, name)
    needed = {
        parameter.name: _ARGUMENTS.get(parameter.name, "x")
        for parameter in inspect.signature(called).parameters.values()
        if parameter.default is parameter.empty
    }
    return called(**{**needed, **more})


async def finish(begun: Any) -> Any:
    """Waits for a coroutine, or for the first item of an iterator."""
    if isinstance(begun, AsyncIterator):
        return await anext(begun)
    return await begun


def block(begun: Any) -> Any:
    """The same for the blocking twin."""
    return next(begun) if isinstance(begun, Iterator) else begun
