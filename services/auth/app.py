"""Composition root of `auth`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import Any

from oofgg.v1 import auth_pb2
from pkg.auth.tokens import TokenVerifier
from pkg.games import GameDirectory
from pkg.rpc.binder import Binding
from pkg.runtime.host import App, Host
from services.auth.ended import EndedLogins
from services.auth.identity import Identity
from services.auth.issuer import TokenIssuer
from services.auth.keys import KeyRing
from services.auth.passwords import Passwords
from services.auth.servicer import AuthServicer
from services.auth.store import AccountStore, ApiKeyStore, LoginStore, SigningKeyStore


@asynccontextmanager
async def app(host: Host) -> AsyncIterator[App]:
    """Needs PostgreSQL for everything, Redis to end logins, `catalog` for logins to a game."""
    settings = host.settings
    database = await host.postgres("auth")
    keys = KeyRing(await SigningKeyStore(database, host.sealer).load_or_create(host.new_id(), host.clock.now()))
    logins = LoginStore(database)
    ended = EndedLogins(logins, database, host.redis, host.clock, settings.access_token_seconds)
    host.spawn(ended.run(), name="ended logins")

    async def jwks() -> Mapping[str, Any]:
        return keys.jwks()

    with closing(Passwords(settings)) as passwords:
        identity = Identity(
            accounts=AccountStore(database),
            logins=logins,
            api_keys=ApiKeyStore(database),
            passwords=passwords,
            issuer=TokenIssuer(
                keys=keys,
                clock=host.clock,
                new_id=host.new_id,
                access_seconds=settings.access_token_seconds,
                refresh_life=timedelta(days=settings.refresh_token_days),
            ),
            verifier=TokenVerifier(keys, host.clock),
            revocations=host.revocations,
            ended=ended,
            games=GameDirectory(host.channel("catalog"), host.clock),
            settings=settings,
            clock=host.clock,
            new_id=host.new_id,
        )
        yield App(
            name="auth",
            bindings=[
                Binding(
                    auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
                    AuthServicer(identity, database, host.sealer, host.clock),
                )
            ],
            checks={"postgres": database.check, "redis": host.check_redis},
            documents={"/.well-known/jwks.json": jwks},
        )
