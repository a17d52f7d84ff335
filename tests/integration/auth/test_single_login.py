"""A game that allows one login at a time."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import grpc
import pytest

from oofgg.v1 import auth_pb2, auth_pb2_grpc, game_pb2, game_pb2_grpc
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error
from tests.integration.calls import PASSWORD, bearer, eventually, register
from tests.integration.conftest import StartServices


@pytest.mark.parametrize("kind", ["by password", "as a guest"])
async def test_of_many_logins_at_once_one_is_left(start_services: StartServices, kind: str) -> None:
    running = await start_services(["auth", "catalog"])
    auth: Any = auth_pb2_grpc.AuthServiceStub(running.channel)
    games: Any = game_pb2_grpc.GameServiceStub(running.channel)
    studio = bearer((await register(auth, "studio")).access_token)
    developer = await auth.BecomeDeveloper(auth_pb2.BecomeDeveloperRequest(), metadata=studio, timeout=10)
    create = game_pb2.CreateGameRequest(name="Solo", settings=game_pb2.GameSettings(single_login=True))
    game = (await games.CreateGame(create, metadata=bearer(developer.access_token), timeout=10)).game
    device = os.urandom(16).hex()
    console = await register(auth, "ada")
    await auth.LoginGuest(auth_pb2.LoginGuestRequest(device_id=device, game_id=game.game_id), timeout=10)

    async def log_in() -> Any:
        if kind == "as a guest":
            guest = auth_pb2.LoginGuestRequest(device_id=device, game_id=game.game_id)
            return await auth.LoginGuest(guest, timeout=20)
        login = auth_pb2.LoginRequest(username="ada", password=PASSWORD, game_id=game.game_id)
        while True:  # tries under way count as failures until they succeed: told to wait, a client does
            try:
                return await auth.Login(login, timeout=20)
            except grpc.aio.AioRpcError as error:
                if from_rpc_error(error).reason is not Reason.LOCKED_OUT:
                    raise
            await asyncio.sleep(1)

    logins = await asyncio.gather(*(log_in() for _ in range(8)))

    async def states() -> list[Reason | None]:
        found: list[Reason | None] = []
        for login in logins:
            call = auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(login.access_token), timeout=10)
            try:
                await call
                found.append(None)
            except grpc.aio.AioRpcError as error:
                found.append(from_rpc_error(error).reason)
        return found

    async def one_is_left() -> bool:
        return sorted(await states(), key=str) == sorted([Reason.LOGGED_IN_ELSEWHERE] * 7 + [None], key=str)

    await eventually(one_is_left, within=10)
    refreshed = [login for login in logins if await reason_or_none(auth, login.refresh_token) is None]
    assert len(refreshed) == 1
    await auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(console.access_token), timeout=10)


async def reason_or_none(auth: Any, token: str) -> Reason | None:
    try:
        await auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=token), timeout=10)
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
    return None
