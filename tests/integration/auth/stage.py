"""The rules of identity over real PostgreSQL and Redis, without a server, and with a clock that can be set."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pkg.auth.caller import Caller
from pkg.auth.revocations import Revocations
from pkg.auth.sealing import Sealer
from pkg.auth.tokens import ServiceTokens, TokenVerifier
from pkg.cache.client import open_redis
from pkg.config import Environment, Settings
from pkg.db.database import Database, open_database
from pkg.games import GameDirectory
from pkg.ids import new_id
from pkg.rpc.channel import ServiceChannel
from services.auth.accounts import Origin
from services.auth.audit import Audit
from services.auth.ended import EndedLogins
from services.auth.guard import Guard, GuardLimits
from services.auth.identity import Identity, Stores, Tokens
from services.auth.issuer import TokenIssuer
from services.auth.keys import KeyRing
from services.auth.passwords import Passwords
from services.auth.self_service import SelfService
from services.auth.stores.accounts import AccountStore, DeviceStore
from services.auth.stores.api_keys import ApiKeyStore
from services.auth.stores.logins import LoginStore
from services.auth.stores.players import PlayerStore
from services.auth.stores.renames import RenameStore
from services.auth.stores.signing_keys import SigningKeyStore

SOMEWHERE = Origin("192.0.2.7", "test/1")
ACCESS_SECONDS = 60
REFRESH_LIFE = timedelta(minutes=10)
NOWHERE = "127.0.0.1:9"
MASTER_KEY = base64.b64encode(b"k" * 32).decode()
_MOST_FAILURES = 1_000_000


class SetClock:
    """A clock that stands still until it is turned.

    It begins in the past: the library that reads tokens compares when they were issued with the machine's clock.
    """

    def __init__(self, *, days_ago: float = 20.0) -> None:
        self._now = datetime.now(UTC) - timedelta(days=days_ago)
        self._turned = 0.0

    def turn(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._turned += seconds

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._turned


@dataclass(frozen=True, slots=True)
class IdentityStage:
    """The rules and what they rule over."""

    identity: Identity
    self_service: SelfService
    clock: SetClock
    database: Database
    revocations: Revocations

    async def register(self, name: str, password: str) -> Tokens:
        account, password_hash = await self.identity.new_account(name, f"{name}@example.org", password)
        async with self.database.transaction() as connection:
            return await self.identity.register(connection, account, password_hash, None, SOMEWHERE)

    async def login(self, name: str, password: str) -> Tokens:
        verified = await self.identity.verify_login(name, password, SOMEWHERE)
        return await self.identity.login(verified, None, SOMEWHERE)

    async def caller(self, access_token: str) -> Caller | None:
        """Whom a call with this token would be served for."""
        verified = await self.identity.validate(access_token)
        return verified.caller if verified else None


def settings_of(postgres_url: str, redis_url: str, **changed: object) -> Settings:
    values: dict[str, object] = {
        "environment": Environment.DEVELOPMENT,
        "postgres_url": postgres_url,
        "redis_url": redis_url,
        "kafka_bootstrap": NOWHERE,
        "master_key": MASTER_KEY,
        "service_secret": "s" * 32,
        "argon2_memory_kib": 64,
        "argon2_time": 1,
        **changed,
    }
    return Settings(**values)  # type: ignore[arg-type]


@asynccontextmanager
async def identity_stage(postgres_url: str, redis_url: str) -> AsyncIterator[IdentityStage]:
    """Ended logins are published and followed in the background, as in a process of ours."""
    settings, clock = settings_of(postgres_url, redis_url), SetClock()
    async with open_database(postgres_url, "auth", size=4) as database, open_redis(redis_url) as client:
        keys = SigningKeyStore(database, Sealer(MASTER_KEY))
        ring = KeyRing(await keys.load_or_create(new_id(), clock.now()), clock)
        stores = Stores(
            database, AccountStore(database), DeviceStore(database), LoginStore(database), ApiKeyStore(database),
            PlayerStore(), RenameStore(database),
        )  # fmt: skip
        revocations = Revocations(client)
        ended = EndedLogins(stores.logins, stores.renames, database, client, clock, 86_400)
        catalog = ServiceChannel(NOWHERE, ServiceTokens("s" * 32, "auth", clock))
        with closing(Passwords(settings)) as passwords:
            identity = Identity(
                stores=stores,
                passwords=passwords,
                guard=Guard(client, clock, GuardLimits(_MOST_FAILURES, _MOST_FAILURES)),
                audit=Audit(database, clock, new_id),
                issuer=TokenIssuer(
                    keys=ring, clock=clock, new_id=new_id, access_seconds=ACCESS_SECONDS, refresh_life=REFRESH_LIFE
                ),
                verifier=TokenVerifier(ring, clock),
                revocations=revocations,
                ended=ended,
                games=GameDirectory(catalog, clock),
                settings=settings,
                clock=clock,
                new_id=new_id,
            )
            background = [asyncio.create_task(ended.run()), asyncio.create_task(revocations.follow())]
            try:
                await revocations.settle(within=20)
                await revocations.check()
                yield IdentityStage(identity, SelfService(identity, catalog, ()), clock, database, revocations)
            finally:
                for task in background:
                    while not task.done():  # libraries swallow a cancellation that meets a timeout of theirs
                        task.cancel()
                        with suppress(asyncio.CancelledError, TimeoutError):
                            await asyncio.wait_for(asyncio.shield(task), 0.5)
                await catalog.close()
