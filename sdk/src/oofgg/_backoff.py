"""Waiting before the next attempt: longer each time, and never the same for two clients."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Exponential with full jitter. Times are in seconds."""

    first: float = 0.1
    most: float = 2.0
    random: random.Random = field(default_factory=random.Random)
    attempts: int = 0

    def delay(self, at_least: float | None = None) -> float:
        """How long to wait now, on top of what the platform asked for: not all clients should come back at once."""
        ceiling = min(self.most, self.first * 2.0**self.attempts)
        self.attempts = min(self.attempts + 1, 32)
        return (at_least or 0.0) + self.random.uniform(ceiling / 4, ceiling)

    def reset(self) -> None:
        """Things work again."""
        self.attempts = 0


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set, or this much time has passed."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return
