"""Every security event is on the topic `oofgg.audit`, with address and client, and without a secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import grpc

from oofgg.events.v1 import identity_pb2
from oofgg.v1 import account_pb2, account_pb2_grpc, auth_pb2, auth_pb2_grpc
from pkg.embedded import Platform
from tests.e2e.callers import PASSWORD, Metadata, bearer, make_cast, operate, outcome, register
from tests.security.audit import Event, events_until, kind_of
from tests.security.conftest import At

KINDS = {
    value.name.removeprefix("SECURITY_EVENT_KIND_") for value in identity_pb2.SecurityEventKind.DESCRIPTOR.values
} - {"UNSPECIFIED"}
# Nobody's: no call of a client is behind it. See test_rotation.
OF_THE_PLATFORM = {"SIGNING_KEY_ROTATED"}
CLIENT = "my-game/1.2 (test)"


def as_client(metadata: Metadata = ()) -> Metadata:
    return (*metadata, ("x-user-agent", CLIENT))


async def test_every_kind_of_event_is_told(
    platform: Platform, channel: grpc.aio.Channel, at: At, new_address: Callable[[], str]
) -> None:
    auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
    accounts: Any = account_pb2_grpc.AccountServiceStub(channel)
    name = f"audited-{os.urandom(4).hex()}"
    device = os.urandom(16).hex()

    # ACCOUNT_CREATED, LOGIN, ACCOUNT_CHANGED
    made = await auth.LoginGuest(auth_pb2.LoginGuestRequest(device_id=device), metadata=as_client(), timeout=10)
    user_id = made.user_id
    me = as_client(bearer(made.access_token))
    change = account_pb2.UpdateAccountRequest(account=auth_pb2.Account(display_name="Ada"))
    change.update_mask.paths.append("display_name")
    await accounts.UpdateAccount(change, metadata=me, timeout=10)
    # CREDENTIAL_LINKED, CREDENTIAL_UNLINKED
    link = account_pb2.LinkPasswordRequest(username=name, email=f"{name}@example.org", password=PASSWORD)
    await accounts.LinkPassword(link, metadata=me, timeout=10)
    await accounts.UnlinkDevice(account_pb2.UnlinkDeviceRequest(device_id=device), metadata=me, timeout=10)
    # PASSWORD_CHANGED, REFRESH_REUSED, LOGIN_ENDED
    new = "a new passphrase 77"
    await accounts.ChangePassword(
        account_pb2.ChangePasswordRequest(old_password=PASSWORD, new_password=new), metadata=me, timeout=10
    )
    login = auth_pb2.LoginRequest(username=name, password=new)
    tokens = await auth.Login(login, metadata=as_client(), timeout=10)
    refresh = auth_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token)
    again = await auth.RefreshToken(refresh, metadata=as_client(), timeout=10)
    later = auth_pb2.RefreshTokenRequest(refresh_token=again.refresh_token)
    await auth.RefreshToken(later, metadata=as_client(), timeout=10)
    _, error = await outcome(auth.RefreshToken(refresh, metadata=as_client(), timeout=10))
    assert error is not None
    left = await auth.Login(login, metadata=as_client(), timeout=10)
    await auth.Logout(auth_pb2.LogoutRequest(), metadata=as_client(bearer(left.access_token)), timeout=10)
    # LOGIN_FAILED, LOCKED_OUT, from elsewhere
    attacker = new_address()
    async with at(attacker) as session:
        for guess in range(6):
            body = {"username": name, "password": f"guess number {guess}"}
            async with session.post("/v1/auth/login", json=body, headers={"user-agent": "stuffer/9"}) as response:
                assert response.status in (401, 429)
    # ACCOUNT_EXPORTED
    async for _ in accounts.ExportAccount(account_pb2.ExportAccountRequest(), metadata=me, timeout=20):
        pass
    # API_KEY_CREATED, API_KEY_USED, API_KEY_REVOKED, ROLE_CHANGED
    studio = await make_cast(channel)
    listed = await auth.ListApiKeys(
        auth_pb2.ListApiKeysRequest(game_id=studio.game_id), metadata=studio.developer, timeout=10
    )
    key_id = listed.api_keys[0].api_key_id
    revoke = auth_pb2.RevokeApiKeyRequest(api_key_id=key_id)
    await auth.RevokeApiKey(revoke, metadata=as_client(studio.developer), timeout=10)
    assert operate(platform, "set-role", name, "developer").returncode == 0
    assert operate(platform, "set-role", name, "player").returncode == 0
    # ACCOUNT_DELETED
    last = await auth.Login(login, metadata=as_client(), timeout=10)
    gone = account_pb2.DeleteAccountRequest(username=name, password=new)
    await accounts.DeleteAccount(gone, metadata=as_client(bearer(last.access_token)), timeout=20)

    def enough(events: list[Event]) -> bool:
        mine = {kind_of(event) for event in events if event.user_id == user_id}
        keys = {kind_of(event) for event in events if event.api_key_id == key_id}
        return mine | keys == KINDS - OF_THE_PLATFORM

    events = await events_until(platform, enough)
    mine = [event for event in events if event.user_id == user_id]
    for event in mine:
        kind = kind_of(event)
        if event.actor == "operator":
            assert kind == "ROLE_CHANGED"
        elif kind in ("LOGIN_FAILED", "LOCKED_OUT"):
            assert (event.address, event.client) == (attacker, "stuffer/9"), kind
        else:
            assert (event.address, event.client) == ("127.0.0.1", CLIENT), kind
        assert event.occur_time.seconds > 0
    assert [event.detail for event in mine if event.actor == "operator"] == ["developer", "player"]
    assert all(event.login_id for event in mine if kind_of(event) in ("LOGIN", "LOGIN_ENDED", "REFRESH_REUSED"))
    of_the_key = [event for event in events if event.api_key_id == key_id]
    assert {event.game_id for event in of_the_key} == {studio.game_id}


async def test_the_address_is_the_one_envoy_saw(
    platform: Platform, channel: grpc.aio.Channel, at: At, new_address: Callable[[], str]
) -> None:
    """Whatever a client writes into its headers, in the audit and in the list of logins."""
    auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
    me = bearer((await register(channel, "spoofed")).access_token)
    account = (await auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=me, timeout=10)).account
    address, forged = new_address(), "203.0.113.9"
    names = ["x-forwarded-for", "x-oofgg-client-address", "x-envoy-external-address", "x-real-ip"]
    headers = dict.fromkeys(names, forged) | {"forwarded": f"for={forged}"}
    async with at(address) as session:
        body = {"username": account.username, "password": PASSWORD}
        async with session.post("/v1/auth/login", json=body, headers=headers) as response:
            assert response.status == 200
    logins = (await auth.ListLogins(auth_pb2.ListLoginsRequest(), metadata=me, timeout=10)).logins
    assert [login.address for login in logins if not login.current] == [address]

    def logins_of(events: list[Event]) -> list[Event]:
        return [event for event in events if event.user_id == account.user_id and kind_of(event) == "LOGIN"]

    events = logins_of(await events_until(platform, lambda events: len(logins_of(events)) == 2))
    assert sorted(event.address for event in events) == sorted(["127.0.0.1", address])
    assert not any(forged in str(event) for event in events)
