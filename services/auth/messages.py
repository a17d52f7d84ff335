"""What the servicers of `auth` share of the wire."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from oofgg.v1 import auth_pb2 as pb
from pkg.auth.caller import CallerRole
from pkg.rpc.call import Call
from services.auth.accounts import Account, ApiKey, LoginRecord, Origin

ROLES = {
    CallerRole.PLAYER: pb.ROLE_PLAYER,
    CallerRole.DEVELOPER: pb.ROLE_DEVELOPER,
    CallerRole.ADMIN: pb.ROLE_ADMIN,
}
CALLER_ROLES = {wire: role for role, wire in ROLES.items()}


def origin_of(call: Call) -> Origin:
    """Where a call came from."""
    return Origin(call.client_address, call.client_name)


def account_message(account: Account) -> pb.Account:
    """An account as its owner sees it."""
    return pb.Account(
        user_id=account.user_id,
        username=account.username,
        email=account.email,
        role=ROLES[account.role],
        create_time=timestamp(account.create_time),
        display_name=account.display_name,
        avatar_url=account.avatar_url,
        language=account.language,
        has_password=account.has_password,
        device_count=account.devices,
    )


def login_message(login: LoginRecord, current: str) -> pb.LoginInfo:
    """A login in a list; `current` is the id of the caller's own."""
    return pb.LoginInfo(
        login_id=login.login_id,
        game_id=login.game_id,
        create_time=timestamp(login.create_time),
        refresh_time=timestamp(login.refresh_time),
        expire_time=timestamp(login.expire_time),
        address=login.origin.address,
        client=login.origin.client,
        current=login.login_id == current,
    )


def api_key_message(key: ApiKey) -> pb.ApiKeyInfo:
    """A key in a list."""
    return pb.ApiKeyInfo(
        api_key_id=key.api_key_id,
        game_id=key.game_id,
        name=key.name,
        prefix=key.prefix,
        create_time=timestamp(key.create_time),
        expire_time=timestamp(key.expire_time),
        use_time=timestamp(key.use_time),
    )


def timestamp(time: datetime | None) -> Timestamp | None:
    """A time on the wire; absent for None."""
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message
