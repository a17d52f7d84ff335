"""Signing keys change under players who notice nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import grpc

from oofgg.v1 import auth_pb2, auth_pb2_grpc
from pkg.embedded import Platform
from tests.e2e.callers import bearer, outcome, register
from tests.security.audit import events_until, kind_of
from tests.security.conftest import KEY_SECONDS, LEAD_SECONDS
from tests.security.forge import header_of

AT_MOST = 3 * (KEY_SECONDS + LEAD_SECONDS)


async def published(platform: Platform) -> list[str]:
    url = f"http://{platform.endpoints.services_ops}/.well-known/jwks.json"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return [key["kid"] for key in (await response.json())["keys"]]


async def test_nobody_is_refused_while_keys_change(platform: Platform, channel: grpc.aio.Channel) -> None:
    """Tokens of the old key and of the new one, from the moment each is issued."""
    auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
    tokens = [await register(channel, "steady")]
    first = header_of(tokens[0].access_token)["kid"]
    newest = tokens[0]
    deadline = time.monotonic() + AT_MOST
    while (kid := header_of(newest.access_token)["kid"]) == first:
        assert time.monotonic() < deadline, "no new key signs"
        newest = await auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=newest.refresh_token), timeout=10)
        tokens = [tokens[0], newest]
        for token in tokens:
            call = auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(token.access_token), timeout=10)
            code, error = await outcome(call)
            assert code is grpc.StatusCode.OK, (error, header_of(token.access_token))
        await asyncio.sleep(0.2)
    assert {first, kid} <= set(await published(platform)), "the old key stays as long as its tokens live"
    await events_until(
        platform, lambda events: kid in {e.detail for e in events if kind_of(e) == "SIGNING_KEY_ROTATED"}
    )
    for token in tokens:
        answer = await auth.ValidateToken(auth_pb2.ValidateTokenRequest(access_token=token.access_token), timeout=10)
        assert answer.is_valid
