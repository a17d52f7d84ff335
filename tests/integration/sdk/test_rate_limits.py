"""Who sends too much waits once, for as long as the platform says, and within the time for the call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc
import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from tests.integration.sdk.script import Platform

WAIT = 0.4
LIMITED = (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", WAIT)
DEVICE = "0123456789abcdef"
LOGINS: dict[str, Callable[[oofgg.Client], Awaitable[oofgg.Login]]] = {
    "login": lambda client: client.login("ada", "secret"),
    "login_guest": lambda client: client.login_guest(DEVICE),
    "register": lambda client: client.register("ada", "ada@example.org", "secret"),
}


@pytest.mark.parametrize("name", LOGINS)
async def test_a_login_that_is_refused_once_is_made_again_after_the_wait(platform: Platform, name: str) -> None:
    platform.auth.refusals = [LIMITED]
    async with oofgg.Client(platform.target) as client:
        began = time.monotonic()
        assert (await LOGINS[name](client)).user_id == "u1"
    assert time.monotonic() - began >= WAIT
    assert platform.auth.refusals == []


async def test_the_blocking_twin_waits_too(platform: Platform) -> None:
    platform.auth.refusals = [LIMITED]

    def blocking() -> float:
        with oofgg.sync.Client(platform.target) as client:
            began = time.monotonic()
            client.login_guest(DEVICE)
            return time.monotonic() - began

    assert await asyncio.to_thread(blocking) >= WAIT


async def test_a_call_that_is_refused_again_after_the_wait_fails_with_the_next_wait(platform: Platform) -> None:
    platform.auth.refusals = [LIMITED, (*LIMITED[:2], 7.0)]
    async with oofgg.Client(platform.target) as client:
        with pytest.raises(errors.ResourceExhausted) as caught:
            await client.login("ada", "secret")
    assert (caught.value.reason, caught.value.retry_after) == (oofgg.Reason.RATE_LIMITED, 7.0)


@pytest.mark.parametrize(
    ("refusal", "timeout"),
    [
        pytest.param((*LIMITED[:2], 3.0), 2.0, id="longer than the call may take"),
        pytest.param((*LIMITED[:2], 11.0), 60.0, id="longer than ten seconds"),
        pytest.param((grpc.StatusCode.RESOURCE_EXHAUSTED, "LOCKED_OUT", 0.1), 60.0, id="after failed logins"),
        pytest.param((grpc.StatusCode.RESOURCE_EXHAUSTED, "PENALISED", 0.1), 60.0, id="another limit"),
    ],
)
async def test_other_refusals_and_longer_waits_fail_at_once(
    platform: Platform, refusal: tuple[grpc.StatusCode, str, float], timeout: float
) -> None:
    platform.auth.refusals = [refusal]
    async with oofgg.Client(platform.target, timeout=timeout) as client:
        began = time.monotonic()
        with pytest.raises(errors.ResourceExhausted) as caught:
            await client.login("ada", "secret")
    assert time.monotonic() - began < 1.0
    assert caught.value.retry_after == refusal[2]
