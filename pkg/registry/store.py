"""The registry in Redis: one entry per process, and when it was last renewed by Redis's own clock.

Nobody deletes an entry in the ordinary way. A process that ends leaves the word that it is gone; one that was killed
falls silent, and whoever reads decides what silence means. Entries silent for a minute are swept by the others.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

import redis.asyncio as redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from pkg.cache.answers import answers
from pkg.cache.scripts import Argument, run
from pkg.registry.process import Process, Unreadable, decode, encode
from pkg.telemetry.logs import get_logger

_log = get_logger(__name__)

_PROCESSES: Final = "{registry}:processes"
_SEEN: Final = "{registry}:seen"
_CHANGED: Final = "{registry}:changed"
_DEADLINE_SECONDS: Final = 1.0
_SWEEP_MILLISECONDS: Final = 60_000
# Far more than there will ever be at once. Beyond it, those that were renewed longest ago are dropped.
_MOST_PROCESSES: Final = 4_096

# KEYS: entries, times of renewal. ARGV: id, entry, milliseconds of silence after which an entry is swept, most entries,
# channel, 1 when others should look at once.
_PUT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local new = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[3]), 'LIMIT', 0, 100)
local over = redis.call('ZCARD', KEYS[2]) - #old - tonumber(ARGV[4])
if over > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], #old, #old + math.min(over, 100) - 1)) do old[#old + 1] = id end
end
for _, id in ipairs(old) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
if new == 1 or ARGV[6] == '1' then redis.call('PUBLISH', ARGV[5], ARGV[1]) end
return new
"""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A process as it was found."""

    process: Process
    renewed: int
    """When it was last renewed: milliseconds of Redis's clock, for telling one renewal from the next."""
    silent_seconds: float
    """How long ago that was."""


class Registry:
    """Entries of processes. Everything raises Unavailable(BACKEND_UNAVAILABLE) when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._unreadable: set[str] = set()

    async def put(self, process: Process, *, announce: bool) -> None:
        """Writes or renews an entry, in one round trip. `announce` tells readers; a new entry always does."""
        arguments: list[Argument] = [
            process.incarnation, encode(process), _SWEEP_MILLISECONDS, _MOST_PROCESSES, _CHANGED, int(announce),
        ]  # fmt: skip
        await run(self._redis, _PUT, [_PROCESSES, _SEEN], arguments, within=_DEADLINE_SECONDS)

    async def read(self) -> list[Sighting]:
        """All entries, as they were at one moment."""
        async with answers(_DEADLINE_SECONDS):
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.time()
            pipeline.hgetall(_PROCESSES)
            pipeline.zrange(_SEEN, 0, -1, withscores=True)
            (seconds, microseconds), entries, seen = await pipeline.execute()
        now = seconds * 1000 + microseconds // 1000
        found: list[Sighting] = []
        unreadable: set[str] = set()
        for name, score in seen:
            try:
                process = decode(name.decode(), cast("dict[bytes, bytes]", entries)[name])
            except (Unreadable, KeyError, UnicodeDecodeError) as error:
                unreadable.add(repr(name))
                if repr(name) not in self._unreadable:
                    _log.warning("an entry of the registry cannot be read", error=repr(error)[:300])
                continue
            found.append(Sighting(process, int(score), max(0.0, (now - score) / 1000)))
        self._unreadable = unreadable
        return found

    def changes(self) -> Changes:
        """To wait for changes with; close it at the end."""
        return Changes(self._redis.pubsub(ignore_subscribe_messages=True))


class Changes:
    """Waits until somebody announces a change. Announcements can be missed, so look now and then without one."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub

    async def wait(self, within: float) -> None:
        """Returns at an announcement, or after so many seconds. Raises Unavailable when Redis is away."""
        async with answers(within + _DEADLINE_SECONDS):
            if not self._pubsub.subscribed:
                await self._pubsub.subscribe(_CHANGED)
                return  # what was announced before is only seen by looking
            until = asyncio.get_running_loop().time() + within
            # It also returns, with nothing, when the subscription is confirmed.
            while (remaining := until - asyncio.get_running_loop().time()) > 0:
                if await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=remaining) is not None:
                    return

    async def close(self) -> None:
        """Gives the connection back."""
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(_DEADLINE_SECONDS):
                await self._pubsub.aclose()  # type: ignore[no-untyped-call]
