"""Composition root of `auth`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from typing import Any

from oofgg.v1 import account_pb2, auth_pb2, classic_pb2
from pkg.auth.tokens import TokenVerifier
from pkg.config import Environment, Settings
from pkg.events.lag import watch_outbox
from pkg.events.relay import Relay
from pkg.games import GameDirectory
from pkg.rpc.binder import Binding
from pkg.runtime.host import App, Host
from services.auth import usernames
from services.auth.account_servicer import AccountServicer
from services.auth.audit import Audit
from services.auth.classic_servicer import ClassicServicer
from services.auth.ended import EndedLogins
from services.auth.guard import Guard, GuardLimits
from services.auth.identity import Identity, Stores
from services.auth.issuer import TokenIssuer
from services.auth.keys import KeyRing
from services.auth.passwords import Passwords
from services.auth.rotation import Rotation, Schedule
from services.auth.self_service import SelfService
from services.auth.servicer import AuthServicer
from services.auth.stores.accounts import AccountStore, DeviceStore
from services.auth.stores.api_keys import ApiKeyStore
from services.auth.stores.logins import LoginStore
from services.auth.stores.players import PlayerStore
from services.auth.stores.renames import RenameStore
from services.auth.stores.signing_keys import SigningKeyStore


@asynccontextmanager
async def app(host: Host) -> AsyncIterator[App]:
    """Needs PostgreSQL for everything, Redis to end logins and count failures, `catalog` for logins to a game."""
    settings, clock = host.settings, host.clock
    await asyncio.to_thread(usernames.load)
    database = await host.postgres("auth")
    signing_keys = SigningKeyStore(database, host.sealer)
    ring = KeyRing(await signing_keys.load_or_create(host.new_id(), clock.now()), clock)
    stores = Stores(
        database,
        AccountStore(database),
        DeviceStore(database),
        LoginStore(database),
        ApiKeyStore(database),
        PlayerStore(),
        RenameStore(database),
    )
    longest_token = max(settings.access_token_seconds, settings.session_token_seconds)
    ended = EndedLogins(stores.logins, stores.renames, database, host.redis, clock, longest_token)
    audit = Audit(database, clock, host.new_id)
    schedule = Schedule(
        period=timedelta(days=settings.signing_key_days),
        lead=timedelta(seconds=settings.signing_key_lead_seconds),
        token_life=timedelta(seconds=longest_token),
    )
    host.spawn(ended.run(), name="ended logins")
    host.spawn(Rotation(ring, signing_keys, audit, clock, host.new_id, schedule).run(), name="signing keys")
    relay = Relay(database, host.kafka, clock, tracing=host.tracing, news=host.topic_news)
    host.spawn(relay.run(), name="identity relay")
    host.spawn(watch_outbox(database, host.metrics), name="auth outbox lag")

    async def jwks() -> Mapping[str, Any]:
        return ring.jwks()

    with closing(Passwords(settings)) as passwords:
        identity = Identity(
            stores=stores,
            passwords=passwords,
            guard=Guard(host.redis, clock, _guard_limits(settings)),
            audit=audit,
            issuer=TokenIssuer(
                keys=ring,
                clock=clock,
                new_id=host.new_id,
                access_seconds=settings.access_token_seconds,
                refresh_life=timedelta(days=settings.refresh_token_days),
            ),
            verifier=TokenVerifier(ring, clock),
            revocations=host.revocations,
            ended=ended,
            games=GameDirectory(host.channel("catalog"), clock),
            settings=settings,
            clock=clock,
            new_id=host.new_id,
        )
        holders = [
            ("games", "catalog", host.channel("catalog")),
            ("matches", "scoring", host.channel("scoring")),
            ("scores", "leaderboards", host.channel("scoring")),
        ]
        self_service = SelfService(identity, host.channel("catalog"), holders)
        servicers = {
            auth_pb2.DESCRIPTOR.services_by_name["AuthService"]: AuthServicer(identity, self_service, host.sealer),
            account_pb2.DESCRIPTOR.services_by_name["AccountService"]: AccountServicer(self_service),
            classic_pb2.DESCRIPTOR.services_by_name["ClassicService"]: ClassicServicer(identity),
        }
        yield App(
            name="auth",
            bindings=[Binding(service, servicer) for service, servicer in servicers.items()],
            checks={"postgres": database.check, "redis": host.check_redis},
            documents={"/.well-known/jwks.json": jwks},
        )


def _guard_limits(settings: Settings) -> GuardLimits:
    return GuardLimits(
        account_failures=settings.login_failures,
        address_failures=settings.login_failures_per_address,
        first_wait=settings.login_wait_seconds,
        longest_wait=settings.login_longest_wait_seconds,
        per_minute=settings.secret_calls_per_minute,
        spare_loopback=settings.login_limits_spare_loopback,
        development=settings.environment is Environment.DEVELOPMENT,
    )
