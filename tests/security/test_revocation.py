"""A login that was ended stops working: for calls, and for streams that are open."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest

from oofgg.v1 import account_pb2, account_pb2_grpc, auth_pb2, auth_pb2_grpc, game_pb2, game_pb2_grpc, session_pb2_grpc
from oofgg.v1 import session_pb2 as pb
from pkg.errors import Reason
from tests.e2e.callers import PASSWORD, Cast, Metadata, bearer, make_cast, outcome, register
from tests.integration.calls import eventually
from tests.integration.game.players import Player

# The promise is one second; a machine on which everything runs at once gets more.
WITHIN = 10.0


@pytest.fixture
def auth(channel: grpc.aio.Channel) -> Any:
    return auth_pb2_grpc.AuthServiceStub(channel)


async def reason_for(auth: Any, metadata: Metadata) -> Reason | None:
    _, error = await outcome(auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=metadata, timeout=10))
    return error.reason if error else None


async def assert_ends(auth: Any, metadata: Metadata, reason: Reason) -> float:
    """Seconds until the login is refused, for that reason."""
    began = time.monotonic()

    async def refused() -> bool:
        return await reason_for(auth, metadata) is reason

    await eventually(refused, within=WITHIN)
    return time.monotonic() - began


async def playing(channel: grpc.aio.Channel, metadata: Metadata, game_id: str) -> Player:
    """A stream of a session of one's own."""
    sessions: Any = session_pb2_grpc.SessionServiceStub(channel)
    create = pb.CreateSessionRequest(game_id=game_id, min_seats=2, max_seats=2)
    session = (await sessions.CreateSession(create, metadata=metadata, timeout=10)).session
    await sessions.Join(pb.JoinRequest(session_id=session.session_id), metadata=metadata, timeout=10)
    return Player(sessions, metadata, session.session_id)


ENDINGS = ["Logout", "RevokeLogin", "RevokeAllLogins", "ChangePassword", "DeleteAccount"]


@pytest.mark.parametrize("how", ENDINGS)
async def test_calls_and_streams_end_with_the_login(
    channel: grpc.aio.Channel, auth: Any, cast: Cast, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = await register(channel, "ending", cast.game_id)
    victim = bearer(tokens.access_token)
    username = (await auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=victim, timeout=10)).account.username
    other = bearer(
        (await auth.Login(auth_pb2.LoginRequest(username=username, password=PASSWORD), timeout=10)).access_token
    )
    accounts: Any = account_pb2_grpc.AccountServiceStub(channel)
    async with await playing(channel, victim, cast.game_id) as stream:
        if how == "Logout":
            await auth.Logout(auth_pb2.LogoutRequest(), metadata=victim, timeout=10)
        elif how == "RevokeLogin":
            logins = (await auth.ListLogins(auth_pb2.ListLoginsRequest(), metadata=other, timeout=10)).logins
            (login_id,) = [login.login_id for login in logins if not login.current]
            await auth.RevokeLogin(auth_pb2.RevokeLoginRequest(login_id=login_id), metadata=other, timeout=10)
        elif how == "RevokeAllLogins":
            ended = await auth.RevokeAllLogins(
                auth_pb2.RevokeAllLoginsRequest(keep_current=True), metadata=other, timeout=10
            )
            assert ended.ended == 1
        elif how == "ChangePassword":
            change = account_pb2.ChangePasswordRequest(old_password=PASSWORD, new_password="another passphrase 7")
            await accounts.ChangePassword(change, metadata=other, timeout=10)
        else:
            gone = account_pb2.DeleteAccountRequest(username=username, password=PASSWORD)
            await accounts.DeleteAccount(gone, metadata=other, timeout=10)
        seconds = await assert_ends(auth, victim, Reason.TOKEN_REVOKED)
        error = await stream.ended(WITHIN)
        assert error is not None
        assert error.reason is Reason.TOKEN_REVOKED
    with capsys.disabled():
        print(f"\n  {how}: refused after {seconds * 1000:.0f} ms", end="")
    refresh = auth_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token)
    _, refused = await outcome(auth.RefreshToken(refresh, timeout=10))
    assert refused is not None
    assert refused.reason is Reason.REFRESH_TOKEN_INVALID
    assert not (
        await auth.ValidateToken(auth_pb2.ValidateTokenRequest(access_token=tokens.access_token), timeout=10)
    ).is_valid
    if how != "DeleteAccount":
        assert await reason_for(auth, other) is None, "the other login goes on"


async def test_a_key_that_was_revoked_ends_its_tokens(channel: grpc.aio.Channel, auth: Any) -> None:
    cast = await make_cast(channel)
    games: Any = game_pb2_grpc.GameServiceStub(channel)
    listed = await auth.ListApiKeys(
        auth_pb2.ListApiKeysRequest(game_id=cast.game_id), metadata=cast.developer, timeout=10
    )
    (key,) = listed.api_keys
    request = auth_pb2.RevokeApiKeyRequest(api_key_id=key.api_key_id)
    await auth.RevokeApiKey(request, metadata=cast.developer, timeout=10)

    async def refused() -> bool:
        read = game_pb2.GetGameRequest(game_id=cast.game_id)
        _, error = await outcome(games.GetGame(read, metadata=cast.api_key, timeout=10))
        return error is not None and error.reason is Reason.TOKEN_REVOKED

    await eventually(refused, within=WITHIN)


async def test_the_older_client_is_told_of_the_newer(channel: grpc.aio.Channel, auth: Any) -> None:
    cast = await make_cast(channel)
    games: Any = game_pb2_grpc.GameServiceStub(channel)
    change = game_pb2.UpdateGameRequest(
        game=game_pb2.Game(game_id=cast.game_id, settings=game_pb2.GameSettings(single_login=True)),
    )
    change.update_mask.paths.append("settings.single_login")
    await games.UpdateGame(change, metadata=cast.developer, timeout=10)

    async def known() -> bool:
        """`auth` remembers a game's settings for a while."""
        first = await register(channel, "probe", cast.game_id)
        name = await name_of(auth, bearer(first.access_token))
        await auth.Login(auth_pb2.LoginRequest(username=name, password=PASSWORD, game_id=cast.game_id), timeout=10)
        _, error = await outcome(
            auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=first.refresh_token), timeout=10)
        )
        return error is not None

    await eventually(known, within=40)
    older = await register(channel, "moving", cast.game_id)
    metadata = bearer(older.access_token)
    name = await name_of(auth, metadata)
    console = await auth.Login(auth_pb2.LoginRequest(username=name, password=PASSWORD), timeout=10)
    async with await playing(channel, metadata, cast.game_id) as stream:
        login = auth_pb2.LoginRequest(username=name, password=PASSWORD, game_id=cast.game_id)
        newer = await auth.Login(login, timeout=10)
        error = await stream.ended(WITHIN)
        assert error is not None
        assert error.reason is Reason.LOGGED_IN_ELSEWHERE
        await assert_ends(auth, metadata, Reason.LOGGED_IN_ELSEWHERE)
    assert await reason_for(auth, bearer(newer.access_token)) is None
    assert await reason_for(auth, bearer(console.access_token)) is None, "the console is no login to the game"


async def name_of(auth: Any, metadata: Metadata) -> str:
    answer = await auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=metadata, timeout=10)
    return str(answer.account.username)
