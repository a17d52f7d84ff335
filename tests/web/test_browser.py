"""A real Chromium, on a page of ours, through Envoy: what somebody who plays in a browser meets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
import pytest

import oofgg
from oofgg.v1 import auth_pb2, auth_pb2_grpc
from pkg.embedded import Platform
from sdk.examples.rock_paper_scissors import Hand, Match, play
from tests.e2e.callers import bearer
from tests.e2e.matches import PASSWORD, name_of, register, until
from tests.web.browser import ROOT, Browser, Page
from tests.web.conftest import FRIEND, STRANGER, Site

SCREENSHOTS = ROOT / "build" / "web" / "screenshots"
MATCH_SECONDS = 90.0


async def register_on(page: Page, url: str) -> str:
    """A new account, made by filling in the form."""
    name = name_of("ada")
    await page.do("goto", url)
    await fill_in(page, name)
    await page.do("click", "button:text-is('New account')")
    await page.shows("#player", name)
    return name


async def fill_in(page: Page, name: str, password: str = PASSWORD) -> None:
    await page.do("fill", "[name=username]", name)
    await page.do("fill", "[name=password]", password)
    await page.do("fill", "[name=email]", f"{name}@example.org")


async def open_session(page: Page) -> str:
    await page.do("click", "button:text-is('Play')")
    await page.shows("#status", "Waiting for another player.")
    return await page.text("#session")


class Opponent:
    """A player on the Python SDK that shows a hand when the test says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hands: asyncio.Queue[Hand] = asyncio.Queue()

    async def choose(self, _: int) -> Hand:
        return await self.hands.get()

    async def play(self, session: oofgg.PlaySession) -> Match:
        return await play(session, self.choose)


@asynccontextmanager
async def opponent(envoy: str, game_id: str, session_id: str) -> AsyncIterator[tuple[Opponent, asyncio.Task[Match]]]:
    async with oofgg.Client(envoy, game=game_id) as client, asyncio.timeout(MATCH_SECONDS):
        player = Opponent(await register(client, "bob"))
        async with client.play(session_id) as session, asyncio.TaskGroup() as tasks:
            yield player, tasks.create_task(player.play(session))


async def throw(page: Page, hand: Hand) -> None:
    await page.do("click", f"[data-hand={hand}]:enabled")


async def match_is_in_the_history(envoy: str, game_id: str, session_id: str) -> None:
    async with oofgg.Client(envoy, game=game_id) as client:
        await register(client, "eve")

        async def there() -> bool:
            try:
                return (await client.history.get(session_id)).result_state is oofgg.ResultState.AGREED
            except oofgg.errors.NotFound:
                return False

        await until(there, "the match history")


async def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    path = SCREENSHOTS / f"{name}.png"
    path.unlink(missing_ok=True)
    await page.do("screenshot", {"path": str(path), "fullPage": True})
    assert path.read_bytes().startswith(b"\x89PNG")


async def test_a_page_plays_a_match_and_sees_events_as_they_happen(
    browser: Browser, site: Site, envoy: str, game_id: str
) -> None:
    page = await browser.page()
    ada = await register_on(page, site.url(envoy, game_id))
    session_id = await open_session(page)
    async with opponent(envoy, game_id, session_id) as (bob, match):
        await page.shows("#events", f"{bob.name} joined")
        await page.shows("#status", "Round 1: choose.")
        # Nobody moves before the other has been seen to: what each sees has come while the stream is open.
        await bob.hands.put(Hand.SCISSORS)
        await page.shows("#events", f"{bob.name} has chosen")
        assert [call.state for call in await page.calls("Watch")] == ["open"]
        await throw(page, Hand.ROCK)
        await page.shows("#score-left", "1")
        await throw(page, Hand.ROCK)
        await page.shows("#status", "Waiting for the other hand.")
        await bob.hands.put(Hand.ROCK)
        await page.shows("#events", "round 2: ")
        await picture(page, "match")
        await bob.hands.put(Hand.SCISSORS)
        await page.shows("#events", f"{bob.name} has chosen")
        assert [call.state for call in await page.calls("Watch")] == ["open"]
        await throw(page, Hand.ROCK)
        await page.shows("#status", "The match is over. You have won.")
        seen = await match
    assert [round_.winner for round_ in seen.rounds] == [1, None, 1]
    assert ada in await page.text("#name-left")
    assert await page.text("#score-left") == "2"
    await picture(page, "result")
    await match_is_in_the_history(envoy, game_id, session_id)
    assert [call.state for call in await page.calls("Watch")] == ["finished"]
    assert [line for line in await page.console() if "uncaught" in line] == []


