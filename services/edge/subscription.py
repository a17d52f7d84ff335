"""One Envoy's subscription: what it asks for, what it has accepted, and what it has to be told next.

The protocol is xDS, state of the world: a request names all resources that are wanted and answers, by its nonce, the
response before it. Here are its rules without the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.edge.endpoints import Endpoint, View

# Clusters that one Envoy may ask for; our template has a handful.
MOST_NAMES = 256


class TooManyNames(ValueError):
    """A subscription names more resources than there can be."""


@dataclass(frozen=True, slots=True)
class Request:
    """What Envoy says."""

    names: frozenset[str]
    nonce: str
    """Of the response it answers; empty in the first request of a stream."""
    error: str = ""
    """Why it refuses that response."""


@dataclass(frozen=True, slots=True)
class Response:
    """What Envoy is told."""

    endpoints: Mapping[str, tuple[Endpoint, ...]]
    nonce: str


class Subscription:
    """At most one response is on its way; what changes meanwhile is told with the next."""

    def __init__(self) -> None:
        self._names: frozenset[str] = frozenset()
        self._sent: Mapping[str, tuple[Endpoint, ...]] = {}
        self._unasked: frozenset[str] = frozenset()
        self._number = 0
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether a response has not been answered yet."""
        return self._waiting

    def take(self, request: Request) -> bool | None:
        """Takes a request: True accepts a response, False refuses it, None answers none. Raises TooManyNames."""
        if len(request.names) > MOST_NAMES:
            raise TooManyNames(f"{len(request.names)} names; at most {MOST_NAMES} are served")
        verdict: bool | None = None
        if request.nonce:
            if request.nonce != str(self._number):
                return None  # answers what a later response has replaced; another request is on its way
            if self._waiting:
                self._waiting = False
                verdict = not request.error
        # Asked for again, a resource is wanted again, even if it is as it was.
        self._unasked |= request.names - self._names
        self._names = request.names
        return verdict

    def next(self, view: View) -> Response | None:
        """What to say now; None when there is nothing to say, or an answer is awaited.

        A resource that is not known is not mentioned: Envoy keeps what it has of it. What was refused is not said
        again before it has changed.
        """
        if self._waiting:
            return None
        wanted = {name: view[name] for name in sorted(self._names) if name in view}
        if all(name in self._sent and self._sent[name] == wanted[name] for name in wanted) and not (
            self._unasked & wanted.keys()
        ):
            return None
        self._number += 1
        self._waiting = True
        self._sent = wanted
        self._unasked = frozenset()
        return Response(wanted, str(self._number))
