"""Values that are remembered for a while: the one cache with a lifetime of this platform.

`cachetools.TTLCache` looks at the clock twice in `if key in cache: return cache[key]`, and in its own `get` and
`setdefault` too; an entry that expires between the two looks raises KeyError. Here each lookup is one step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
D = TypeVar("D")


class Remembered(Generic[K, V]):
    """At most `size` values, each for `seconds` since it was put; beyond that the least recently used goes first."""

    def __init__(self, size: int, seconds: float, timer: Callable[[], float]) -> None:
        """`timer` tells monotonic seconds."""
        self._cache: TTLCache[K, V] = TTLCache(size, seconds, timer=timer)

    def get(self, key: K, default: D) -> V | D:
        """The value, or `default` where there is none or it has expired. Give a default that is never a value."""
        try:
            return self._cache[key]
        except KeyError:
            return default

    def put(self, key: K, value: V) -> V:
        """Remembers a value from now on, and returns it."""
        self._cache[key] = value
        return value

    def forget(self, key: K) -> None:
        """Forgets a value, if it is there."""
        self._cache.pop(key, None)