async def token_of(page: Page) -> str:
    """The access token that the page keeps for after a reload."""
    kept = json.loads(str(await page.do("evaluate", "JSON.stringify(Object.values(sessionStorage))")))
    return str(json.loads(kept[0])["tokens"]["access"])


async def refused(envoy: str, token: str, *reasons: oofgg.Reason) -> None:
    """Waits until the platform refuses this token for one of these reasons."""
    async with grpc.aio.insecure_channel(envoy) as channel:
        stub = auth_pb2_grpc.AuthServiceStub(channel)

        async def is_refused() -> bool:
            try:
                call: Awaitable[object] = stub.GetAccount(
                    auth_pb2.GetAccountRequest(), metadata=bearer(token), timeout=10
                )
                await call
            except grpc.aio.AioRpcError as error:
                return oofgg.errors.from_rpc_error(error).reason in reasons
            return False

        await until(is_refused, "the end of the token")


async def test_with_tls_a_browser_speaks_http2(browser: Browser, site: Site, platform: Platform, game_id: str) -> None:
    """All of a page's streams share one connection then; without TLS it has six, and each Watch takes one."""
    page = await browser.page()
    await register_on(page, site.url(f"https://{platform.endpoints.envoy_tls}", game_id))
    await open_session(page)
    assert await page.protocols("Register") == await page.protocols("Watch") == {"h2"}


async def test_a_page_that_comes_back_with_an_expired_token_gets_a_new_one(
    browser: Browser, site: Site, envoy: str, game_id: str
) -> None:
    page = await browser.page()
    name = await register_on(page, site.url(envoy, game_id))
    old = await token_of(page)
    await refused(envoy, old, oofgg.Reason.TOKEN_EXPIRED)
    await page.do("reload")
    await page.shows("#player", name)
    assert [(call.rpc, call.grpc_status) for call in await page.calls()][-3:] == [
        ("GetAccount", "16"),
        ("RefreshToken", None),
        ("GetAccount", None),
    ]
    assert await token_of(page) != old
    await open_session(page)


async def test_a_page_whose_login_was_ended_asks_for_another(
    browser: Browser, site: Site, envoy: str, game_id: str
) -> None:
    page = await browser.page()
    name = await register_on(page, site.url(envoy, game_id))
    async with grpc.aio.insecure_channel(envoy) as channel:
        stub = auth_pb2_grpc.AuthServiceStub(channel)
        call: Awaitable[object] = stub.Logout(
            auth_pb2.LogoutRequest(), metadata=bearer(await token_of(page)), timeout=10
        )
        await call

    await refused(envoy, await token_of(page), oofgg.Reason.TOKEN_REVOKED, oofgg.Reason.TOKEN_EXPIRED)
    await page.do("click", "button:text-is('Play')")
    await page.do("waitForSelector", "#error:visible")
    assert re.match("TOKEN_REVOKED|REFRESH_TOKEN_INVALID", await page.text("#error"))
    assert await page.do("isVisible", "#login")
    await fill_in(page, name)
    await page.do("click", "button:text-is('Log in')")
    await page.shows("#player", name)


async def test_tokens_expire_during_a_match_and_nobody_notices(
    browser: Browser, site: Site, envoy: str, game_id: str
) -> None:
    page = await browser.page()
    await register_on(page, site.url(envoy, game_id))
    first = await token_of(page)
    session_id = await open_session(page)
    async with opponent(envoy, game_id, session_id) as (bob, match):
        await throw(page, Hand.PAPER)
        await bob.hands.put(Hand.ROCK)
        await page.shows("#score-left", "1")
        await refused(envoy, first, oofgg.Reason.TOKEN_EXPIRED)
        await throw(page, Hand.PAPER)
        await bob.hands.put(Hand.ROCK)
        await page.shows("#status", "The match is over.")
        assert (await match).score == {1: 2, 2: 0}
    assert await token_of(page) != first
    assert len(await page.calls("Watch")) == 1
    assert await page.calls("RefreshToken")


