"""Accounts: guests that become full ones, what their owners change, take away, take along, and delete."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import pytest

from oofgg.v1 import account_pb2 as pb
from oofgg.v1 import (
    account_pb2_grpc,
    auth_pb2,
    auth_pb2_grpc,
    history_pb2,
    history_pb2_grpc,
    leaderboard_pb2,
    leaderboard_pb2_grpc,
)
from pkg.errors import Reason
from tests.integration.calls import PASSWORD, bearer, eventually, reason_of, register
from tests.integration.conftest import RunningServices, StartServices
from tests.integration.game.players import Arena

Metadata = tuple[tuple[str, str], ...]
ALL = ["auth", "catalog", "game", "scoring"]
NEW = "another passphrase 77"


def new_device() -> str:
    return os.urandom(16).hex()


@dataclass(frozen=True, slots=True)
class Door:
    """The RPCs of `auth`."""

    auth: Any
    accounts: Any

    async def guest(self, device: str, **fields: Any) -> auth_pb2.LoginGuestResponse:
        request = auth_pb2.LoginGuestRequest(device_id=device, **fields)
        answer: auth_pb2.LoginGuestResponse = await self.auth.LoginGuest(request, timeout=10)
        return answer

    async def login(self, name: str, password: str = PASSWORD, **fields: str) -> auth_pb2.LoginResponse:
        request = auth_pb2.LoginRequest(username=name, password=password, **fields)
        answer: auth_pb2.LoginResponse = await self.auth.Login(request, timeout=10)
        return answer

    async def account(self, me: Metadata) -> auth_pb2.Account:
        answer = await self.auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=me, timeout=10)
        account: auth_pb2.Account = answer.account
        return account

    async def link(self, me: Metadata, username: str, email: str = "", password: str = PASSWORD) -> auth_pb2.Account:
        request = pb.LinkPasswordRequest(username=username, email=email or f"{username}@example.org", password=password)
        account: auth_pb2.Account = (await self.accounts.LinkPassword(request, metadata=me, timeout=10)).account
        return account

    async def update(self, me: Metadata, *paths: str, request_id: str = "", **fields: Any) -> auth_pb2.Account:
        request = pb.UpdateAccountRequest(account=auth_pb2.Account(**fields), request_id=request_id)
        request.update_mask.paths.extend(paths)
        account: auth_pb2.Account = (await self.accounts.UpdateAccount(request, metadata=me, timeout=20)).account
        return account

    async def export(self, me: Metadata) -> dict[str, Any]:
        chunks = [
            response.chunk
            async for response in self.accounts.ExportAccount(pb.ExportAccountRequest(), metadata=me, timeout=20)
        ]
        document: dict[str, Any] = json.loads(b"".join(chunks))
        return document

    async def delete(self, me: Metadata, username: str, password: str = PASSWORD) -> None:
        request = pb.DeleteAccountRequest(username=username, password=password)
        await self.accounts.DeleteAccount(request, metadata=me, timeout=20)


def door_of(running: RunningServices) -> Door:
    return Door(auth_pb2_grpc.AuthServiceStub(running.channel), account_pb2_grpc.AccountServiceStub(running.channel))


@pytest.fixture
async def running(start_services: StartServices) -> RunningServices:
    return await start_services(ALL)


@pytest.fixture
def door(running: RunningServices) -> Door:
    return door_of(running)


async def test_a_guest_is_the_same_on_the_same_device(door: Door) -> None:
    device = new_device()
    assert await reason_of(door.guest(device, existing_only=True)) is Reason.ACCOUNT_NOT_FOUND
    first = await door.guest(device)
    assert first.created
    assert first.username.startswith("guest-")
    again = await door.guest(device, existing_only=True)
    assert not again.created
    assert (again.user_id, again.username) == (first.user_id, first.username)
    assert (await door.guest(new_device())).user_id != first.user_id
    account = await door.account(bearer(first.access_token))
    assert (account.has_password, account.device_count, account.email) == (False, 1, "")
    assert await reason_of(door.login(first.username)) is Reason.BAD_CREDENTIALS


async def test_one_device_at_once_is_one_guest(door: Door) -> None:
    device = new_device()
    answers = await asyncio.gather(*(door.guest(device) for _ in range(8)))
    assert len({answer.user_id for answer in answers}) == 1
    assert [answer.created for answer in answers].count(True) == 1


async def test_a_guest_becomes_a_full_account_and_keeps_everything(door: Door) -> None:
    device = new_device()
    guest = await door.guest(device)
    me = bearer(guest.access_token)
    linked = await door.link(me, "Ada", "Ada@Example.org")
    assert (linked.user_id, linked.username, linked.has_password) == (guest.user_id, "Ada", True)
    assert (await door.account(me)).username == "Ada", "the guest's login goes on"
    for name in ("ada", "ADA", "ａｄａ", "ada@example.org", "ADA@EXAMPLE.ORG"):
        assert (await door.login(name)).user_id == guest.user_id, name
    assert (await door.guest(device)).user_id == guest.user_id
    assert await reason_of(door.link(me, "ada2")) is Reason.PASSWORD_SET


async def test_names_that_are_taken_cannot_be_linked(door: Door) -> None:
    await register(door.auth, "taken")
    me = bearer((await door.guest(new_device())).access_token)
    assert await reason_of(door.link(me, "TAKEN", "free@example.org")) is Reason.USERNAME_TAKEN
    assert await reason_of(door.link(me, "free", "Taken@example.org")) is Reason.EMAIL_TAKEN
    assert await reason_of(door.link(me, "admin")) is Reason.INVALID_FIELD
    assert await reason_of(door.link(me, "free", password="password1")) is Reason.INVALID_FIELD
    assert not (await door.account(me)).has_password


async def test_the_last_credential_stays(door: Door) -> None:
    device, other = new_device(), new_device()
    me = bearer((await door.guest(device)).access_token)
    unlink = pb.UnlinkDeviceRequest(device_id=device)
    assert await reason_of(door.accounts.UnlinkDevice(unlink, metadata=me, timeout=10)) is Reason.LAST_CREDENTIAL
    await door.accounts.LinkDevice(pb.LinkDeviceRequest(device_id=other), metadata=me, timeout=10)
    await door.accounts.UnlinkDevice(unlink, metadata=me, timeout=10)
    assert await reason_of(door.guest(device, existing_only=True)) is Reason.ACCOUNT_NOT_FOUND
    await door.link(me, "ada")
    await door.accounts.UnlinkDevice(pb.UnlinkDeviceRequest(device_id=other), metadata=me, timeout=10)
    take = pb.UnlinkPasswordRequest(password=PASSWORD)
    assert await reason_of(door.accounts.UnlinkPassword(take, metadata=me, timeout=10)) is Reason.LAST_CREDENTIAL
    await door.accounts.LinkDevice(pb.LinkDeviceRequest(device_id=device), metadata=me, timeout=10)
    wrong = pb.UnlinkPasswordRequest(password="wrong")
    assert await reason_of(door.accounts.UnlinkPassword(wrong, metadata=me, timeout=10)) is Reason.BAD_CREDENTIALS
    left = (await door.accounts.UnlinkPassword(take, metadata=me, timeout=10)).account
    assert (left.has_password, left.email, left.device_count) == (False, "", 1)
    assert await reason_of(door.login("ada")) is Reason.BAD_CREDENTIALS
    assert await reason_of(door.login("ada@example.org")) is Reason.BAD_CREDENTIALS
    await register(door.auth, "grace")  # the address is free again
    await door.link(me, "ada", "ada@example.org")


async def test_both_last_credentials_at_once(door: Door) -> None:
    device = new_device()
    me = bearer((await door.guest(device)).access_token)
    await door.link(me, "ada")
    calls = [
        door.accounts.UnlinkDevice(pb.UnlinkDeviceRequest(device_id=device), metadata=me, timeout=10),
        door.accounts.UnlinkPassword(pb.UnlinkPasswordRequest(password=PASSWORD), metadata=me, timeout=10),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, grpc.aio.AioRpcError) for result in results].count(True) == 1
    account = await door.account(me)
    assert account.has_password + account.device_count == 1


async def test_a_device_is_of_one_account(door: Door) -> None:
    device = new_device()
    await door.guest(device)
    me = bearer((await register(door.auth, "ada")).access_token)
    link = pb.LinkDeviceRequest(device_id=device)
    assert await reason_of(door.accounts.LinkDevice(link, metadata=me, timeout=10)) is Reason.DEVICE_TAKEN
    unlink = pb.UnlinkDeviceRequest(device_id=device)
    assert await reason_of(door.accounts.UnlinkDevice(unlink, metadata=me, timeout=10)) is Reason.ACCOUNT_NOT_FOUND
    for _ in range(10):
        mine = pb.LinkDeviceRequest(device_id=new_device())
        assert (await door.accounts.LinkDevice(mine, metadata=me, timeout=10)).account.device_count <= 10
    more = pb.LinkDeviceRequest(device_id=new_device())
    assert await reason_of(door.accounts.LinkDevice(more, metadata=me, timeout=10)) is Reason.QUOTA_EXCEEDED


async def test_the_mask_says_what_changes(door: Door) -> None:
    me = bearer((await register(door.auth, "ada")).access_token)
    told = {"display_name": "Ada L.", "avatar_url": "https://example.org/a.png", "language": "en-GB"}
    changed = await door.update(me, *told, **told, username="ignored")
    assert {name: getattr(changed, name) for name in told} == told
    assert changed.username == "ada"
    changed = await door.update(me, "display_name", "username", username="Lovelace")
    assert (changed.display_name, changed.username, changed.language) == ("", "Lovelace", "en-GB")
    assert (await door.login("lovelace")).user_id == changed.user_id
    assert await reason_of(door.login("ada")) is Reason.BAD_CREDENTIALS
    await register(door.auth, "ada2")
    assert await reason_of(door.update(me, "username", username="ADA2")) is Reason.USERNAME_TAKEN
    assert await reason_of(door.update(me, "email", email="ada2@Example.org")) is Reason.EMAIL_TAKEN


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("role", None), ("user_id", "x"), ("nothing", None), ("username", "admin"), ("username", ""), ("email", "x"),
        ("avatar_url", "http://example.org/a.png"), ("avatar_url", "javascript:alert(1)"), ("language", "not a tag"),
        ("display_name", "two\nlines"),
    ],
)  # fmt: skip
async def test_what_cannot_be_changed_or_be_like_that(door: Door, path: str, value: str | None) -> None:
    me = bearer((await register(door.auth, "ada")).access_token)
    before = await door.account(me)
    fields = {path: value} if value is not None else {}
    assert await reason_of(door.update(me, path, **fields)) is Reason.INVALID_FIELD
    assert await door.account(me) == before


async def test_many_change_their_accounts_at_once(start_services: StartServices) -> None:
    """More than there are connections: a change that waits for a second one of them would wait for ever."""
    door = door_of(await start_services(["auth", "catalog"], postgres_pool_size=6))
    people = [bearer((await register(door.auth, f"ada-{number}")).access_token) for number in range(12)]
    names = await asyncio.gather(
        *(door.update(me, "display_name", display_name=f"Ada {n}", request_id=f"r{n}") for n, me in enumerate(people))
    )
    assert [account.display_name for account in names] == [f"Ada {number}" for number in range(12)]


async def test_an_export_is_all_there_is_and_no_secret(running: RunningServices, door: Door) -> None:
    arena = await Arena.build(running)
    ada, bob, session_id = await arena.duel(min_seats=2, max_seats=2)
    device = new_device()
    await door.accounts.LinkDevice(pb.LinkDeviceRequest(device_id=device), metadata=ada, timeout=10)
    await arena.finish(ada, session_id, 1, 2)
    await arena.finish(bob, session_id, 1, 2)

    async def has_match() -> bool:
        return bool((await door.export(ada))["matches"])

    await eventually(has_match, within=30)
    account = await door.account(ada)
    document = await door.export(ada)
    assert document["account"]["user_id"] == account.user_id
    assert document["account"]["email"] == account.email
    assert len(document["account"]["devices"]) == 1
    assert [login["game_id"] for login in document["logins"]] == [arena.game.game_id]
    (match,) = document["matches"]
    assert (match["match_id"], match["placement"], match["username"]) == (session_id, 1, account.username)
    text = json.dumps(document)
    for secret in (device, PASSWORD, "argon2", ada[0][1]):
        assert secret not in text
    other = await door.account(bob)
    assert other.user_id not in text, "nothing of others"
    studio = await door.export(arena.console)
    assert [game["game_id"] for game in studio["games"]] == [arena.game.game_id]


async def test_a_deleted_account_is_forgotten_everywhere(running: RunningServices, door: Door) -> None:
    arena = await Arena.build(running)
    history: Any = history_pb2_grpc.HistoryServiceStub(running.channel)
    boards: Any = leaderboard_pb2_grpc.LeaderboardServiceStub(running.channel)
    ada, bob, session_id = await arena.duel(min_seats=2, max_seats=2)
    await arena.finish(ada, session_id, 1, 2)
    await arena.finish(bob, session_id, 1, 2)
    account = await door.account(ada)
    standings = leaderboard_pb2.GetLeaderboardRequest(game_id=arena.game.game_id)

    async def entries() -> list[str]:
        return [entry.username for entry in (await boards.GetLeaderboard(standings, metadata=bob, timeout=10)).entries]

    async def both_stand() -> bool:
        return len(await entries()) == 2

    await eventually(both_stand, within=30)
    assert await reason_of(door.delete(ada, "somebody")) is Reason.INVALID_FIELD
    assert await reason_of(door.delete(ada, account.username, "wrong")) is Reason.BAD_CREDENTIALS
    await door.delete(ada, account.username)

    async def gone() -> bool:
        return account.username not in await entries()

    await eventually(gone, within=30)
    request = history_pb2.GetMatchRequest(match_id=session_id)
    participants = (await history.GetMatch(request, metadata=bob, timeout=10)).match.participants
    (nameless,) = [each for each in participants if each.username == "deleted player"]
    assert account.user_id not in str(participants)
    assert nameless.placement == 1

    async def refused() -> bool:
        return await reason_of(door.account(ada)) is Reason.TOKEN_REVOKED

    await eventually(refused, within=10)
    assert await reason_of(door.login(account.username)) is Reason.BAD_CREDENTIALS
    again = await register(door.auth, account.username)
    assert again.user_id != account.user_id, "the name is free, the id is not"


async def test_a_guest_deletes_by_name_alone_and_starts_anew(door: Door) -> None:
    device = new_device()
    guest = await door.guest(device)
    await door.delete(bearer(guest.access_token), guest.username, "")
    again = await door.guest(device)
    assert again.created
    assert again.user_id != guest.user_id


async def test_nothing_of_a_deleted_account_is_left_in_the_tables(running: RunningServices, door: Door) -> None:
    name = "forgotten"
    request = auth_pb2.RegisterRequest(
        username=name, email=f"{name}@example.org", password=PASSWORD, request_id="the-first"
    )
    registered = await door.auth.Register(request, timeout=10)
    me = bearer(registered.access_token)
    await door.update(me, "display_name", display_name="Forgotten F.", request_id="the-second")
    await door.delete(me, name)
    connection = await asyncpg.connect(running.settings.postgres_url, timeout=20)
    try:
        tables = await connection.fetch("select tablename from pg_tables where schemaname = 'auth'")
        left = {}
        for (table,) in tables:
            rows = await connection.fetch(f'select to_jsonb(t)::text as row from auth."{table}" t')
            texts = [row["row"] for row in rows if registered.user_id in row["row"] or name in row["row"].lower()]
            if texts:
                left[table] = texts
        # That the id was used, what everybody has to hear, and what ends its tokens.
        assert set(left) <= {"deleted_account", "outbox", "revocation"}, left
    finally:
        await connection.close()
    assert (await register(door.auth, name, request_id="the-first")).user_id != registered.user_id


async def test_an_owner_of_games_deletes_them_first(running: RunningServices, door: Door) -> None:
    arena = await Arena.build(running)
    account = await door.account(arena.console)
    assert await reason_of(door.delete(arena.console, account.username)) is Reason.ACCOUNT_OWNS_GAMES
    assert (await door.account(arena.console)).user_id == account.user_id
