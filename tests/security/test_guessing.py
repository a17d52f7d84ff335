"""Guessing at passwords and names, over HTTP, from addresses for which no limit is lifted."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import grpc
import pytest

from oofgg.v1 import auth_pb2, auth_pb2_grpc
from pkg.embedded import Platform
from tests.e2e.callers import PASSWORD, bearer, register
from tests.security.conftest import At

NewAddress = Callable[[], str]
# `Settings`: what these tests count with.
FREE_FAILURES = 5
FREE_FAILURES_PER_ADDRESS = 20
SAMPLES = 40


class Answer:
    """Everything about an answer that could tell something."""

    def __init__(self, response: aiohttp.ClientResponse, document: Any) -> None:
        self.status = response.status
        self.headers = dict(response.headers)
        self.document = document

    @property
    def reason(self) -> str:
        return "" if self.status == 200 else str(self.document["details"][0]["reason"])

    def retry_after(self) -> float:
        """Seconds, as RetryInfo tells them."""
        (told,) = [each["retry_delay"] for each in self.document["details"] if each["@type"].endswith("RetryInfo")]
        return float(told.removesuffix("s"))


async def login(session: aiohttp.ClientSession, name: str, password: str, **headers: str) -> Answer:
    body = {"username": name, "password": password}
    async with session.post("/v1/auth/login", json=body, headers=headers) as response:
        return Answer(response, await response.json())


@pytest.fixture
async def victim(channel: grpc.aio.Channel) -> str:
    """An account whose owner has not been seen logging in from anywhere."""
    return await name_of(channel, (await register(channel, "victim")).access_token)


async def name_of(channel: grpc.aio.Channel, token: str) -> str:
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    answer = await stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(token), timeout=10)
    return str(answer.account.username)


async def test_an_unknown_name_and_a_wrong_password_read_the_same(at: At, new_address: NewAddress, victim: str) -> None:
    async with at(new_address()) as session:
        known = await login(session, victim, "wrong password")
        unknown = await login(session, "nobody-" + victim, "wrong password")
        by_email = await login(session, f"{victim}@example.org", "wrong password")
        no_email = await login(session, f"nobody-{victim}@example.org", "wrong password")
    assert known.reason == "BAD_CREDENTIALS"

    def shape(answer: Answer) -> object:
        told = {**answer.document, "details": [{**d, "metadata": None} for d in answer.document["details"]]}
        return answer.status, sorted(answer.headers), told

    assert shape(known) == shape(unknown) == shape(by_email) == shape(no_email)


async def test_an_unknown_name_and_a_wrong_password_take_as_long(
    at: At, new_address: NewAddress, channel: grpc.aio.Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both cost a hash, which is nearly all of the time: without it the medians would differ by that much."""
    tries = SAMPLES // 4
    names = [await name_of(channel, (await register(channel, "timed")).access_token) for _ in range(tries)]
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    for number in range(SAMPLES):
        # An address and a name for a few tries each: nobody is locked out.
        async with at(new_address()) as session:
            for kind, name in (("known", names[number % tries]), ("unknown", f"nobody-{number % tries}-{os.getpid()}")):
                began = time.perf_counter()
                answer = await login(session, name, "wrong password")
                times[kind].append(time.perf_counter() - began)
                assert answer.reason == "BAD_CREDENTIALS"
    known, unknown = (statistics.median(times[kind]) for kind in ("known", "unknown"))
    with capsys.disabled():
        for kind, taken in times.items():
            cuts = [f"{cut * 1000:.1f}" for cut in statistics.quantiles(taken, n=4)]
            print(f"\n  {kind}: quartiles of {len(taken)} failed logins {' / '.join(cuts)} ms", end="")
    assert abs(known - unknown) < 0.5 * max(known, unknown)


async def test_guesses_at_one_account_from_many_addresses(at: At, new_address: NewAddress, victim: str) -> None:
    reasons: Counter[str] = Counter()
    for guess in range(3 * FREE_FAILURES):
        async with at(new_address()) as session:
            answer = await login(session, victim, f"guess number {guess}")
            reasons[answer.reason] += 1
            if answer.reason == "LOCKED_OUT":
                assert answer.status == 429
                assert answer.retry_after() > 0
    assert set(reasons) == {"BAD_CREDENTIALS", "LOCKED_OUT"}
    # A wait may have passed while the test ran, and one more guess with it.
    assert reasons["BAD_CREDENTIALS"] < 2 * FREE_FAILURES
    async with at(new_address()) as session:
        answer = await login(session, victim, PASSWORD)
        assert answer.reason in ("LOCKED_OUT", ""), "the right password tells nothing while the wait lasts"


async def test_guesses_at_a_name_that_does_not_exist_are_locked_out_alike(at: At, new_address: NewAddress) -> None:
    """Whether there is such an account does not show in the lockout either."""
    name = f"nobody-{os.urandom(4).hex()}"
    reasons = []
    for guess in range(2 * FREE_FAILURES):
        async with at(new_address()) as session:
            reasons.append((await login(session, name, f"guess number {guess}")).reason)
    assert reasons[:FREE_FAILURES] == ["BAD_CREDENTIALS"] * FREE_FAILURES
    assert "LOCKED_OUT" in reasons