async def test_a_page_that_does_nothing_stays_in_its_seat(
    browser: Browser, site: Site, envoy: str, game_id: str
) -> None:
    page = await browser.page()
    await register_on(page, site.url(envoy, game_id))
    await open_session(page)

    async def signs_of_life() -> bool:
        return len(await page.calls("Send")) >= 5  # beyond the patience of the platform, which is 2.2 heartbeats

    await until(signs_of_life, "signs of life")
    assert [call.state for call in await page.calls("Watch")] == ["open"]
    assert "disconnected" not in await page.text("#events")


async def test_a_stream_that_breaks_is_resumed_without_gap_or_repeat(
    browser: Browser, site: Site, envoy: str, game_id: str, platform: Platform
) -> None:
    page = await browser.page()
    await register_on(page, site.url(envoy, game_id))
    session_id = await open_session(page)
    # The other player is connected to the services themselves, and goes on while Envoy is away.
    async with opponent(platform.endpoints.services_grpc, game_id, session_id) as (bob, match):
        await throw(page, Hand.ROCK)
        await bob.hands.put(Hand.SCISSORS)
        await page.shows("#score-left", "1")
        os.kill(platform.pids["envoy"], signal.SIGKILL)
        await bob.hands.put(Hand.SCISSORS)
        await page.shows("#events", f"{bob.name} has chosen")
        await throw(page, Hand.ROCK)
        await page.shows("#status", "The match is over.")
        assert (await match).score == {1: 2, 2: 0}
    events = await page.text("#events")
    assert [events.count(f"round {number}: ") for number in (1, 2, 3)] == [1, 1, 0]
    assert len(await page.calls("Watch")) > 1


async def test_a_second_page_takes_the_seat_and_the_first_is_told(
    browser: Browser, site: Site, envoy: str, game_id: str
) -> None:
    first, second = await browser.page(), await browser.page()
    name = await register_on(first, site.url(envoy, game_id))
    session_id = await open_session(first)
    await second.do("goto", site.url(envoy, game_id, session=session_id))
    await fill_in(second, name)
    await second.do("click", "button:text-is('Log in')")
    await second.do("click", "button:text-is('Play')")
    await second.shows("#events", f"{name} replaced")
    await first.shows("#error", "REPLACED: Another connection took this seat.")


async def test_a_page_of_a_foreign_origin_is_refused(browser: Browser, site: Site, envoy: str, game_id: str) -> None:
    friend = await browser.page()
    name = await register_on(friend, site.url(envoy, game_id, FRIEND))
    stranger = await browser.page()
    await stranger.do("goto", site.url(envoy, game_id, STRANGER))
    await fill_in(stranger, name)
    await stranger.do("click", "button:text-is('Log in')")
    await stranger.shows("#error", "does not let pages of this origin call it")
    assert "blocked by CORS policy" in "\n".join(await stranger.console())
    assert {call.state for call in await stranger.calls()} == {"failed: net::ERR_FAILED"}
    assert not await stranger.do("isVisible", "#lobby")


Act = Callable[[Page, str], Awaitable[None]]


async def wrong_password(page: Page, name: str) -> None:
    await page.do("click", "#logout")
    await fill_in(page, name, "wrong horse")
    await page.do("click", "button:text-is('Log in')")


async def no_such_session(page: Page, _: str) -> None:
    await page.do("fill", "[name=session]", "no-such-session")
    await page.do("click", "button:text-is('Play')")


async def name_with_spaces(page: Page, _: str) -> None:
    await page.do("click", "#logout")
    await fill_in(page, "two words")
    await page.do("fill", "[name=email]", "two@example.org")
    await page.do("click", "button:text-is('New account')")


@pytest.mark.parametrize(
    ("act", "reason"),
    [(wrong_password, "BAD_CREDENTIALS"), (no_such_session, "SESSION_NOT_FOUND"), (name_with_spaces, "INVALID_FIELD")],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_page_learns_why_something_failed(
    browser: Browser, site: Site, envoy: str, game_id: str, act: Act, reason: str
) -> None:
    page = await browser.page()
    name = await register_on(page, site.url(envoy, game_id))
    await act(page, name)
    await page.shows("#error", reason)
