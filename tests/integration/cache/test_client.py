"""The Redis client of a process, when the process ends."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as redis
from redis.exceptions import ConnectionError as RedisConnectionError

from pkg.cache.client import open_redis


async def connected(url: str) -> int:
    """How many connections Redis has to this database, besides the one that asks."""
    async with redis.Redis.from_url(url, protocol=2) as client:
        clients = await client.client_list()
        own = await client.client_id()
        database = (await client.client_info())["db"]
    return len([each for each in clients if each["db"] == str(database) and each["id"] != str(own)])


async def test_a_command_under_way_when_the_client_is_closed_leaves_no_connection_open(redis_url: str) -> None:
    before = await connected(redis_url)
    async with open_redis(redis_url) as client:
        waiting = asyncio.ensure_future(client.blpop(["nothing"], timeout=1))
        while await connected(redis_url) == before:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # it has sent its command
    # Its connection is closed under it; the client may try once more before it gives up.
    await asyncio.gather(waiting, return_exceptions=True)
    assert await connected(redis_url) == before


async def test_a_command_that_comes_after_the_end_opens_no_connection(redis_url: str) -> None:
    before = await connected(redis_url)
    async with open_redis(redis_url) as client:
        await client.ping()
    with pytest.raises(RedisConnectionError, match="this process ends"):
        await client.ping()
    assert await connected(redis_url) == before