async def test_stolen_lists_from_one_address(at: At, new_address: NewAddress) -> None:
    """One try for each of many accounts: Envoy's limit per address comes first, the service's behind it."""
    reasons: Counter[str] = Counter()
    async with at(new_address()) as session:
        for number in range(3 * FREE_FAILURES_PER_ADDRESS):
            answer = await login(session, f"leaked-{number}", "a leaked password")
            reasons[answer.reason] += 1
            if answer.reason != "BAD_CREDENTIALS":
                assert answer.status == 429
                assert answer.retry_after() > 0
                assert int(answer.headers.get("retry-after", "1")) >= 1
    assert reasons["RATE_LIMITED"] + reasons["LOCKED_OUT"] > FREE_FAILURES_PER_ADDRESS
    assert set(reasons) <= {"BAD_CREDENTIALS", "RATE_LIMITED", "LOCKED_OUT"}


async def test_guesses_at_once_are_not_all_let_in(at: At, new_address: NewAddress, victim: str) -> None:
    async def guess(number: int) -> str:
        async with at(new_address()) as session:
            return (await login(session, victim, f"guess number {number}")).reason

    reasons = Counter(await asyncio.gather(*(guess(number) for number in range(30))))
    assert set(reasons) == {"BAD_CREDENTIALS", "LOCKED_OUT"}
    assert reasons["BAD_CREDENTIALS"] < 2 * FREE_FAILURES


@pytest.mark.parametrize("by", ["username", "email"])
async def test_strangers_cannot_lock_the_owner_out(at: At, new_address: NewAddress, victim: str, by: str) -> None:
    home = new_address()
    async with at(home) as session:
        assert (await login(session, victim, PASSWORD)).status == 200
    name = victim if by == "username" else f"{victim}@example.org"
    reasons = set()
    for guess in range(FREE_FAILURES + 2):
        async with at(new_address()) as session:
            reasons.add((await login(session, name, f"guess number {guess}")).reason)
    assert "LOCKED_OUT" in reasons
    async with at(home) as session:
        assert (await login(session, name, PASSWORD)).status == 200
    admitted = 0
    async with at(new_address()) as session:
        while (await login(session, name, "one guess more")).reason != "LOCKED_OUT":
            admitted += 1
    # A wait may have passed while the test ran, and one more guess with it.
    assert admitted < FREE_FAILURES - 1, "the owner's login has set the strangers free"


@pytest.mark.parametrize(
    "header",
    [
        "x-forwarded-for",
        "x-oofgg-client-address",
        "x-envoy-external-address",
        "x-real-ip",
        "forwarded",
    ],
)
async def test_a_header_does_not_make_another_address(
    at: At, new_address: NewAddress, victim: str, header: str
) -> None:
    """Neither to escape the count of one's own address, nor to pass for the owner at a known one."""
    home, attacker = new_address(), new_address()
    async with at(home) as session:
        assert (await login(session, victim, PASSWORD)).status == 200
    value = f"for={home}" if header == "forwarded" else home
    async with at(attacker) as session:
        reasons = [
            (await login(session, victim, f"guess number {n}", **{header: value})).reason
            for n in range(FREE_FAILURES + 3)
        ]
    assert reasons[:FREE_FAILURES] == ["BAD_CREDENTIALS"] * FREE_FAILURES
    assert "LOCKED_OUT" in reasons
    async with at(home) as session:
        assert (await login(session, victim, PASSWORD)).status == 200, "the guesses were the owner's, it seems"


async def test_changing_a_password_is_no_way_to_guess_it(
    at: At, new_address: NewAddress, channel: grpc.aio.Channel, platform: Platform
) -> None:
    """Who has a token, but not the password."""
    tokens = await register(channel, "stolen")
    headers = {"authorization": f"Bearer {tokens.access_token}"}
    reasons = []
    async with at(new_address()) as session:
        for guess in range(FREE_FAILURES + 3):
            body = {"old_password": f"guess number {guess}", "new_password": "a new passphrase 77"}
            async with session.post("/v1/account/change-password", json=body, headers=headers) as response:
                reasons.append(Answer(response, await response.json()).reason)
    assert reasons[:FREE_FAILURES] == ["BAD_CREDENTIALS"] * FREE_FAILURES
    assert "LOCKED_OUT" in reasons


async def test_keys_are_not_guessed_at_either(at: At, new_address: NewAddress) -> None:
    reasons: Counter[str] = Counter()
    async with at(new_address()) as session:
        for number in range(60):
            async with session.post("/v1/auth/exchange-api-key", json={"api_key": f"oofgg_{number}"}) as response:
                reasons[Answer(response, await response.json()).reason] += 1
    assert reasons["RATE_LIMITED"] > 0
    assert set(reasons) == {"API_KEY_INVALID", "RATE_LIMITED"}
