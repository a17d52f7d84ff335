"""Refresh tokens in the wrong hands."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from oofgg.v1 import auth_pb2, auth_pb2_grpc
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error
from tests.e2e.callers import bearer, outcome, register


@pytest.fixture
def auth(channel: grpc.aio.Channel) -> Any:
    return auth_pb2_grpc.AuthServiceStub(channel)


async def refresh(auth: Any, token: str) -> auth_pb2.RefreshTokenResponse | Reason:
    try:
        answer: auth_pb2.RefreshTokenResponse = await auth.RefreshToken(
            auth_pb2.RefreshTokenRequest(refresh_token=token), timeout=20
        )
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
    return answer


async def renewed(auth: Any, token: str) -> auth_pb2.RefreshTokenResponse:
    answer = await refresh(auth, token)
    assert not isinstance(answer, Reason), answer
    return answer


async def assert_ended(auth: Any, access_token: str) -> None:
    call = auth_pb2.GetAccountRequest()
    async with asyncio.timeout(10):
        while True:
            code, error = await outcome(auth.GetAccount(call, metadata=bearer(access_token), timeout=10))
            if code is not grpc.StatusCode.OK:
                assert error is not None
                assert error.reason is Reason.TOKEN_REVOKED
                return
            await asyncio.sleep(0.02)


async def test_a_token_of_two_uses_ago_ends_the_login(auth: Any, channel: grpc.aio.Channel) -> None:
    """Within the grace, too: its successor was used, so no reply was lost."""
    first = await register(channel, "reused")
    second = await renewed(auth, first.refresh_token)
    third = await renewed(auth, second.refresh_token)
    assert await refresh(auth, first.refresh_token) is Reason.REFRESH_TOKEN_INVALID
    assert await refresh(auth, third.refresh_token) is Reason.REFRESH_TOKEN_INVALID
    await assert_ended(auth, third.access_token)


async def test_a_client_that_lost_the_reply_asks_again(auth: Any, channel: grpc.aio.Channel) -> None:
    first = await register(channel, "unlucky")
    await renewed(auth, first.refresh_token)  # and the reply is lost
    again = await renewed(auth, first.refresh_token)
    later = await renewed(auth, again.refresh_token)
    assert (await outcome(auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(later.access_token))))[0] is (
        grpc.StatusCode.OK
    )


async def test_a_thief_who_is_second_in_the_grace_is_found_out(auth: Any, channel: grpc.aio.Channel) -> None:
    """The owner refreshed, the thief repeats it: the owner's next refresh ends the login for both."""
    stolen = await register(channel, "robbed")
    owner = await renewed(auth, stolen.refresh_token)
    thief = await renewed(auth, stolen.refresh_token)
    assert await refresh(auth, owner.refresh_token) is Reason.REFRESH_TOKEN_INVALID
    assert await refresh(auth, thief.refresh_token) is Reason.REFRESH_TOKEN_INVALID
    await assert_ended(auth, thief.access_token)


async def test_a_thief_who_is_first_is_found_out(auth: Any, channel: grpc.aio.Channel) -> None:
    stolen = await register(channel, "robbed")
    thief = await renewed(auth, stolen.refresh_token)
    owner = await renewed(auth, stolen.refresh_token)
    assert await refresh(auth, thief.refresh_token) is Reason.REFRESH_TOKEN_INVALID
    assert await refresh(auth, owner.refresh_token) is Reason.REFRESH_TOKEN_INVALID
    await assert_ended(auth, thief.access_token)


async def test_one_token_at_once_from_everywhere_leaves_one_that_works(auth: Any, channel: grpc.aio.Channel) -> None:
    first = await register(channel, "parallel")
    answers = await asyncio.gather(*(refresh(auth, first.refresh_token) for _ in range(20)))
    tokens = [answer for answer in answers if not isinstance(answer, Reason)]
    assert tokens, answers
    assert len({token.refresh_token for token in tokens}) == len(tokens)
    # They were issued one after the other, each in the place of the one before. Of all of them one at most is alive,
    # and whoever uses another ends the login.
    reasons = [await refresh(auth, token.refresh_token) for token in tokens]
    assert len([reason for reason in reasons if not isinstance(reason, Reason)]) <= 1
    assert {await refresh(auth, token.refresh_token) for token in tokens} == {Reason.REFRESH_TOKEN_INVALID}
    await assert_ended(auth, tokens[0].access_token)


async def test_two_uses_at_once_after_the_successor_was_used(auth: Any, channel: grpc.aio.Channel) -> None:
    first = await register(channel, "race")
    second = await renewed(auth, first.refresh_token)
    answers = await asyncio.gather(*(refresh(auth, token) for token in [second.refresh_token, first.refresh_token] * 5))
    tokens = [answer for answer in answers if not isinstance(answer, Reason)]
    assert len(tokens) < len(answers)
    await assert_ended(auth, second.access_token)
    assert {await refresh(auth, token.refresh_token) for token in tokens} <= {Reason.REFRESH_TOKEN_INVALID}


@pytest.mark.parametrize("token", ["x", "' or 1=1 --", "\x00", "é" * 100, "oofgg_" + "x" * 43])
async def test_what_is_no_refresh_token(auth: Any, token: str) -> None:
    assert await refresh(auth, token) in (Reason.REFRESH_TOKEN_INVALID, Reason.INVALID_FIELD)


async def test_one_kind_of_secret_is_none_of_another(auth: Any, channel: grpc.aio.Channel) -> None:
    tokens = await register(channel, "mixed")
    assert await refresh(auth, tokens.access_token[:512]) is Reason.REFRESH_TOKEN_INVALID
    code, error = await outcome(auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(tokens.refresh_token)))
    assert code is grpc.StatusCode.UNAUTHENTICATED
    answer = await auth.ValidateToken(auth_pb2.ValidateTokenRequest(access_token=tokens.refresh_token), timeout=10)
    assert not answer.is_valid
    code, error = await outcome(
        auth.ExchangeApiKey(auth_pb2.ExchangeApiKeyRequest(api_key=tokens.refresh_token), timeout=10)
    )
    assert error is not None
    assert error.reason is Reason.API_KEY_INVALID
