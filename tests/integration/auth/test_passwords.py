"""Passwords: stored by today's parameters, changed at once, and never an old one again."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from passlib.context import CryptContext

from oofgg.v1 import account_pb2 as pb
from oofgg.v1 import account_pb2_grpc, auth_pb2, auth_pb2_grpc
from pkg.errors import Reason, Unauthenticated
from tests.integration.auth.stage import SOMEWHERE, IdentityStage, identity_stage
from tests.integration.calls import PASSWORD, bearer, reason_of, register
from tests.integration.conftest import RunningServices, StartServices

NEW = "another passphrase 77"


async def stored_hash(running: RunningServices, user_id: str) -> str:
    connection = await asyncpg.connect(running.settings.postgres_url, timeout=20)
    try:
        value: str = await connection.fetchval("select password_hash from auth.account where user_id = $1", user_id)
        return value
    finally:
        await connection.close()


async def login(auth: Any, name: str, password: str = PASSWORD) -> auth_pb2.LoginResponse:
    answer: auth_pb2.LoginResponse = await auth.Login(
        auth_pb2.LoginRequest(username=name, password=password), timeout=20
    )
    return answer


async def test_a_login_renews_a_hash_of_other_parameters(start_services: StartServices) -> None:
    weak = await start_services(["auth", "catalog"], argon2_memory_kib=64, argon2_time=1)
    user_id = (await register(auth_pb2_grpc.AuthServiceStub(weak.channel), "ada")).user_id
    before = await stored_hash(weak, user_id)
    assert "$argon2id$v=19$m=64,t=1,p=1$" in before
    await weak.end()

    strong = await start_services(["auth", "catalog"], argon2_memory_kib=128, argon2_time=3)
    auth = auth_pb2_grpc.AuthServiceStub(strong.channel)
    assert await reason_of(login(auth, "ada", "wrong")) is Reason.BAD_CREDENTIALS
    assert await stored_hash(strong, user_id) == before, "only who knows the password can renew it"
    # Several at once, no more than may fail: each is let in, whichever of them renews it.
    logins = await asyncio.gather(*(login(auth, "ada") for _ in range(4)))
    assert {answer.user_id for answer in logins} == {user_id}
    after = await stored_hash(strong, user_id)
    assert "$argon2id$v=19$m=128,t=3,p=1$" in after
    await login(auth, "ada")
    assert await stored_hash(strong, user_id) == after, "once is enough"


async def test_a_changed_password_is_the_only_one(start_services: StartServices) -> None:
    running = await start_services(["auth", "catalog"])
    auth = auth_pb2_grpc.AuthServiceStub(running.channel)
    accounts: Any = account_pb2_grpc.AccountServiceStub(running.channel)
    me = bearer((await register(auth, "ada")).access_token)
    change = pb.ChangePasswordRequest(old_password=PASSWORD, new_password=NEW)
    for bad, reason in (
        (pb.ChangePasswordRequest(old_password="wrong", new_password=NEW), Reason.BAD_CREDENTIALS),
        (pb.ChangePasswordRequest(old_password=PASSWORD, new_password="password1"), Reason.INVALID_FIELD),
        (pb.ChangePasswordRequest(old_password=PASSWORD, new_password="short"), Reason.INVALID_FIELD),
    ):
        assert await reason_of(accounts.ChangePassword(bad, metadata=me, timeout=20)) is reason
    await accounts.ChangePassword(change, metadata=me, timeout=20)
    assert await reason_of(login(auth, "ada")) is Reason.BAD_CREDENTIALS
    assert (await login(auth, "ada", NEW)).user_id
    await auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=me, timeout=10)
    assert await reason_of(accounts.ChangePassword(change, metadata=me, timeout=20)) is Reason.BAD_CREDENTIALS


@pytest.mark.parametrize("what", ["changed", "deleted"])
async def test_a_login_that_was_verified_before_the_change_does_not_outlive_it(
    postgres_url: str, redis_url: str, what: str
) -> None:
    """Verifying takes a while; all logins may be ended meanwhile, and this one is not among them yet."""
    async with identity_stage(postgres_url, redis_url) as stage:
        owner = await stage.register("ada", PASSWORD)
        verified = await stage.identity.verify_login("ada", PASSWORD, SOMEWHERE)
        if what == "changed":
            await stage.self_service.change_password(owner.caller, PASSWORD, NEW, SOMEWHERE)
        else:
            no_call: Any = None  # asked only for whoever may own games
            await stage.self_service.delete(owner.caller, "ada", PASSWORD, no_call, SOMEWHERE)
        with pytest.raises(Unauthenticated) as caught:
            await stage.identity.login(verified, None, SOMEWHERE)
        assert caught.value.reason is Reason.BAD_CREDENTIALS


async def test_a_role_that_was_taken_meanwhile_is_not_in_the_token(
    stage: IdentityStage,
) -> None:
    owner = await stage.register("ada", PASSWORD)
    async with stage.database.acquire() as connection:
        await connection.execute("update account set role = 'admin' where user_id = $1", owner.caller.user_id)
    verified = await stage.identity.verify_login("ada", PASSWORD, SOMEWHERE)
    async with stage.database.acquire() as connection:
        await connection.execute("update account set role = 'player' where user_id = $1", owner.caller.user_id)
    assert (await stage.identity.login(verified, None, SOMEWHERE)).caller.role == "player"


@pytest.fixture
async def stage(postgres_url: str, redis_url: str) -> Any:
    async with identity_stage(postgres_url, redis_url) as opened:
        yield opened


COMPOSED, DECOMPOSED = "gr\u00fc\u00dfe aus k\u00f6ln", "gru\u0308\u00dfe aus ko\u0308ln"


@pytest.mark.parametrize(("first", "later"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)], ids=["as one", "as two"])
async def test_a_password_is_the_same_however_its_accents_are_typed(
    stage: IdentityStage, first: str, later: str
) -> None:
    owner = await stage.register("ada", first)
    verified = await stage.identity.verify_login("ada", later, SOMEWHERE)
    assert verified.account.user_id == owner.caller.user_id
    with pytest.raises(Unauthenticated):
        await stage.identity.verify_login("ada", "gruße aus koln", SOMEWHERE)


async def test_a_hash_from_before_passwords_were_composed_still_works_and_is_renewed(stage: IdentityStage) -> None:
    owner = await stage.register("ada", PASSWORD)
    old = CryptContext(schemes=["argon2"], argon2__memory_cost=64, argon2__rounds=1).hash(DECOMPOSED)
    async with stage.database.acquire() as connection:
        await connection.execute("update account set password_hash = $1 where user_id = $2", old, owner.caller.user_id)
    with pytest.raises(Unauthenticated):
        await stage.identity.verify_login("ada", COMPOSED, SOMEWHERE)
    await stage.identity.login(await stage.identity.verify_login("ada", DECOMPOSED, SOMEWHERE), None, SOMEWHERE)
    await stage.identity.verify_login("ada", COMPOSED, SOMEWHERE)
