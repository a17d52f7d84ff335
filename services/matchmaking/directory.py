"""Queues by name, remembered for a moment, and the ratings that they ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from cachetools import LRUCache

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.clock import Clock
from pkg.db.lookups import Lookup
from pkg.errors import NotFound, Reason, Unavailable
from pkg.ids import is_id
from pkg.internal.v1 import rating_pb2
from pkg.remembering import Remembered
from pkg.rpc.channel import ServiceChannel
from services.matchmaking.engine.queues import Queue
from services.matchmaking.messages import queue_of
from services.matchmaking.stores.leading import QueueKey
from services.matchmaking.stores.queues import QueueStore

# A changed or deleted queue is noticed after this long at most.
_REMEMBER_SECONDS: Final = 1.0
_REMEMBERED: Final = 10_000
_RATINGS: Final = rating_pb2.DESCRIPTOR.services_by_name["RatingDirectoryService"].methods_by_name["LookupRatings"]
_RATING_SECONDS: Final = 3.0
_QUEUES_AT_ONCE: Final = 100


class _Unknown:
    """Stands for a queue that is not remembered; None is remembered for one that does not exist."""


_UNKNOWN: Final = _Unknown()


class QueueDirectory:
    """What calls and leaders ask about queues."""

    def __init__(self, store: QueueStore, clock: Clock) -> None:
        self._known: Remembered[QueueKey, Queue | None] = Remembered(_REMEMBERED, _REMEMBER_SECONDS, clock.monotonic)
        self._last: LRUCache[QueueKey, Queue | None] = LRUCache(_REMEMBERED)
        self._rows = Lookup(store.some)

    async def find(self, key: QueueKey) -> Queue | None:
        """A queue; None when there is none. Raises Unavailable."""
        known = self._known.get(key, _UNKNOWN)
        if not isinstance(known, _Unknown):
            return known
        try:
            row = await self._rows.get(key) if is_id(key.game_id) else None
        except Unavailable:
            if key not in self._last:
                raise
            queue = self._last[key]  # while PostgreSQL is away, a queue stays what it was
        else:
            queue = queue_of(pb.Queue.FromString(row.definition)) if row else None
            self._last[key] = queue
        return self._known.put(key, queue)

    async def get(self, key: QueueKey) -> Queue:
        """A queue. Raises NotFound(QUEUE_NOT_FOUND), Unavailable."""
        queue = await self.find(key)
        if queue is None:
            raise queue_not_found(key.name)
        return queue

    def forget(self, key: QueueKey) -> None:
        """What this process has changed, it knows at once."""
        self._known.forget(key)


class Ratings:
    """The ratings of players, from `scoring`."""

    def __init__(self, channel: ServiceChannel) -> None:
        self._channel = channel
        self._found: Lookup[tuple[str, str, str], float] = Lookup(self._fetch, backend="The service of ratings")

    async def of(self, key: QueueKey, user_ids: Sequence[str]) -> list[float]:
        """`mu` of players in a queue, in their order. Raises Unavailable."""
        return [await self._found.get((*key, user_id)) or 0.0 for user_id in user_ids]

    async def _fetch(self, wanted: list[tuple[str, str, str]]) -> dict[tuple[str, str, str], float]:
        by_queue: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for game_id, queue, user_id in wanted:
            by_queue[game_id, queue].append(user_id)
        found: dict[tuple[str, str, str], float] = {}
        queues = list(by_queue)
        for start in range(0, len(queues), _QUEUES_AT_ONCE):
            chunk = queues[start : start + _QUEUES_AT_ONCE]
            answer = await self._channel.call(
                _RATINGS,
                rating_pb2.LookupRatingsRequest(
                    queues=[
                        rating_pb2.RatingsOfQueue(game_id=game_id, queue=queue, user_ids=by_queue[game_id, queue])
                        for game_id, queue in chunk
                    ]
                ),
                rating_pb2.LookupRatingsResponse,
                within=_RATING_SECONDS,
                on_behalf_of=None,
            )
            for (game_id, queue), told in zip(chunk, answer.queues, strict=True):
                for user_id, mu in zip(by_queue[game_id, queue], told.mu, strict=True):
                    found[game_id, queue, user_id] = mu
        return found


def queue_not_found(name: str) -> NotFound:
    """The error for a queue that there is not."""
    return NotFound(Reason.QUEUE_NOT_FOUND, f"This game has no queue “{name[:64]}”.", queue=name[:64])
