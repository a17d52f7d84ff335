"""What is secret is nowhere but where it has to be: not in logs, metrics, traces, errors, events, nor in the stores."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import grpc
import redis.asyncio

from oofgg.v1 import account_pb2, account_pb2_grpc, auth_pb2, auth_pb2_grpc
from pkg.embedded import Platform
from pkg.events.topics import AUDIT
from tests.e2e.callers import Metadata, bearer, make_cast
from tests.integration.calls import eventually
from tests.security.audit import read_until
from tests.security.conftest import Collector
from tests.security.forge import signing_keys


@dataclass
class Spilled:
    """Secrets that went through the platform, and what it said when it refused them."""

    secrets: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    user_id: str = ""

    def new(self, what: str) -> str:
        self.secrets[what] = f"{what.replace(' ', '-')}-{os.urandom(12).hex()}"
        return self.secrets[what]

    def found_in(self, where: bytes) -> list[str]:
        return [what for what, secret in self.secrets.items() if secret.encode() in where]


async def spill(channel: grpc.aio.Channel, envoy: str) -> Spilled:
    """Every kind of secret, in its place and in places where it does not belong."""
    spilled = Spilled()
    auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
    accounts: Any = account_pb2_grpc.AccountServiceStub(channel)

    async def refused(call: Any) -> None:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            spilled.errors.append(f"{error.details()} {error.trailing_metadata()} {error.initial_metadata()}")

    password, device = spilled.new("password"), spilled.new("device id")
    name = f"secretive-{os.urandom(4).hex()}"
    request = auth_pb2.RegisterRequest(
        username=name, email=f"{name}@example.org", password=password, request_id=os.urandom(8).hex()
    )
    tokens = await auth.Register(request, timeout=10)
    spilled.user_id = tokens.user_id
    await auth.Register(request, timeout=10)
    spilled.secrets |= {"access token": tokens.access_token, "refresh token": tokens.refresh_token}
    spilled.secrets["signature"] = tokens.access_token.split(".")[2]
    me: Metadata = bearer(tokens.access_token)
    await accounts.LinkDevice(account_pb2.LinkDeviceRequest(device_id=device), metadata=me, timeout=10)
    guest = await auth.LoginGuest(auth_pb2.LoginGuestRequest(device_id=device), timeout=10)
    spilled.secrets["guest's refresh token"] = guest.refresh_token
    new = spilled.new("new password")
    change = account_pb2.ChangePasswordRequest(old_password=password, new_password=new)
    await accounts.ChangePassword(change, metadata=me, timeout=10)
    refreshed = await auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token), timeout=10)
    spilled.secrets["next refresh token"] = refreshed.refresh_token

    cast = await make_cast(channel)
    key = await auth.CreateApiKey(
        auth_pb2.CreateApiKeyRequest(game_id=cast.game_id, name="server", request_id=os.urandom(8).hex()),
        metadata=cast.developer,
        timeout=10,
    )
    spilled.secrets["API key"] = key.api_key
    exchanged = await auth.ExchangeApiKey(auth_pb2.ExchangeApiKeyRequest(api_key=key.api_key), timeout=10)
    spilled.secrets["key's token"] = exchanged.access_token

    # Wrong ones, and right ones in the wrong field.
    wrong, misplaced = spilled.new("wrong password"), spilled.new("password as a name")
    await refused(auth.Login(auth_pb2.LoginRequest(username=name, password=wrong), timeout=10))
    await refused(auth.Login(auth_pb2.LoginRequest(username=misplaced, password="x"), timeout=10))
    await refused(auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=key.api_key), timeout=10))
    await refused(auth.ExchangeApiKey(auth_pb2.ExchangeApiKeyRequest(api_key=refreshed.refresh_token), timeout=10))
    await refused(auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(key.api_key), timeout=10))
    await refused(auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=bearer(new), timeout=10))
    short = spilled.new("refused password")
    await refused(
        auth.Register(auth_pb2.RegisterRequest(username=name, email=f"2{name}@example.org", password=short), timeout=10)
    )
    await refused(auth.Register(auth_pb2.RegisterRequest(username="x", email="nobody", password=short * 8), timeout=10))
    again = auth_pb2.RegisterRequest()
    again.CopyFrom(request)
    again.password = short
    await refused(auth.Register(again, timeout=10))
    async with aiohttp.ClientSession(f"http://{envoy}") as session:
        body = f'{{"username": "{name}", "password": "{wrong}", '.encode()
        for path in ("/v1/auth/login", "/api/login"):
            for data in (body, body.replace(b", ", b"} ")):
                async with session.post(path, data=data, headers={"content-type": "application/json"}) as response:
                    spilled.errors.append(await response.text())
            told = {"username": name, "password": wrong}
            async with session.post(path, params=told, json={}) as response:
                spilled.errors.append(await response.text())
        async with session.get("/v1/auth/account", params={"access_token": tokens.access_token}) as response:
            spilled.errors.append(await response.text())
        async with session.get(f"/{spilled.user_id}", params={"x": new}) as response:
            spilled.errors.append(await response.text())
    assert len(spilled.errors) >= 15
    return spilled


def files(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            yield path.name, gzip.decompress(content) if path.suffix == ".gz" else content


async def test_secrets_stay_where_they_belong(
    platform: Platform, channel: grpc.aio.Channel, envoy: str, collector: Collector
) -> None:
    spilled = await spill(channel, envoy)
    assert spilled.found_in("".join(spilled.errors).encode()) == []

    mark = spilled.user_id.encode()
    records = await read_until(
        platform, AUDIT, lambda found: any(mark in record and b"bad credentials" in record for record in found)
    )
    assert spilled.found_in(b"".join(records)) == []

    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{platform.endpoints.services_ops}/metrics") as response,
    ):
        metrics = await response.read()
    assert b"AuthService/Login" in metrics
    assert spilled.found_in(metrics) == []

    async def traced() -> bool:
        return any(b"AuthService/ExchangeApiKey" in bytes_ for bytes_ in list(collector.received))

    await eventually(traced, within=40)
    assert spilled.found_in(b"".join(collector.received)) == []

    logs: dict[str, bytes] = {}

    async def logged() -> bool:
        """Envoy writes its log of calls every ten seconds."""
        logs.update(await asyncio.to_thread(lambda: dict(files(platform.data_dir / "logs"))))
        return any(b"/" + mark in content for content in logs.values())

    await eventually(logged, within=60)
    assert {name: found for name, content in logs.items() if (found := spilled.found_in(content))} == {}


async def test_secrets_are_not_readable_in_the_stores(
    platform: Platform, channel: grpc.aio.Channel, envoy: str
) -> None:
    spilled = await spill(channel, envoy)
    private = [key.to_der() for key in await signing_keys(platform)]
    connection = await asyncpg.connect(platform.endpoints.postgres_url, timeout=30)
    try:
        tables = await connection.fetch(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        )
        assert {"account", "refresh_token", "reply", "outbox"} <= {table["tablename"] for table in tables}
        leaks: dict[str, list[str]] = {}
        for table in tables:
            query = f'select to_jsonb(t)::text as row from "{table["schemaname"]}"."{table["tablename"]}" t'
            for row in await connection.fetch(query):
                text = row["row"]
                plain = text.encode() + b"".join(
                    bytes.fromhex(found) for found in re.findall(r'\\\\x((?:[0-9a-f]{2})+)"', text)
                )
                if found := spilled.found_in(plain):
                    leaks.setdefault(table["tablename"], []).extend(found)
                assert not any(key in plain for key in private), table
        assert leaks == {}
        hashes = await connection.fetch("select password_hash from auth.account where user_id = $1", spilled.user_id)
        assert [row["password_hash"].startswith("$argon2id$") for row in hashes] == [True]
    finally:
        await connection.close()

    client = redis.asyncio.Redis.from_url(platform.endpoints.redis_url, socket_timeout=20)
    try:
        async with asyncio.timeout(30):
            async for key in client.scan_iter(count=500):
                if await client.type(key) == b"none":
                    continue  # gone meanwhile
                dump = await client.dump(key)
                assert spilled.found_in(key + (dump or b"")) == [], key
    finally:
        await client.aclose()
