"""What developers and operators have: API keys, roles, quotas."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from oofgg.v1 import account_pb2, account_pb2_grpc, auth_pb2, auth_pb2_grpc, game_pb2, game_pb2_grpc
from pkg.auth.caller import CallerRole
from pkg.db.database import open_database
from pkg.errors import OofggError, Reason
from pkg.rpc.status import from_rpc_error
from services.auth.stores.accounts import AccountStore
from tests.integration.calls import PASSWORD, bearer, eventually, reason_of, register
from tests.integration.conftest import RunningServices, StartServices
from tests.integration.game.players import Arena, Metadata

ALL = ["auth", "catalog", "game"]


@pytest.fixture
async def running(start_services: StartServices) -> RunningServices:
    return await start_services(ALL, secret_calls_per_minute=10_000)


@pytest.fixture
async def arena(running: RunningServices) -> Arena:
    return await Arena.build(running)


async def error_of(call: Any) -> OofggError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def new_key(arena: Arena, name: str, **fields: Any) -> auth_pb2.CreateApiKeyResponse:
    request = auth_pb2.CreateApiKeyRequest(game_id=arena.game.game_id, name=name, **fields)
    key: auth_pb2.CreateApiKeyResponse = await arena.auth.CreateApiKey(request, metadata=arena.console, timeout=10)
    return key


async def exchange(arena: Arena, key: str) -> auth_pb2.ExchangeApiKeyResponse:
    answer: auth_pb2.ExchangeApiKeyResponse = await arena.auth.ExchangeApiKey(
        auth_pb2.ExchangeApiKeyRequest(api_key=key), timeout=10
    )
    return answer


async def listed(arena: Arena, **fields: Any) -> auth_pb2.ListApiKeysResponse:
    request = auth_pb2.ListApiKeysRequest(game_id=arena.game.game_id, **fields)
    answer: auth_pb2.ListApiKeysResponse = await arena.auth.ListApiKeys(request, metadata=arena.console, timeout=10)
    return answer


async def make_admin(running: RunningServices, name: str = "operator1") -> Metadata:
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    account = await register(auth, name)
    async with (
        open_database(running.settings.postgres_url, "auth", size=2) as database,
        database.transaction() as connection,
    ):
        await AccountStore(database).set_role(connection, account.user_id, CallerRole.ADMIN)
    answer = await auth.Login(auth_pb2.LoginRequest(username=name, password=PASSWORD), timeout=10)
    return bearer(answer.access_token)


async def test_keys_are_listed_by_what_may_be_shown(arena: Arena) -> None:
    first, second, third = [await new_key(arena, name) for name in ("first", "second", "third")]
    page = await listed(arena, page_size=2)
    assert [key.name for key in page.api_keys] == ["third", "second"]
    rest = await listed(arena, page_size=2, page_token=page.next_page_token)
    assert [key.api_key_id for key in rest.api_keys] == [first.api_key_id]
    assert not rest.next_page_token
    for key, secret in zip([*page.api_keys, *rest.api_keys], (third, second, first), strict=True):
        assert secret.api_key.startswith("oofgg_")
        assert secret.api_key.startswith(key.prefix)
        assert len(key.prefix) < 16
        assert not key.HasField("use_time")
    await exchange(arena, second.api_key)
    used = {key.name for key in (await listed(arena)).api_keys if key.HasField("use_time")}
    assert used == {"second"}


async def test_a_key_ends_at_its_time_and_its_tokens_with_it(arena: Arena) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=3)
    request_fields: dict[str, Any] = {"expire_time": soon}
    key = await new_key(arena, "short", **request_fields)
    exchanged = await exchange(arena, key.api_key)
    assert 1 <= exchanged.expires_in <= 3

    async def ended() -> bool:
        call = arena.auth.ExchangeApiKey(auth_pb2.ExchangeApiKeyRequest(api_key=key.api_key), timeout=10)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).reason is Reason.API_KEY_INVALID
        return False

    await eventually(ended, within=20)
    games: Any = game_pb2_grpc.GameServiceStub(arena.running.channel)

    async def expired() -> bool:
        read = game_pb2.GetGameRequest(game_id=arena.game.game_id)
        try:
            await games.GetGame(read, metadata=bearer(exchanged.access_token), timeout=10)
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).reason is Reason.TOKEN_EXPIRED
        return False

    await eventually(expired, within=20)
    past: dict[str, Any] = {"expire_time": datetime.now(UTC) - timedelta(seconds=1)}
    assert await reason_of(new_key(arena, "past", **past)) is Reason.INVALID_FIELD


async def test_a_revoked_key_is_gone(arena: Arena) -> None:
    key = await new_key(arena, "leaked")
    token = bearer((await exchange(arena, key.api_key)).access_token)
    revoke = auth_pb2.RevokeApiKeyRequest(api_key_id=key.api_key_id)
    stranger = await Arena.build(arena.running, "stranger")
    assert await reason_of(arena.auth.RevokeApiKey(revoke, metadata=stranger.console, timeout=10)) is (
        Reason.API_KEY_NOT_FOUND
    )
    await arena.auth.RevokeApiKey(revoke, metadata=arena.console, timeout=10)
    assert await reason_of(exchange(arena, key.api_key)) is Reason.API_KEY_INVALID
    assert [each.name for each in (await listed(arena)).api_keys] == []
    games: Any = game_pb2_grpc.GameServiceStub(arena.running.channel)

    async def refused() -> bool:
        read = game_pb2.GetGameRequest(game_id=arena.game.game_id)
        try:
            await games.GetGame(read, metadata=token, timeout=10)
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).reason is Reason.TOKEN_REVOKED
        return False

    await eventually(refused, within=10)
    assert await reason_of(arena.auth.RevokeApiKey(revoke, metadata=arena.console, timeout=10)) is (
        Reason.API_KEY_NOT_FOUND
    )


async def test_a_role_is_given_and_taken_with_all_that_hangs_on_it(running: RunningServices, arena: Arena) -> None:
    accounts: Any = account_pb2_grpc.AccountServiceStub(running.channel)
    games: Any = game_pb2_grpc.GameServiceStub(running.channel)
    admin = await make_admin(running)
    key = await new_key(arena, "server")
    token = bearer((await exchange(arena, key.api_key)).access_token)
    account = await arena.auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=arena.console, timeout=10)
    name = account.account.username

    async def set_role(role: auth_pb2.Role.ValueType, who: str = name) -> auth_pb2.Account:
        request = account_pb2.SetRoleRequest(username=who, role=role)
        changed: auth_pb2.Account = (await accounts.SetRole(request, metadata=admin, timeout=10)).account
        return changed

    assert await reason_of(set_role(auth_pb2.ROLE_ADMIN, "nobody")) is Reason.ACCOUNT_NOT_FOUND
    assert (await set_role(auth_pb2.ROLE_PLAYER)).role == auth_pb2.ROLE_PLAYER

    async def ended(metadata: Metadata) -> bool:
        read = game_pb2.GetGameRequest(game_id=arena.game.game_id)
        try:
            await games.GetGame(read, metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).reason is Reason.TOKEN_REVOKED
        return False

    await eventually(lambda: ended(arena.console), within=10)
    await eventually(lambda: ended(token), within=10)
    assert await reason_of(exchange(arena, key.api_key)) is Reason.API_KEY_INVALID
    again = await arena.auth.Login(auth_pb2.LoginRequest(username=name, password=PASSWORD), timeout=10)
    assert again.role == auth_pb2.ROLE_PLAYER
    create = games.CreateGame(game_pb2.CreateGameRequest(name="More"), metadata=bearer(again.access_token), timeout=10)
    assert await reason_of(create) is Reason.ACCESS_DENIED
    assert (await set_role(auth_pb2.ROLE_DEVELOPER, f"{name}@example.org")).role == auth_pb2.ROLE_DEVELOPER


async def set_quotas(running: RunningServices, arena: Arena, **quotas: int) -> None:
    games: Any = game_pb2_grpc.GameServiceStub(running.channel)
    request = game_pb2.SetGameQuotasRequest(game_id=arena.game.game_id, quotas=game_pb2.GameQuotas(**quotas))
    admin = await make_admin(running)
    answer = await games.SetGameQuotas(request, metadata=admin, timeout=10)
    assert {name: getattr(answer.game.quotas, name) for name in quotas} == quotas


async def test_a_game_has_so_many_players_and_no_more(running: RunningServices, arena: Arena) -> None:
    await set_quotas(running, arena, players=3)
    game_id = arena.game.game_id
    names = [f"player-{number}" for number in range(8)]
    results = await asyncio.gather(
        *(register(arena.auth, name, game_id=game_id) for name in names), return_exceptions=True
    )
    errors = [from_rpc_error(result) for result in results if isinstance(result, grpc.aio.AioRpcError)]
    assert len(errors) == 5
    assert {(error.reason, error.metadata["quota"]) for error in errors} == {(Reason.QUOTA_EXCEEDED, "players")}
    player = next(name for name, result in zip(names, results, strict=True) if not isinstance(result, BaseException))
    refused = next(name for name, result in zip(names, results, strict=True) if isinstance(result, BaseException))
    login = auth_pb2.LoginRequest(username=player, password=PASSWORD, game_id=game_id)
    assert (await arena.auth.Login(login, timeout=10)).user_id, "who plays already goes on"
    await register(arena.auth, refused)  # the name was not taken by the one who was refused
    guest = auth_pb2.LoginGuestRequest(device_id="d" * 32, game_id=game_id)
    assert await reason_of(arena.auth.LoginGuest(guest, timeout=10)) is Reason.QUOTA_EXCEEDED
    # A place is free when a player is gone.
    accounts: Any = account_pb2_grpc.AccountServiceStub(running.channel)
    me = bearer((await arena.auth.Login(login, timeout=10)).access_token)
    delete = account_pb2.DeleteAccountRequest(username=player, password=PASSWORD)
    await accounts.DeleteAccount(delete, metadata=me, timeout=20)
    await register(arena.auth, "newcomer", game_id=game_id)


async def test_a_game_has_so_many_sessions_at_a_time(running: RunningServices, arena: Arena) -> None:
    await set_quotas(running, arena, sessions=2)
    ada = await arena.player("ada")
    for _ in range(2):
        await arena.create(ada, min_seats=2, max_seats=2)
    error = await error_of(arena.create(ada, min_seats=2, max_seats=2))
    assert error.reason is Reason.QUOTA_EXCEEDED
    assert error.metadata["quota"] == "sessions"


async def test_sessions_made_at_once_do_not_pass_the_quota_together(running: RunningServices, arena: Arena) -> None:
    await set_quotas(running, arena, sessions=2)
    ada = await arena.player("ada")
    made = await asyncio.gather(
        *(arena.create(ada, min_seats=2, max_seats=2) for _ in range(12)), return_exceptions=True
    )
    sessions = [answer for answer in made if not isinstance(answer, BaseException)]
    assert len(sessions) <= 2
    for _ in range(2 - len(sessions)):  # those that came too close refused each other
        await arena.create(ada, min_seats=2, max_seats=2)
    assert (await error_of(arena.create(ada, min_seats=2, max_seats=2))).reason is Reason.QUOTA_EXCEEDED


async def test_a_game_makes_so_many_calls_a_second(start_services: StartServices) -> None:
    running = await start_services(ALL, game_calls_per_second=5)
    arena = await Arena.build(running)
    other = await Arena.build(running, "other")
    ada, bob = await arena.player("ada"), await other.player("bob")
    request = auth_pb2.GetAccountRequest()
    await arena.auth.GetAccount(request, metadata=ada, timeout=20)  # the first asks what the game is allowed
    began = time.monotonic()
    answers = await asyncio.gather(
        *(arena.auth.GetAccount(request, metadata=ada, timeout=20) for _ in range(200)), return_exceptions=True
    )
    took = time.monotonic() - began
    errors = [from_rpc_error(answer) for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert 200 - len(errors) <= 5 + 5 * (took + 1)
    assert {(error.reason, error.metadata["quota"]) for error in errors} == {
        (Reason.QUOTA_EXCEEDED, "calls_per_second")
    }
    for error in errors:
        assert error.retry_after is not None
        assert 0 < error.retry_after <= 1
    await other.auth.GetAccount(request, metadata=bob, timeout=10)
    await arena.auth.GetAccount(request, metadata=arena.console, timeout=10)
