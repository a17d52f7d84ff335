"""Guessing does not pay: failed logins are counted, and after a few the next try has to wait, longer each time.

Counted per account (as it was named, whether it exists or not) and per address. Failures from addresses at which the
account's owner has logged in before are counted apart from those of strangers, so that nobody can lock an owner out.
Everything is in Redis and forgotten after a quiet time.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from dataclasses import dataclass
from typing import Any, Final

import redis.asyncio as redis
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from pkg.clock import Clock
from pkg.errors import Reason, ResourceExhausted
from services.auth.usernames import fold

_KNOWN_SECONDS: Final = 90 * 86_400
_MOST_KNOWN: Final = 20

# A try counts as a failure from its beginning, so that many at once are not all admitted; success takes it back.
# KEYS: the counter. ARGV: now, first wait, longest wait, time to remember (all ms), failures that are free.
# Answers how long to wait (ms, 0: the try may begin), and 1 if, should this one fail, the next will have to for the
# first time.
_TRY: Final = """
local now, first, longest, remember = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local until_ms = tonumber(redis.call('HGET', KEYS[1], 'until') or '0')
if until_ms > now then return {until_ms - now, 0} end
local over = redis.call('HINCRBY', KEYS[1], 'failures', 1) - tonumber(ARGV[5])
if over >= 0 then
    redis.call('HSET', KEYS[1], 'until', now + math.min(longest, first * 2 ^ math.min(over, 20)))
end
redis.call('PEXPIRE', KEYS[1], remember)
return {0, over == 0 and 1 or 0}
"""
_TAKE_BACK: Final = """
if redis.call('HINCRBY', KEYS[1], 'failures', -1) <= 0 then return redis.call('DEL', KEYS[1]) end
return redis.call('HDEL', KEYS[1], 'until')
"""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """How patient the guard is. Times are in seconds."""

    account_failures: int = 5
    """Failures for one account before tries have to wait."""
    address_failures: int = 20
    """The same for one address, over all accounts."""
    first_wait: float = 1.0
    longest_wait: float = 900.0
    remember: float = 3_600.0
    per_minute: int = 30
    """Calls that use a secret of one account, login or key."""
    spare_loopback: bool = False
    """Nothing is counted for callers on this machine: for load tests."""
    development: bool = False
    """Refusals say how to lift the limit."""


class Guard:
    """Counts failures and calls."""

    def __init__(self, client: redis.Redis, clock: Clock, limits: GuardLimits) -> None:
        self._client = client
        self._clock = clock
        self._limits = limits
        self._try: Any = client.register_script(_TRY)
        self._take_back: Any = client.register_script(_TAKE_BACK)
        pool: Any = client.connection_pool  # our own, whatever the address says
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix="auth:rate", connection_pool=pool)
        self._limiter = MovingWindowRateLimiter(storage)
        self._rate = RateLimitItemPerMinute(limits.per_minute)

    async def attempt(self, name: str, user_id: str, address: str) -> bool:
        """Begins a try for this account from this address; tell `succeeded` if it does.

        `name` is what was typed, `user_id` the account of that name, empty where there is none.

        Whether, if it fails, the next one has to wait for the first time. Raises ResourceExhausted(LOCKED_OUT) while
        one has to.
        """
        if self._spares(address):
            return False
        limits = self._limits
        by_address = await self._count(_address_counter(address), limits.address_failures)
        by_account = await self._count(await self._account_counter(name, user_id, address), limits.account_failures)
        return by_address or by_account

    async def succeeded(self, name: str, user_id: str, address: str) -> None:
        """Forgets the failures this try was counted with, and remembers the address as one of the owner's.

        What strangers failed at stays counted when the owner comes from a known address.
        """
        if self._spares(address):
            return
        known = _known_key(user_id)
        counter = await self._account_counter(name, user_id, address)
        await self._take_back(keys=[_address_counter(address)])
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.delete(counter)
            pipeline.zadd(known, {_hash(_line(address)): self._now()})
            pipeline.zremrangebyrank(known, 0, -_MOST_KNOWN - 1)
            pipeline.expire(known, _KNOWN_SECONDS)
            await pipeline.execute()

    async def spend(self, what: str, subject: str, address: str) -> None:
        """Counts a call that uses a secret of `subject`. Raises ResourceExhausted(RATE_LIMITED)."""
        if self._spares(address) or await self._limiter.hit(self._rate, what, subject):
            return
        reset, _ = await self._limiter.get_window_stats(self._rate, what, subject)
        wait = max(1.0, reset - self._clock.now().timestamp())
        lift = " On a platform for development, `make up ARGS=--lift-limits` starts it without."
        raise ResourceExhausted(
            Reason.RATE_LIMITED,
            f"Too many calls: {self._limits.per_minute} a minute may use a secret of one account or key. Wait "
            f"{math.ceil(wait)} s and try again.{lift if self._limits.development else ''}",
            retry_after=wait,
        )

    async def _count(self, counter: str, free: int) -> bool:
        limits = self._limits
        times = [limits.first_wait, limits.longest_wait, limits.remember]
        waiting, locks = await self._try(keys=[counter], args=[self._now(), *(int(t * 1000) for t in times), free])
        if waiting > 0:
            raise ResourceExhausted(
                Reason.LOCKED_OUT,
                f"Too many failed logins. Try again in {max(1, round(waiting / 1000))} s.",
                retry_after=waiting / 1000,
            )
        return bool(locks)

    async def _account_counter(self, name: str, user_id: str, address: str) -> str:
        """That of the owner at this address, or that of all strangers together."""
        # Asked for nobody, too, so that the answer takes as long for a name that does not exist.
        if await self._client.zscore(_known_key(user_id), _hash(_line(address))) is not None:
            return _account_counter(name, address)
        return _account_counter(name)

    def _spares(self, address: str) -> bool:
        # No address: the call did not come through Envoy.
        return self._limits.spare_loopback and (not address or _is_loopback(address))

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1000)


def _account_counter(name: str, owner_address: str = "") -> str:
    account = _hash(fold(name))
    return f"auth:fail:of:{account}:{_hash(_line(owner_address))}" if owner_address else f"auth:fail:of:{account}"


def _address_counter(address: str) -> str:
    return f"auth:fail:from:{_hash(_line(address))}"


def _line(address: str) -> str:
    """What one subscriber has: an IPv4 address, or the 64 bits in which all IPv6 addresses of a line begin."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _known_key(user_id: str) -> str:
    return f"auth:known:{user_id}"


def _hash(text: str) -> str:
    """Names and addresses are not kept readable here: a password may have been typed in the place of a name."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
