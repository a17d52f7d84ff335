"""AuthService over real PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import grpc
import jwt
import pytest

from oofgg.v1 import auth_pb2 as pb
from oofgg.v1 import auth_pb2_grpc, errors_pb2, game_pb2, game_pb2_grpc
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error
from tests.integration.calls import PASSWORD, bearer, eventually, reason_of, register
from tests.integration.conftest import RunningServices, StartServices


@pytest.fixture
async def running(start_services: StartServices) -> RunningServices:
    return await start_services(["auth", "catalog"])


@pytest.fixture
def auth(running: RunningServices) -> Any:
    return auth_pb2_grpc.AuthServiceStub(running.channel)


async def test_register_then_login_then_account(auth: Any, random_name: Callable[[str], str]) -> None:
    name = random_name("ada")
    registered = await register(auth, name)
    logged_in = await auth.Login(pb.LoginRequest(username=name.upper(), password=PASSWORD), timeout=10)
    assert logged_in.user_id == registered.user_id
    assert logged_in.role == pb.ROLE_PLAYER
    answer = await auth.GetAccount(pb.GetAccountRequest(), metadata=bearer(logged_in.access_token), timeout=10)
    assert answer.account.username == name
    assert answer.account.user_id == registered.user_id


async def test_tokens_carry_the_documented_claims(auth: Any, running: RunningServices) -> None:
    registered = await register(auth, "claims")
    url = f"http://{running.settings.ops_address}/.well-known/jwks.json"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        keys = jwt.PyJWKSet.from_dict(await response.json())
    key = keys[jwt.get_unverified_header(registered.access_token)["kid"]]
    claims = jwt.decode(registered.access_token, key.key, algorithms=["ES256"], audience="oofgg", issuer="oofgg")
    assert {"sub", "role", "sid", "game", "name", "iat", "exp", "jti"} <= set(claims)
    assert (claims["sub"], claims["role"], claims["game"]) == (registered.user_id, "player", "")
    assert claims["exp"] - claims["iat"] == registered.expires_in


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        pytest.param({"username": ""}, "username", id="username missing"),
        pytest.param({"username": "a b c"}, "username", id="username with blanks"),
        pytest.param({"username": "x" * 33}, "username", id="username too long"),
        pytest.param({"email": "nobody"}, "email", id="email without a domain"),
        pytest.param({"password": "short"}, "password", id="password too short"),
        pytest.param({"password": "x" * 257}, "password", id="password too long"),
        pytest.param({"request_id": "x" * 65}, "request_id", id="request id too long"),
    ],
)
async def test_register_names_the_refused_field(auth: Any, fields: dict[str, str], refused: str) -> None:
    good = {"username": "good-name", "email": "a@example.org", "password": PASSWORD}
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await auth.Register(pb.RegisterRequest(**{**good, **fields}), timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = from_rpc_error(caught.value)
    assert error.reason is Reason.INVALID_FIELD
    assert {violation.field for violation in error.violations} == {refused}


async def test_taken_names_are_told_apart(auth: Any) -> None:
    await register(auth, "taken")
    assert await reason_of(register(auth, "TAKEN")) is Reason.USERNAME_TAKEN
    request = pb.RegisterRequest(username="other", email="Taken@example.org", password=PASSWORD)
    assert await reason_of(auth.Register(request, timeout=10)) is Reason.EMAIL_TAKEN


async def test_unknown_user_and_wrong_password_look_the_same(auth: Any) -> None:
    await register(auth, "known")
    errors = []
    for username in ("known", "unknown"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await auth.Login(pb.LoginRequest(username=username, password="wrong password"), timeout=10)
        details = errors_pb2.Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
        info = errors_pb2.ErrorInfo.FromString(details.details[0].value)
        errors.append((caught.value.code(), caught.value.details(), info.reason))
    assert errors[0] == errors[1]
    assert errors[0][2] == Reason.BAD_CREDENTIALS


async def test_registering_again_with_the_same_request_id_is_one_account(auth: Any) -> None:
    first = await register(auth, "repeat", request_id="request-0001")
    assert await register(auth, "repeat", request_id="request-0001") == first
    thief = pb.RegisterRequest(
        username="repeat", email="repeat@example.org", password="another password", request_id="request-0001"
    )
    assert await reason_of(auth.Register(thief, timeout=10)) is Reason.BAD_CREDENTIALS
    changed = pb.RegisterRequest(
        username="repeat", email="changed@example.org", password=PASSWORD, request_id="request-0001"
    )
    assert await reason_of(auth.Register(changed, timeout=10)) is Reason.REQUEST_ID_REUSED


async def test_refresh_rotates_and_reuse_ends_the_login(start_services: StartServices) -> None:
    services = await start_services(["auth", "catalog"], refresh_grace_seconds=0)
    auth: Any = auth_pb2_grpc.AuthServiceStub(services.channel)
    registered = await register(auth, "rotating")
    refreshed = await auth.RefreshToken(pb.RefreshTokenRequest(refresh_token=registered.refresh_token), timeout=10)
    assert refreshed.refresh_token != registered.refresh_token
    metadata = bearer(refreshed.access_token)
    await auth.GetAccount(pb.GetAccountRequest(), metadata=metadata, timeout=10)

    again = pb.RefreshTokenRequest(refresh_token=registered.refresh_token)
    assert await reason_of(auth.RefreshToken(again, timeout=10)) is Reason.REFRESH_TOKEN_INVALID
    latest = pb.RefreshTokenRequest(refresh_token=refreshed.refresh_token)
    assert await reason_of(auth.RefreshToken(latest, timeout=10)) is Reason.REFRESH_TOKEN_INVALID

    async def ended() -> bool:
        answer = await auth.ValidateToken(pb.ValidateTokenRequest(access_token=refreshed.access_token), timeout=10)
        return not answer.is_valid

    await eventually(ended, within=1.0)
    assert await reason_of(auth.GetAccount(pb.GetAccountRequest(), metadata=metadata, timeout=10)) is (
        Reason.TOKEN_REVOKED
    )


async def test_logout_reaches_other_processes_and_survives_their_restart(
    auth: Any, start_services: StartServices, running: RunningServices
) -> None:
    registered = await register(auth, "leaving")
    elsewhere = await start_services(
        ["catalog"], jwks_url=f"http://{running.settings.ops_address}/.well-known/jwks.json"
    )
    games = game_pb2_grpc.GameServiceStub(elsewhere.channel)
    request = game_pb2.GetGameRequest(game_id="00000000-0000-7000-8000-000000000000")
    metadata = bearer(registered.access_token)
    assert await reason_of(games.GetGame(request, metadata=metadata, timeout=10)) is Reason.GAME_NOT_FOUND

    await auth.Logout(pb.LogoutRequest(), metadata=metadata, timeout=10)

    async def refused() -> bool:
        return await reason_of(games.GetGame(request, metadata=metadata, timeout=10)) is Reason.TOKEN_REVOKED

    await eventually(refused, within=1.0)
    restarted = await start_services(
        ["catalog"], jwks_url=f"http://{running.settings.ops_address}/.well-known/jwks.json"
    )
    games = game_pb2_grpc.GameServiceStub(restarted.channel)
    assert await refused()


async def test_revocations_return_to_a_redis_that_lost_them(
    auth: Any, start_services: StartServices, running: RunningServices
) -> None:
    registered = await register(auth, "forgotten")
    await auth.Logout(pb.LogoutRequest(), metadata=bearer(registered.access_token), timeout=10)

    async def valid(stub: Any) -> bool:
        request = pb.ValidateTokenRequest(access_token=registered.access_token)
        return bool((await stub.ValidateToken(request, timeout=10)).is_valid)

    async def invalid() -> bool:
        return not await valid(auth)

    await eventually(invalid)
    await running.host.redis.flushdb()
    await running.end()
    restarted = auth_pb2_grpc.AuthServiceStub((await start_services(["auth", "catalog"])).channel)

    async def invalid_again() -> bool:
        return not await valid(restarted)

    await eventually(invalid_again, within=1.0)


async def test_keys_and_accounts_survive_a_restart(
    auth: Any, start_services: StartServices, running: RunningServices
) -> None:
    registered = await register(auth, "lasting")
    await running.end()
    restarted = auth_pb2_grpc.AuthServiceStub((await start_services(["auth", "catalog"])).channel)
    answer = await restarted.GetAccount(pb.GetAccountRequest(), metadata=bearer(registered.access_token), timeout=10)
    assert answer.account.username == "lasting"


async def test_developer_game_api_key_and_token_of_the_game(auth: Any, running: RunningServices) -> None:
    games = game_pb2_grpc.GameServiceStub(running.channel)
    registered = await register(auth, "studio")
    create = game_pb2.CreateGameRequest(name="Duel")
    console = bearer(registered.access_token)
    assert await reason_of(games.CreateGame(create, metadata=console, timeout=10)) is Reason.ACCESS_DENIED

    developer = await auth.BecomeDeveloper(pb.BecomeDeveloperRequest(), metadata=console, timeout=10)
    assert developer.account.role == pb.ROLE_DEVELOPER
    console = bearer(developer.access_token)
    game = (await games.CreateGame(create, metadata=console, timeout=10)).game

    request = pb.CreateApiKeyRequest(game_id=game.game_id, name="server", request_id="key-request-1")
    key = await auth.CreateApiKey(request, metadata=console, timeout=10)
    assert key.api_key.startswith("oofgg_")
    assert await auth.CreateApiKey(request, metadata=console, timeout=10) == key
    exchanged = await auth.ExchangeApiKey(pb.ExchangeApiKeyRequest(api_key=key.api_key), timeout=10)
    assert exchanged.game_id == game.game_id
    read = game_pb2.GetGameRequest(game_id=game.game_id)
    assert (await games.GetGame(read, metadata=bearer(exchanged.access_token), timeout=10)).game == game
    key_token = bearer(exchanged.access_token)
    assert await reason_of(auth.Logout(pb.LogoutRequest(), metadata=key_token, timeout=10)) is Reason.ACCESS_DENIED
    account = auth.GetAccount(pb.GetAccountRequest(), metadata=key_token, timeout=10)
    assert await reason_of(account) is Reason.ACCESS_DENIED
    again = await auth.ExchangeApiKey(pb.ExchangeApiKeyRequest(api_key=key.api_key), timeout=10)
    assert (await games.GetGame(read, metadata=bearer(again.access_token), timeout=10)).game == game
    curious = await register(auth, "curious")
    peek = games.GetGame(read, metadata=bearer(curious.access_token), timeout=10)
    assert await reason_of(peek) is Reason.NOT_OWNER
    unknown = pb.ExchangeApiKeyRequest(api_key=key.api_key + "x")
    assert await reason_of(auth.ExchangeApiKey(unknown, timeout=10)) is Reason.API_KEY_INVALID

    player = await register(auth, "player", game_id=game.game_id)
    assert player.role == pb.ROLE_PLAYER
    metadata = bearer(player.access_token)
    assert (await games.GetGame(read, metadata=metadata, timeout=10)).game == game
    assert await reason_of(auth.BecomeDeveloper(pb.BecomeDeveloperRequest(), metadata=metadata, timeout=10)) is (
        Reason.WRONG_GAME
    )
    elsewhere = register(auth, "lost", game_id="00000000-0000-7000-8000-000000000000")
    assert await reason_of(elsewhere) is Reason.GAME_NOT_FOUND


async def test_api_key_of_somebody_elses_game(auth: Any, running: RunningServices) -> None:
    games = game_pb2_grpc.GameServiceStub(running.channel)
    tokens = []
    for name in ("first-studio", "second-studio"):
        registered = await register(auth, name)
        developer = await auth.BecomeDeveloper(
            pb.BecomeDeveloperRequest(), metadata=bearer(registered.access_token), timeout=10
        )
        tokens.append(bearer(developer.access_token))
    game = (await games.CreateGame(game_pb2.CreateGameRequest(name="Mine"), metadata=tokens[0], timeout=10)).game
    request = pb.CreateApiKeyRequest(game_id=game.game_id, name="stolen")
    assert await reason_of(auth.CreateApiKey(request, metadata=tokens[1], timeout=10)) is Reason.NOT_OWNER


async def test_a_login_storm_is_bounded_and_other_calls_go_on(start_services: StartServices) -> None:
    services = await start_services(
        ["auth", "catalog"],
        password_hash_threads=1,
        password_hash_queue=2,
        argon2_time=600,
        login_failures=100,
        login_failures_per_address=100,
    )
    auth = auth_pb2_grpc.AuthServiceStub(services.channel)
    login = pb.LoginRequest(username="nobody", password="whatever")
    storm = [asyncio.create_task(reason_of(auth.Login(login, timeout=30))) for _ in range(24)]
    assert not (await auth.ValidateToken(pb.ValidateTokenRequest(access_token="x"), timeout=5)).is_valid
    reasons = await asyncio.gather(*storm)
    assert set(reasons) == {Reason.BAD_CREDENTIALS, Reason.OVERLOADED}
    assert await reason_of(auth.Login(login, timeout=30)) is Reason.BAD_CREDENTIALS


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        pytest.param((), Reason.TOKEN_MISSING, id="none"),
        pytest.param(bearer("abc"), Reason.TOKEN_INVALID, id="not a JWT"),
        pytest.param((("authorization", "Basic abc"),), Reason.TOKEN_MISSING, id="another scheme"),
        pytest.param(bearer(jwt.encode({"sub": "x"}, "k" * 32)), Reason.TOKEN_INVALID, id="another algorithm"),
    ],
)
async def test_tokens_that_are_none(auth: Any, metadata: Any, reason: Reason) -> None:
    assert await reason_of(auth.GetAccount(pb.GetAccountRequest(), metadata=metadata, timeout=10)) is reason


async def test_expired_tokens_are_told_apart(start_services: StartServices) -> None:
    services = await start_services(["auth", "catalog"], access_token_seconds=1)
    auth = auth_pb2_grpc.AuthServiceStub(services.channel)
    registered = await register(auth, "late")

    async def expired() -> bool:
        call = auth.GetAccount(pb.GetAccountRequest(), metadata=bearer(registered.access_token), timeout=10)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).reason is Reason.TOKEN_EXPIRED
        return False

    await eventually(expired)
