"""Signing keys come and go on schedule, over real PostgreSQL, with a clock that is turned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from pkg.auth.caller import Caller, CallerRole
from pkg.auth.sealing import Sealer, UnsealError
from pkg.auth.tokens import TokenVerifier
from pkg.db.database import Database, open_database
from pkg.errors import Reason, Unauthenticated
from pkg.ids import new_id
from services.auth.audit import Audit
from services.auth.issuer import TokenIssuer
from services.auth.keys import KeyRing
from services.auth.rotation import Rotation, Schedule
from services.auth.stores.signing_keys import SigningKeyStore
from tests.integration.auth.stage import MASTER_KEY, SetClock

DAY = 86_400
TOKEN_LIFE = timedelta(hours=1)
SCHEDULE = Schedule(period=timedelta(days=1), lead=timedelta(minutes=10), token_life=TOKEN_LIFE)
ADA = Caller("u1", "ada", CallerRole.PLAYER, "", "s1")


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with open_database(postgres_url, "auth", size=6) as opened:
        yield opened


@dataclass
class Process:
    """A process of `auth`."""

    ring: KeyRing
    rotation: Rotation
    issuer: TokenIssuer

    @property
    def published(self) -> list[str]:
        return [key["kid"] for key in self.ring.jwks()["keys"]]


async def start(database: Database, clock: SetClock, master_key: str = MASTER_KEY) -> Process:
    store = SigningKeyStore(database, Sealer(master_key))
    ring = KeyRing(await store.load_or_create(new_id(), clock.now()), clock)
    rotation = Rotation(ring, store, Audit(database, clock, new_id), clock, new_id, SCHEDULE)
    issuer = TokenIssuer(ring, clock, new_id, int(TOKEN_LIFE.total_seconds()), timedelta(days=1))
    return Process(ring, rotation, issuer)


async def test_a_key_is_published_before_it_signs_and_until_its_last_token_has_expired(database: Database) -> None:
    clock = SetClock(days_ago=20)
    process = await start(database, clock)
    verifier = TokenVerifier(process.ring, clock)
    (first,) = process.published
    await process.rotation.look()
    assert process.published == [first], "nothing to do yet"

    clock.turn(DAY - 600)
    await process.rotation.look()
    _, second = process.published
    assert process.ring.current.key_id == first, "published, and not signing"
    clock.turn(599)
    last_of_the_first = process.issuer.access(ADA).text
    clock.turn(1)
    assert process.ring.current.key_id == second
    await process.rotation.look()
    assert process.published == [first, second]
    clock.turn(TOKEN_LIFE.total_seconds() - 2)
    await process.rotation.look()
    assert (await verifier.verify(last_of_the_first)).caller == ADA
    clock.turn(2)
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(last_of_the_first)
    assert caught.value.reason is Reason.TOKEN_EXPIRED
    clock.turn(6 * 60)
    await process.rotation.look()
    assert process.published == [second], "the first is of no use any more"


async def test_every_process_knows_a_key_before_it_signs_and_one_makes_it(database: Database) -> None:
    clock = SetClock(days_ago=20)
    processes = [await start(database, clock) for _ in range(4)]
    assert len({tuple(process.published) for process in processes}) == 1
    for _ in range(3):
        clock.turn(DAY)
        await asyncio.gather(*(process.rotation.look() for process in processes))
        await asyncio.gather(*(process.rotation.look() for process in processes))
        assert len({tuple(process.published) for process in processes}) == 1
        clock.turn(600)
        assert len({process.ring.current.key_id for process in processes}) == 1
    async with database.acquire() as connection:
        made = await connection.fetchval("select count(*) from outbox where topic = 'oofgg.audit'")
    assert made == 3, "one new key a day, told once"


async def test_a_process_that_slept_for_long_signs_with_what_there_is(database: Database) -> None:
    clock = SetClock(days_ago=20)
    process = await start(database, clock)
    clock.turn(10 * DAY)
    token = process.issuer.access(ADA).text
    await process.rotation.look()
    assert (await TokenVerifier(process.ring, clock).verify(token)).caller == ADA
    assert len(process.published) == 2


async def test_two_processes_that_begin_at_once_have_one_key(database: Database) -> None:
    clock = SetClock()
    processes = await asyncio.gather(*(start(database, clock) for _ in range(4)))
    assert len({tuple(process.published) for process in processes}) == 1


async def test_another_master_key_is_told_apart_at_start(database: Database) -> None:
    clock = SetClock()
    await start(database, clock)
    with pytest.raises(UnsealError, match="OOFGG_MASTER_KEY"):
        await start(database, clock, "b" * 43 + "=")
