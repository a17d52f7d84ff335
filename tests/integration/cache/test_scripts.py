"""Scripts that are run by their hash, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis
from redis.exceptions import ResponseError

from pkg.cache.client import open_redis
from pkg.cache.scripts import Call, run, run_all, run_each
from pkg.errors import Reason, Unavailable
from pkg.ids import new_id

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
# Refuses what is not a number.
STRICT = "return redis.call('INCRBY', KEYS[1], ARGV[1]) + 0"


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    async with open_redis(redis_url) as opened:
        yield opened


def fresh(script: str) -> str:
    """A script that no Redis has seen."""
    return f"{script} -- {new_id()}"


async def test_a_script_is_sent_where_redis_does_not_have_it(client: redis.Redis) -> None:
    script = fresh(ADD)
    assert [await run(client, script, ["a"], [2]) for _ in range(2)] == [2, 4]
    before = await client.info("commandstats")
    assert await run(client, script, ["a"], [2]) == 6
    after = await client.info("commandstats")
    assert after["cmdstat_evalsha"]["calls"] == before["cmdstat_evalsha"]["calls"] + 1
    assert after["cmdstat_script|load"]["calls"] == before["cmdstat_script|load"]["calls"]


async def test_many_are_run_once_each_whether_redis_has_them_or_not(client: redis.Redis) -> None:
    script = fresh(ADD)
    calls = [([f"k{number % 3}"], [number]) for number in range(9)]
    assert await run_all(client, script, calls) == [0, 1, 2, 3, 5, 7, 9, 12, 15]
    assert await run_all(client, script, [(["k0"], [1])]) == [10]
    assert await run_all(client, script, []) == []


async def test_what_redis_refuses_is_told_where_it_was(client: redis.Redis) -> None:
    script = fresh(STRICT)
    calls: list[Call] = [(["n"], [1]), (["n"], ["no number"]), (["n"], [1])]
    first, refused, last = await run_each(client, script, calls)
    assert (first, last) == (1, 2)
    assert isinstance(refused, ResponseError)
    assert isinstance((await run_each(client, script, calls[1:2]))[0], ResponseError)
    with pytest.raises(Unavailable) as raised:
        await run_all(client, script, calls)
    assert raised.value.reason is Reason.BACKEND_UNAVAILABLE
    assert isinstance(raised.value.__cause__, ResponseError)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_redis_that_is_away_is_unavailable(number: int) -> None:
    async with open_redis("redis://127.0.0.1:1/0") as nobody:
        for running in (run_all, run_each):
            with pytest.raises(Unavailable):
                await running(nobody, ADD, [(["a"], [1])] * number)


async def test_a_redis_that_hangs_is_given_up() -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with open_redis(f"redis://{host}:{port}/0") as client:
            with pytest.raises(Unavailable):
                await run(client, ADD, ["a"], [1], within=0.1)
