"""Tokens and calls of the SDK, against a platform that fails on command."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

import oofgg
from oofgg import errors
from tests.integration.sdk.script import SESSION, Platform


class TestTokens:
    async def test_an_expired_token_is_renewed_once_for_all(self, platform: Platform, client: oofgg.Client) -> None:
        platform.auth.refresh_gate.clear()
        client._login.replace_access("stale", 900, oofgg.Role.PLAYER)
        calls = [asyncio.create_task(client.account()) for _ in range(20)]
        async with asyncio.timeout(5):
            while not platform.auth.refreshes:
                await asyncio.sleep(0.01)
        platform.auth.refresh_gate.set()
        assert {account.user_id for account in await asyncio.gather(*calls)} == {"u1"}
        assert platform.auth.refreshes == ["r1"]

    async def test_it_is_renewed_ahead_of_time(self, platform: Platform, client: oofgg.Client) -> None:
        platform.auth.expires_in = 1
        await client.login("ada", "secret")
        await asyncio.sleep(0.85)
        await client.account()
        assert platform.auth.refreshes == ["r2"]

    async def test_a_cancelled_call_does_not_lose_the_new_token(self, platform: Platform, client: oofgg.Client) -> None:
        platform.auth.refresh_gate.clear()
        client._login.replace_access("stale", 900, oofgg.Role.PLAYER)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.account()
        platform.auth.refresh_gate.set()
        await client.account()
        assert platform.auth.refreshes == ["r1"]

    async def test_a_failing_renewal_is_repeated(self, platform: Platform, client: oofgg.Client) -> None:
        platform.auth.failing = 2
        client._login.replace_access("stale", 900, oofgg.Role.PLAYER)
        await client.account()
        assert platform.auth.refreshes == ["r1", "r1", "r1"]

    async def test_an_ended_login_is_over(self, platform: Platform, client: oofgg.Client) -> None:
        platform.auth.ended = True
        client._login.replace_access("stale", 900, oofgg.Role.PLAYER)
        with pytest.raises(errors.Unauthenticated) as ended:
            await client.account()
        assert ended.value.reason is oofgg.Reason.REFRESH_TOKEN_INVALID
        assert await client.metadata() == ()

    async def test_api_keys_are_exchanged_again(self, platform: Platform) -> None:
        platform.auth.expires_in = 1
        async with oofgg.Client(platform.target, api_key="oofgg_key") as server:
            assert platform.auth.exchanges == 1
            assert server.login_info == oofgg.Login("", oofgg.Role.DEVELOPER, "g1")
            await asyncio.sleep(0.85)
            await server.account()
            assert platform.auth.exchanges == 2


class TestCalls:
    async def test_unavailable_is_repeated_under_one_request_id(self, platform: Platform, client: oofgg.Client) -> None:
        platform.games.failures = [(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")] * 3
        assert (await client.games.create("Duel")).game_id == "g1"
        created = platform.games.created
        assert len(created) == 4
        assert len({request.request_id for request in created}) == 1
        assert created[0].request_id
        await client.games.create("Duel")
        assert created[-1].request_id != created[0].request_id

    @pytest.mark.parametrize(
        "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED]
    )
    async def test_nothing_else_is(self, platform: Platform, client: oofgg.Client, code: grpc.StatusCode) -> None:
        platform.games.failures = [(code, "INTERNAL")]
        with pytest.raises(oofgg.OofggError) as failed:
            await client.games.create("Duel")
        assert failed.value.code is code
        assert len(platform.games.created) == 1

    async def test_a_deadline_holds(self, platform: Platform) -> None:
        platform.games.sleep = 30
        began = time.monotonic()
        async with oofgg.Client(platform.target, timeout=0.3) as client:
            with pytest.raises(errors.DeadlineExceeded):
                await client.games.create("Duel")
        assert time.monotonic() - began < 2

    async def test_after_a_call_without_an_answer_the_next_takes_another_connection(self, platform: Platform) -> None:
        platform.games.sleep = 30
        async with oofgg.Client(platform.target, timeout=0.3) as client:
            with pytest.raises(errors.DeadlineExceeded):
                await client.games.create("Duel")
            platform.games.sleep = 0
            await client.games.create("Duel")
        assert len(set(platform.games.peers)) == 2

    async def test_nobody_there(self) -> None:
        began = time.monotonic()
        async with oofgg.Client("127.0.0.1:1", timeout=0.5) as client:
            with pytest.raises(errors.Unavailable):
                await client.login("ada", "secret")
        assert time.monotonic() - began < 2

    async def test_all_pages(self, client: oofgg.Client) -> None:
        assert [game.game_id async for game in client.games.list()] == [str(number) for number in range(9)]

    async def test_another_node_is_followed(self, client: oofgg.Client) -> None:
        await client.sessions.leave(SESSION)

    async def test_a_node_that_is_dead_is_waited_for_until_another_takes_over(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        platform.sessions.owner_is_dead = 6
        began = time.monotonic()
        await client.sessions.join(SESSION)
        assert platform.sessions.join_nodes == ["", *["dead"] * 6]
        assert time.monotonic() - began > 0.5, "not all of them at once"

    async def test_a_node_that_stays_dead_is_told_in_the_end(self, platform: Platform) -> None:
        platform.sessions.owner_is_dead = 1_000
        async with oofgg.Client(platform.target, timeout=0.5) as client:
            with pytest.raises(errors.FailedPrecondition) as failed:
                await client.sessions.join(SESSION)
        assert failed.value.reason is oofgg.Reason.WRONG_NODE
        assert 2 < len(platform.sessions.join_nodes) < 20

    async def test_a_closed_client_can_be_opened_again(self, platform: Platform) -> None:
        client = oofgg.Client(platform.target)
        for _ in range(2):
            async with client:
                await client.login("ada", "secret")
                with pytest.raises(RuntimeError):
                    await client.__aenter__()
