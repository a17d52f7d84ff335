"""AuthService on the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import Any, TypeVar

from oofgg.v1 import auth_pb2 as pb
from pkg.auth.sealing import Sealer
from pkg.db.database import Connection
from pkg.db.replies import once
from pkg.pagination import decode_time_token, encode_time_token, page_size
from pkg.rpc.call import Call
from services.auth.commonest import require_uncommon
from services.auth.identity import Identity, Tokens
from services.auth.messages import ROLES, account_message, api_key_message, login_message, origin_of
from services.auth.self_service import SelfService
from services.auth.usernames import clean_email, clean_username, fold

M = TypeVar("M")


class AuthServicer:
    """Proto in, identity, proto out."""

    def __init__(self, identity: Identity, self_service: SelfService, sealer: Sealer) -> None:
        self._identity = identity
        self._self_service = self_service
        self._sealer = sealer

    async def register(self, request: pb.RegisterRequest, call: Call) -> pb.RegisterResponse:
        username, email, origin = clean_username(request.username), clean_email(request.email), origin_of(call)
        require_uncommon(request.password, username, "password")
        game = await self._identity.game(request.game_id, call)
        account, password_hash = await self._identity.new_account(username, email, request.password)

        async def effect(connection: Connection) -> pb.RegisterResponse:
            tokens = await self._identity.register(connection, account, password_hash, game, origin)
            return _tokens(pb.RegisterResponse, tokens)

        # Nobody is logged in yet, so a request id is scoped to the username. The digest of a request that holds a
        # password must not let anyone guess at it: a repeat has to bring the password again instead.
        without_password = pb.RegisterRequest()
        without_password.CopyFrom(request)
        without_password.ClearField("password")
        response = await once(
            self._identity.stores.database,
            caller=fold(username),
            rpc=call.method,
            request_id=request.request_id,
            request=without_password,
            response=pb.RegisterResponse,
            effect=effect,
            sealer=self._sealer,
        )
        if response.user_id != account.user_id:
            await self._identity.verify_login(username, request.password, origin)
        return response

    async def login(self, request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
        origin = origin_of(call)
        game = await self._identity.game(request.game_id, call)
        verified = await self._identity.verify_login(request.username, request.password, origin)
        return _tokens(pb.LoginResponse, await self._identity.login(verified, game, origin))

    async def login_guest(self, request: pb.LoginGuestRequest, call: Call) -> pb.LoginGuestResponse:
        game = await self._identity.game(request.game_id, call)
        tokens, account, created = await self._identity.login_guest(
            request.device_id, game, origin_of(call), existing_only=request.existing_only
        )
        return _tokens(pb.LoginGuestResponse, tokens, created=created, username=account.username)

    async def validate_token(self, request: pb.ValidateTokenRequest, _: Call) -> pb.ValidateTokenResponse:
        verified = await self._identity.validate(request.access_token)
        if verified is None:
            return pb.ValidateTokenResponse()
        caller = verified.caller
        return pb.ValidateTokenResponse(
            is_valid=True,
            user_id=caller.user_id,
            role=ROLES[caller.role],
            game_id=caller.game_id,
            username=caller.username,
            expires_in=max(0, int(verified.expires_at - self._identity.clock.now().timestamp())),
        )

    async def refresh_token(self, request: pb.RefreshTokenRequest, call: Call) -> pb.RefreshTokenResponse:
        return _tokens(pb.RefreshTokenResponse, await self._identity.refresh(request.refresh_token, origin_of(call)))

    async def logout(self, _: pb.LogoutRequest, call: Call) -> pb.LogoutResponse:
        await self._identity.logout(call.caller, origin_of(call))
        return pb.LogoutResponse()

    async def list_logins(self, request: pb.ListLoginsRequest, call: Call) -> pb.ListLoginsResponse:
        size = page_size(request.page_size)
        logins = await self._identity.list_logins(call.caller, decode_time_token(request.page_token), size + 1)
        more = encode_time_token(logins[size - 1].create_time, logins[size - 1].login_id) if logins[size:] else ""
        current = call.caller.login_id
        return pb.ListLoginsResponse(
            logins=[login_message(login, current) for login in logins[:size]], next_page_token=more
        )

    async def revoke_login(self, request: pb.RevokeLoginRequest, call: Call) -> pb.RevokeLoginResponse:
        await self._identity.revoke_login(call.caller, request.login_id, origin_of(call))
        return pb.RevokeLoginResponse()

    async def revoke_all_logins(self, request: pb.RevokeAllLoginsRequest, call: Call) -> pb.RevokeAllLoginsResponse:
        ended = await self._identity.revoke_all_logins(call.caller, origin_of(call), keep_current=request.keep_current)
        return pb.RevokeAllLoginsResponse(ended=ended)

    async def get_account(self, _: pb.GetAccountRequest, call: Call) -> pb.GetAccountResponse:
        return pb.GetAccountResponse(account=account_message(await self._self_service.account(call.caller)))

    async def become_developer(self, _: pb.BecomeDeveloperRequest, call: Call) -> pb.BecomeDeveloperResponse:
        account, access = await self._identity.become_developer(call.caller, origin_of(call))
        return pb.BecomeDeveloperResponse(
            account=account_message(account), access_token=access.text, expires_in=access.expires_in
        )

    async def create_api_key(self, request: pb.CreateApiKeyRequest, call: Call) -> pb.CreateApiKeyResponse:
        await self._identity.require_own_game(call.caller, request.game_id, call)
        expire_time = request.expire_time.ToDatetime(UTC) if request.HasField("expire_time") else None

        async def effect(connection: Connection) -> pb.CreateApiKeyResponse:
            key, secret = await self._identity.create_api_key(
                connection, call.caller, request.game_id, request.name, expire_time, origin_of(call)
            )
            return pb.CreateApiKeyResponse(api_key_id=key.api_key_id, api_key=secret)

        return await once(
            self._identity.stores.database,
            caller=call.caller.user_id,
            rpc=call.method,
            request_id=request.request_id,
            request=request,
            response=pb.CreateApiKeyResponse,
            effect=effect,
            sealer=self._sealer,
        )

    async def list_api_keys(self, request: pb.ListApiKeysRequest, call: Call) -> pb.ListApiKeysResponse:
        size = page_size(request.page_size)
        after = decode_time_token(request.page_token)
        keys = await self._identity.list_api_keys(call.caller, request.game_id, after, size + 1, call)
        more = encode_time_token(keys[size - 1].create_time, keys[size - 1].api_key_id) if keys[size:] else ""
        return pb.ListApiKeysResponse(api_keys=[api_key_message(key) for key in keys[:size]], next_page_token=more)

    async def revoke_api_key(self, request: pb.RevokeApiKeyRequest, call: Call) -> pb.RevokeApiKeyResponse:
        await self._identity.revoke_api_key(call.caller, request.api_key_id, origin_of(call))
        return pb.RevokeApiKeyResponse()

    async def exchange_api_key(self, request: pb.ExchangeApiKeyRequest, call: Call) -> pb.ExchangeApiKeyResponse:
        key, access = await self._identity.exchange(request.api_key, origin_of(call))
        return pb.ExchangeApiKeyResponse(access_token=access.text, expires_in=access.expires_in, game_id=key.game_id)


def _tokens(response: Callable[..., M], tokens: Tokens, **more: Any) -> M:
    """A response that brings the tokens of a login."""
    return response(
        user_id=tokens.caller.user_id,
        access_token=tokens.access.text,
        refresh_token=tokens.refresh,
        expires_in=tokens.access.expires_in,
        role=ROLES[tokens.caller.role],
        **more,
    )
