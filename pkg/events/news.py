"""What a process has just published, for what it projects itself: a hint that spares waiting for the next look."""

from __future__ import annotations

import asyncio
from collections import defaultdict


class TopicNews:
    """An event per topic, set when a relay of this process has published there. One projection clears it."""

    def __init__(self) -> None:
        self._events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def of(self, topic: str) -> asyncio.Event:
        """The event of a topic."""
        return self._events[topic]

    def published(self, topic: str) -> None:
        """Says that something is there."""
        if topic in self._events:
            self._events[topic].set()
