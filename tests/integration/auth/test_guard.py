"""The guard against guessing, over real Redis, with a clock that is turned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as redis

from pkg.cache.client import open_redis
from pkg.errors import Reason, ResourceExhausted
from services.auth.guard import Guard, GuardLimits
from tests.integration.auth.stage import SetClock

ADA = "01900000-0000-7000-8000-00000000000a"
HOME, AWAY = "192.0.2.1", "192.0.2.2"
LIMITS = GuardLimits(account_failures=3, address_failures=6, first_wait=2.0, longest_wait=16.0, per_minute=3)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Redis]:
    async with open_redis(redis_url) as opened:
        yield opened


@pytest.fixture
def guard(client: redis.Redis, clock: SetClock) -> Guard:
    return Guard(client, clock, LIMITS)


async def wait_of(guard: Guard, name: str = "ada", user_id: str = ADA, address: str = AWAY) -> float:
    """Seconds until the next try; 0 when this one was let in."""
    try:
        await guard.attempt(name, user_id, address)
    except ResourceExhausted as error:
        if error.reason is not Reason.LOCKED_OUT:
            raise
        return error.retry_after or 0
    return 0


async def test_each_failure_after_the_free_ones_doubles_the_wait(guard: Guard, clock: SetClock) -> None:
    for _ in range(3):
        assert await wait_of(guard, address="") == 0
    waits = []
    for number in range(6):
        waits.append(wait := await wait_of(guard, address=f"198.51.100.{number}"))
        clock.turn(wait)
        assert await wait_of(guard, address=f"203.0.113.{number}") == 0
    assert waits == [2, 4, 8, 16, 16, 16]


async def test_whoever_is_refused_is_not_counted_for_the_account(guard: Guard, clock: SetClock) -> None:
    for _ in range(3):
        await wait_of(guard)
    for number in range(20):
        assert await wait_of(guard, address=f"198.51.100.{number}") == 2
    clock.turn(2)
    assert await wait_of(guard, address="203.0.113.1") == 0
    assert await wait_of(guard, address="203.0.113.2") == 4


async def test_the_first_refusal_to_come_is_announced_once(guard: Guard, clock: SetClock) -> None:
    told = [await guard.attempt("ada", ADA, f"198.51.100.{number}") for number in range(3)]
    clock.turn(2)
    told.append(await guard.attempt("ada", ADA, AWAY))
    assert told == [False, False, True, False]


async def test_success_forgets_the_failures(guard: Guard) -> None:
    for _ in range(2):
        await wait_of(guard)
    assert await wait_of(guard) == 0
    await guard.succeeded("ada", ADA, AWAY)
    assert [await wait_of(guard) for _ in range(2)] == [0, 0]


async def test_an_owner_at_home_is_not_a_stranger(guard: Guard) -> None:
    await guard.attempt("ada", ADA, HOME)
    await guard.succeeded("ada", ADA, HOME)
    for number in range(3):
        assert await wait_of(guard, address=f"198.51.100.{number}") == 0
    assert await wait_of(guard) == 2, "strangers wait"
    assert await wait_of(guard, address=HOME) == 0, "the owner does not"
    assert await wait_of(guard, name="ada@example.org", address=HOME) == 0, "by whatever name"
    await guard.succeeded("ada", ADA, HOME)
    assert await wait_of(guard) == 2, "and sets nobody free"


async def test_one_address_and_many_accounts(guard: Guard) -> None:
    for number in range(6):
        assert await wait_of(guard, name=f"user-{number}", user_id="") == 0
    assert await wait_of(guard, name="user-7", user_id="") == 2
    assert await wait_of(guard, name="user-7", user_id="", address=HOME) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.2", "192.0.2.2", True),
        ("::ffff:192.0.2.2", "::ffff:192.0.2.3", False),
    ],
)
async def test_one_line_is_one_address(guard: Guard, one: str, other: str, same: bool) -> None:
    """Whoever has an IPv6 address has 64 bits of them."""
    for number in range(6):
        assert await wait_of(guard, name=f"user-{number}", user_id="", address=one) == 0
    assert (await wait_of(guard, name="user-7", user_id="", address=other) > 0) is same


async def test_success_does_not_wash_an_address_clean(guard: Guard) -> None:
    """Whoever has one account cannot go on guessing at others by logging in to it now and then."""
    for number in range(5):
        await wait_of(guard, name=f"victim-{number}", user_id="")
        await guard.attempt("mine", ADA, AWAY)
        await guard.succeeded("mine", ADA, AWAY)
    assert await wait_of(guard, name="victim-5", user_id="") == 0
    assert await wait_of(guard, name="victim-6", user_id="") > 0


async def test_many_at_once_are_not_all_let_in(guard: Guard) -> None:
    waits = await asyncio.gather(*(wait_of(guard, address=f"198.51.100.{number}") for number in range(50)))
    assert waits.count(0) == 3


async def test_names_are_folded_and_not_kept(guard: Guard, client: redis.Redis) -> None:
    for name in ("ada", "ADA", "ａｄａ"):
        assert await wait_of(guard, name=name) == 0
    assert await wait_of(guard) == 2
    kept = b" ".join([key async for key in client.scan_iter()])
    assert b"ada" not in kept
    assert AWAY.encode() not in kept


async def test_a_secret_is_used_so_often_and_not_more(guard: Guard) -> None:
    for _ in range(3):
        await guard.spend("key", "k1", AWAY)
    with pytest.raises(ResourceExhausted) as caught:
        await guard.spend("key", "k1", AWAY)
    assert caught.value.reason is Reason.RATE_LIMITED
    assert caught.value.retry_after is not None
    assert caught.value.retry_after >= 1
    assert "3 a minute may use a secret of one account or key. Wait " in caught.value.message
    assert "--lift-limits" not in caught.value.message, "that is for development"
    await guard.spend("key", "k2", AWAY)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.8.9.1"])
async def test_load_tests_are_spared(client: redis.Redis, clock: SetClock, address: str) -> None:
    guard = Guard(client, clock, GuardLimits(account_failures=1, address_failures=1, spare_loopback=True))
    assert [await wait_of(guard, address=address) for _ in range(5)] == [0] * 5
    assert [await wait_of(guard, address="203.0.113.1") for _ in range(2)] == [0, 1]
