"""AuthService on the wire."""

from __future__ import annotations

from oofgg.v1 import auth_pb2 as pb
from pkg.auth.caller import CallerRole
from pkg.auth.sealing import Sealer
from pkg.clock import Clock
from pkg.db.database import Connection, Database
from pkg.db.replies import once
from pkg.rpc.call import Call
from services.auth.accounts import Account, fold
from services.auth.identity import Identity

_ROLES = {
    CallerRole.PLAYER: pb.ROLE_PLAYER,
    CallerRole.DEVELOPER: pb.ROLE_DEVELOPER,
    CallerRole.ADMIN: pb.ROLE_ADMIN,
}


class AuthServicer:
    """Proto in, identity, proto out."""

    def __init__(self, identity: Identity, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._identity = identity
        self._database = database
        self._sealer = sealer
        self._clock = clock

    async def register(self, request: pb.RegisterRequest, call: Call) -> pb.RegisterResponse:
        await self._identity.require_game(request.game_id, call)
        account, password_hash = await self._identity.new_account(request.username, request.email, request.password)

        async def effect(connection: Connection) -> pb.RegisterResponse:
            tokens = await self._identity.register(connection, account, password_hash, request.game_id)
            return pb.RegisterResponse(
                user_id=account.user_id,
                access_token=tokens.access.text,
                refresh_token=tokens.refresh,
                expires_in=tokens.access.expires_in,
                role=_ROLES[tokens.caller.role],
            )

        # Nobody is logged in yet, so a request id is scoped to the username. The digest of a request that holds a
        # password must not let anyone guess at it: a repeat has to bring the password again instead.
        without_password = pb.RegisterRequest()
        without_password.CopyFrom(request)
        without_password.ClearField("password")
        response = await once(
            self._database,
            caller=fold(request.username),
            rpc=call.method,
            request_id=request.request_id,
            request=without_password,
            response=pb.RegisterResponse,
            effect=effect,
            sealer=self._sealer,
        )
        if response.user_id != account.user_id:
            await self._identity.verify_password(request.username, request.password)
        return response

    async def login(self, request: pb.LoginRequest, call: Call) -> pb.LoginResponse:
        await self._identity.require_game(request.game_id, call)
        account = await self._identity.verify_password(request.username, request.password)
        async with self._database.transaction() as connection:
            tokens = await self._identity.login(connection, account, request.game_id)
        return pb.LoginResponse(
            user_id=account.user_id,
            access_token=tokens.access.text,
            refresh_token=tokens.refresh,
            expires_in=tokens.access.expires_in,
            role=_ROLES[tokens.caller.role],
        )

    async def validate_token(self, request: pb.ValidateTokenRequest, _: Call) -> pb.ValidateTokenResponse:
        verified = await self._identity.validate(request.access_token)
        if verified is None:
            return pb.ValidateTokenResponse()
        caller = verified.caller
        return pb.ValidateTokenResponse(
            is_valid=True,
            user_id=caller.user_id,
            role=_ROLES[caller.role],
            game_id=caller.game_id,
            username=caller.username,
            expires_in=int(verified.expires_at - self._clock.now().timestamp()),
        )

    async def refresh_token(self, request: pb.RefreshTokenRequest, _: Call) -> pb.RefreshTokenResponse:
        tokens = await self._identity.refresh(request.refresh_token)
        return pb.RefreshTokenResponse(
            user_id=tokens.caller.user_id,
            access_token=tokens.access.text,
            refresh_token=tokens.refresh,
            expires_in=tokens.access.expires_in,
            role=_ROLES[tokens.caller.role],
        )

    async def logout(self, _: pb.LogoutRequest, call: Call) -> pb.LogoutResponse:
        await self._identity.logout(call.caller)
        return pb.LogoutResponse()

    async def get_account(self, _: pb.GetAccountRequest, call: Call) -> pb.GetAccountResponse:
        return pb.GetAccountResponse(account=_account(await self._identity.account(call.caller)))

    async def become_developer(self, _: pb.BecomeDeveloperRequest, call: Call) -> pb.BecomeDeveloperResponse:
        account, access = await self._identity.become_developer(call.caller)
        return pb.BecomeDeveloperResponse(
            account=_account(account), access_token=access.text, expires_in=access.expires_in
        )

    async def create_api_key(self, request: pb.CreateApiKeyRequest, call: Call) -> pb.CreateApiKeyResponse:
        await self._identity.require_own_game(call.caller, request.game_id, call)

        async def effect(connection: Connection) -> pb.CreateApiKeyResponse:
            key, secret = await self._identity.create_api_key(connection, call.caller, request.game_id, request.name)
            return pb.CreateApiKeyResponse(api_key_id=key.api_key_id, api_key=secret)

        return await once(
            self._database,
            caller=call.caller.user_id,
            rpc=call.method,
            request_id=request.request_id,
            request=request,
            response=pb.CreateApiKeyResponse,
            effect=effect,
            sealer=self._sealer,
        )

    async def exchange_api_key(self, request: pb.ExchangeApiKeyRequest, _: Call) -> pb.ExchangeApiKeyResponse:
        key, access = await self._identity.exchange(request.api_key)
        return pb.ExchangeApiKeyResponse(access_token=access.text, expires_in=access.expires_in, game_id=key.game_id)


def _account(account: Account) -> pb.Account:
    message = pb.Account(
        user_id=account.user_id, username=account.username, email=account.email, role=_ROLES[account.role]
    )
    message.create_time.FromDatetime(account.create_time)
    return message
