"""What Envoy lets through, and what it does not: the whole platform, from outside."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2

from oofgg.v1 import access_pb2, auth_pb2, auth_pb2_grpc, game_pb2
from pkg.embedded import Platform
from pkg.errors import Reason
from pkg.internal.v1 import catalog_pb2
from pkg.rpc.status import from_rpc_error
from tests.e2e.callers import METHODS, PASSWORD, SERVICES, Cast, bearer, call, make_cast, outcome, register

METHODS_BY_NAME = {method.name: method for method in METHODS}
KINDS = {
    "nobody": None,
    "console": access_pb2.ACCESS_PLAYER,
    "player": access_pb2.ACCESS_PLAYER,
    "developer": access_pb2.ACCESS_DEVELOPER,
    "api_key": access_pb2.ACCESS_DEVELOPER,
}


# What a key, which is no person, is refused although it names nothing that could be wrong.
FOR_PERSONS = ("ExportAccount", "GetAccount", "ListLogins", "Logout", "RevokeAllLogins")


async def code_of(awaitable: Any) -> tuple[grpc.StatusCode, Reason | None]:
    code, error = await outcome(awaitable)
    return code, error.reason if error else None


@pytest.fixture
async def cast(channel: grpc.aio.Channel) -> Cast:
    return await make_cast(channel)


async def test_every_rpc_with_every_kind_of_caller(channel: grpc.aio.Channel, cast: Cast) -> None:
    wrong = []
    for method in METHODS:
        declared = set(method.GetOptions().Extensions[access_pb2.access])
        public = access_pb2.ACCESS_PUBLIC in declared
        for kind, access in KINDS.items():
            if method.name in ("Logout", "RevokeAllLogins") and kind != "api_key":
                continue  # it would end the login that the next calls need
            metadata = () if kind == "nobody" else getattr(cast, kind)
            code, reason = await code_of(call(channel, method, metadata))
            if kind == "nobody" and not public:
                fine = code is grpc.StatusCode.UNAUTHENTICATED
            elif kind == "api_key" and method.name in FOR_PERSONS:
                fine = reason is Reason.ACCESS_DENIED  # a key is no person
            elif public or access in declared:
                fine = code not in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE) and (
                    reason is not Reason.ACCESS_DENIED
                )
            else:
                fine = (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, Reason.ACCESS_DENIED)
            if not fine:
                wrong.append(f"{method.full_name} by {kind}: {code.name} {reason}")
    assert wrong == []


async def test_internal_methods_are_not_there(channel: grpc.aio.Channel, cast: Cast) -> None:
    for method in catalog_pb2.DESCRIPTOR.services_by_name["GameDirectoryService"].methods:
        for metadata in ((), cast.developer):
            assert (await code_of(call(channel, method, metadata)))[0] is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", ["/oofgg.v1.AuthService/Nothing", "/grpc.health.v1.Health/Check", "/a/b"])
async def test_unlisted_paths_are_not_there(channel: grpc.aio.Channel, path: str) -> None:
    stub = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
    assert (await code_of(stub(b"", timeout=5)))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_identity_headers_of_a_client_have_no_effect(channel: grpc.aio.Channel, cast: Cast) -> None:
    auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
    mine = (await auth.GetAccount(auth_pb2.GetAccountRequest(), metadata=cast.player, timeout=5)).account
    spoofed = (
        ("x-user-id", "00000000-0000-7000-8000-000000000000"),
        ("x-user-role", "admin"),
        ("x-jwt-payload", base64.b64encode(b'{"sub": "admin", "role": "admin"}').decode()),
        ("x-envoy-external-address", "203.0.113.9"),
    )
    request = auth_pb2.GetAccountRequest()
    assert (await auth.GetAccount(request, metadata=(*cast.player, *spoofed), timeout=5)).account == mine
    assert (await code_of(auth.GetAccount(request, metadata=spoofed, timeout=5)))[0] is (
        grpc.StatusCode.UNAUTHENTICATED
    )
    create = call(
        channel, METHODS_BY_NAME["CreateGame"], (*cast.player, *spoofed), game_pb2.CreateGameRequest(name="x")
    )
    assert await code_of(create) == (grpc.StatusCode.PERMISSION_DENIED, Reason.ACCESS_DENIED)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_exactly_the_public_services(channel: grpc.aio.Channel, version: str) -> None:
    stream: Any = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(timeout=10)
    await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = {service.name for service in (await stream.read()).list_services_response.service}
    assert listed == {service.full_name for service in SERVICES}
    for symbol in [*sorted(listed), "google.rpc.ErrorInfo"]:  # the last is in the details of errors
        await stream.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
        assert (await stream.read()).file_descriptor_response.file_descriptor_proto
    await stream.write(
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="pkg.internal.v1.GameDirectoryService")
    )
    assert (await stream.read()).HasField("error_response")
    await stream.done_writing()


async def test_json_registers_logs_in_and_reads_the_account(envoy: str) -> None:
    account = {"username": "json-user", "email": "json@example.org", "password": PASSWORD}
    async with aiohttp.ClientSession(f"http://{envoy}") as session:
        async with session.post("/v1/auth/register", json=account) as response:
            assert response.status == 200
            registered = await response.json()
        login = {"username": account["username"], "password": PASSWORD}
        async with session.post("/v1/auth/login", json=login) as response:
            assert response.status == 200
            token = (await response.json())["access_token"]
        async with session.get("/v1/auth/account", headers={"authorization": f"Bearer {token}"}) as response:
            assert response.status == 200
            assert (await response.json())["account"]["user_id"] == registered["user_id"]
        async with session.get("/v1/auth/account") as response:
            assert response.status == 401
        async with session.post("/v1/auth/login", json={**login, "password": "wrong"}) as response:
            assert response.status == 401
            document = await response.json()
            assert document["details"][0]["reason"] == "BAD_CREDENTIALS"
        async with session.post("/v1/auth/login", json={"username": "", "password": ""}) as response:
            assert response.status == 400
        async with session.post("/v1/auth/login", data=b"{", headers={"content-type": "application/json"}) as response:
            assert response.status == 400
        async with session.get("/v1/auth/login") as response:
            assert response.status in (404, 405)


async def test_grpc_web_calls_work(envoy: str, channel: grpc.aio.Channel) -> None:
    registered = await register(channel, "web")
    message = auth_pb2.ValidateTokenRequest(access_token=registered.access_token).SerializeToString()
    headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://{envoy}/oofgg.v1.AuthService/ValidateToken",
            data=struct.pack(">BI", 0, len(message)) + message,
            headers=headers,
        ) as response,
    ):
        body = await response.read()
    kind, length = struct.unpack(">BI", body[:5])
    assert (response.status, kind) == (200, 0)
    answer = auth_pb2.ValidateTokenResponse.FromString(body[5 : 5 + length])
    assert answer.is_valid
    assert answer.user_id == registered.user_id
    assert b"grpc-status:0" in body[5 + length :]


@pytest.mark.parametrize("path", ["/oofgg.v1.SessionService/Send", "/v1/auth/login"])
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", True),
        ("http://127.0.0.1:5173", True),
        ("http://[::1]:8000", True),
        ("https://localhost", True),
        ("https://evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://localhost:3000.evil.example", False),
        ("null", False),
    ],
)
async def test_in_development_pages_of_this_machine_may_call_and_no_others(
    envoy: str, path: str, origin: str, allowed: bool
) -> None:
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-grpc-web",
    }
    async with aiohttp.ClientSession() as session, session.options(f"http://{envoy}{path}", headers=asked) as response:
        assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)


async def test_errors_name_the_request_id_the_client_chose(channel: grpc.aio.Channel) -> None:
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Login(
            auth_pb2.LoginRequest(username="nobody", password="wrong"),
            metadata=(("x-request-id", "my-request-0001"),),
            timeout=5,
        )
    assert from_rpc_error(caught.value).metadata["request_id"] == "my-request-0001"


async def test_a_logged_out_token_stops_working_within_a_second(channel: grpc.aio.Channel) -> None:
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    metadata = bearer((await register(channel, "leaver")).access_token)
    await stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=metadata, timeout=5)
    await stub.Logout(auth_pb2.LogoutRequest(), metadata=metadata, timeout=5)
    async with asyncio.timeout(1.0):
        while (await code_of(stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=metadata, timeout=5)))[1] is not (
            Reason.TOKEN_REVOKED
        ):
            await asyncio.sleep(0.02)


async def test_the_state_file_tells_where_everything_is_and_no_secret_in_the_open(platform: Platform) -> None:
    state = json.loads((platform.data_dir / "state.json").read_text())
    assert state["endpoints"]["envoy"] == platform.endpoints.envoy
    assert (platform.data_dir / "state.json").stat().st_mode & 0o077 == 0
