"""What Envoy lets through, and how it refuses: booted from the generated configuration, before a stand-in backend."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from envoy.render import DEFAULT_LIMITS, Environment, Limits, Rate, render
from envoy.routes import RateClass, Route, public_routes, read_descriptors
from oofgg.v1 import auth_pb2, errors_pb2
from pkg.embedded.binaries import ENVOY, find
from tests.integration.envoy.stage import LOGIN, VALIDATE, Backend, Door, Signer, backend, door, inputs

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCOUNT = "/oofgg.v1.AuthService/GetAccount"
CREATE_GAME = "/oofgg.v1.GameService/CreateGame"
PLAY = "/oofgg.v1.SessionService/Play"
ROUTES = public_routes(read_descriptors())
HOME = "https://play.example.com"


@dataclass(frozen=True)
class Stage:
    signer: Signer
    jwks_port: int
    backend: Backend
    door: Door


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    signer = Signer()
    async with AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(backend())
        jwks_port = await stack.enter_async_context(signer.serve())
        opened = await stack.enter_async_context(
            door(inputs(stand_in.port, jwks_port), tmp_path_factory.mktemp("door"))
        )
        yield Stage(signer, jwks_port, stand_in, opened)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def narrow(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    limits = {
        **DEFAULT_LIMITS,
        RateClass.CREDENTIAL: Limits(per_address=Rate(3, 1), per_user=None),
        RateClass.WRITE: Limits(per_address=Rate(100, 1), per_user=Rate(3, 1)),
    }
    chosen = inputs(stage.backend.port, stage.jwks_port, limits=limits)
    async with door(chosen, tmp_path_factory.mktemp("narrow")) as opened:
        yield opened


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and message of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    for trailers in (caught.value.trailing_metadata(), caught.value.initial_metadata()):
        for key, value in trailers or ():
            if key == "grpc-status-details-bin" and isinstance(value, bytes):
                return caught.value.code(), reason_in(value), caught.value.details() or ""
    return caught.value.code(), "", caught.value.details() or ""


def reason_in(details: bytes) -> str:
    status = errors_pb2.Status.FromString(details)
    for detail in status.details:
        if detail.type_url == "type.googleapis.com/google.rpc.ErrorInfo":
            return errors_pb2.ErrorInfo.FromString(detail.value).reason
    return ""


def frame(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


@pytest.mark.parametrize("environment", list(Environment))
async def test_the_configuration_is_valid(stage: Stage, environment: Environment, tmp_path: Path) -> None:
    chosen = inputs(1, 2, environment=environment, access_log=True)
    (tmp_path / "envoy.yaml").write_text(render(chosen))
    process = await asyncio.create_subprocess_exec(
        find(ENVOY, {}).path, "--mode", "validate", "-c", tmp_path / "envoy.yaml", "-l", "warning",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert "[warning]" not in output, "something deprecated or not stable is used"


@pytest.mark.parametrize("route", [route for route in ROUTES if not route.streaming], ids=lambda route: route.path)
async def test_every_rpc_lets_in_whom_its_option_names(stage: Stage, route: Route) -> None:
    if route.public:
        await stage.door.call(route.path)
    else:
        code, reason, _ = await refusal(stage.door.call(route.path))
        assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
        await stage.door.call(route.path, metadata=stage.signer.bearer())
    assert stage.backend.last.method == route.path


@pytest.mark.parametrize(
    "path",
    [
        "/oofgg.v1.AuthService/Nothing",
        "/pkg.internal.v1.CatalogService/GetGame",
        "/grpc.health.v1.Health/Check",
        "/oofgg.v1.SessionService/Play/",
        "/oofgg.v1.AuthService/",
    ],
)
async def test_what_is_not_public_is_unimplemented(stage: Stage, path: str) -> None:
    arrived = len(stage.backend.arrivals)
    code, reason, message = await refusal(stage.door.call(path, metadata=stage.signer.bearer()))
    assert (code, reason) == (grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert "offers no such call" in message
    assert len(stage.backend.arrivals) == arrived


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": int(time.time()) - 60}, "TOKEN_EXPIRED"),
        ({"exp": None}, "TOKEN_INVALID"),
        ({"aud": "another"}, "TOKEN_INVALID"),
        ({"aud": None}, "TOKEN_INVALID"),
        ({"iss": "another"}, "TOKEN_INVALID"),
    ],
    ids=["expired", "no expiry", "audience", "no audience", "issuer"],
)
async def test_a_bad_token_is_refused(stage: Stage, changed: dict[str, Any], reason: str) -> None:
    arrived = len(stage.backend.arrivals)
    code, told, _ = await refusal(stage.door.call(ACCOUNT, metadata=stage.signer.bearer(**changed)))
    assert (code, told) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert len(stage.backend.arrivals) == arrived


@pytest.mark.parametrize(
    "token", ["", "nonsense", "a.b.c", "of another key"], ids=["empty", "text", "dots", "other key"]
)
async def test_what_nobody_signed_is_refused(stage: Stage, token: str) -> None:
    if token == "of another key":
        token = Signer().token()  # now: it would be old
    code, reason, _ = await refusal(stage.door.call(ACCOUNT, metadata=(("authorization", f"Bearer {token}"),)))
    assert code == grpc.StatusCode.UNAUTHENTICATED
    assert reason in ("TOKEN_INVALID", "TOKEN_MISSING")


async def test_the_token_travels_on_and_identity_headers_do_not(stage: Stage) -> None:
    spoofed = ("x-oofgg-user", "x-user-id", "x-user-roles", "x-jwt-payload", "x-envoy-external-address")
    bearer = stage.signer.bearer()
    await stage.door.call(ACCOUNT, metadata=(*bearer, *((name, "admin") for name in spoofed)))
    headers = stage.backend.last.headers
    assert headers["authorization"] == bearer[0][1]
    assert not {name for name in spoofed if headers.get(name) == "admin"}


async def test_a_forwarded_address_is_not_believed(stage: Stage) -> None:
    await stage.door.call(VALIDATE, metadata=(("x-forwarded-for", "203.0.113.9"),))
    headers = stage.backend.last.headers
    assert headers["x-forwarded-for"].split(",")[-1] != "203.0.113.9"
    assert headers.get("x-envoy-external-address") != "203.0.113.9"


async def test_the_node_header_reaches_the_service(stage: Stage) -> None:
    path = "/oofgg.v1.SessionService/Send"
    await stage.door.call(path, metadata=(*stage.signer.bearer(), ("x-oofgg-node", "nowhere")))
    assert stage.backend.last.headers["x-oofgg-node"] == "nowhere"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("my-id.1", True), ("", False), ("x" * 65, False), ("a b", False), ('a"b', False), ("-a", False)],
)
async def test_a_request_id_is_kept_if_it_looks_like_one(stage: Stage, sent: str, kept: bool) -> None:
    method: Any = stage.door.channel.unary_unary(VALIDATE)
    call = method(b"", metadata=(("x-request-id", sent),), timeout=10)
    await call
    arrived = stage.backend.last.headers["x-request-id"]
    assert (arrived == sent) is kept
    assert len(arrived) == 36 or kept
    assert dict(await call.initial_metadata())["x-request-id"] == arrived


async def test_play_echoes_and_outlives_its_limits(stage: Stage) -> None:
    """A stream may carry more than the body limit of one call."""
    call: Any = stage.door.channel.stream_stream(PLAY)(metadata=stage.signer.bearer(), timeout=30)
    piece = b"x" * 65536
    for _ in range(20):
        await call.write(piece)
        assert await call.read() == piece
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    code, reason, _ = await refusal(_first(stage.door.channel.stream_stream(PLAY)(timeout=10)))
    assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")


async def _first(call: Any) -> Any:
    await call.done_writing()
    return await call.read()


async def test_a_body_that_is_too_large_is_refused(stage: Stage) -> None:
    await stage.door.call(CREATE_GAME, b"x" * 1_000_000, stage.signer.bearer())
    arrived = len(stage.backend.arrivals)
    code, reason, _ = await refusal(stage.door.call(CREATE_GAME, b"x" * 1_100_000, stage.signer.bearer()))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert len(stage.backend.arrivals) == arrived


async def test_reflection_is_there_in_development(stage: Stage) -> None:
    for version in ("v1", "v1alpha"):
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        call: Any = stage.door.channel.stream_stream(path)(timeout=10)
        await call.write(b"\x3a\x00")
        assert await call.read() == b"\x3a\x00"
        await call.done_writing()


async def test_production_has_no_reflection(stage: Stage, tmp_path: Path) -> None:
    chosen = inputs(stage.backend.port, stage.jwks_port, environment=Environment.PRODUCTION)
    async with door(chosen, tmp_path) as opened:
        for version in ("v1", "v1alpha"):
            path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            code, _, _ = await refusal(opened.call(path))
            assert code == grpc.StatusCode.UNIMPLEMENTED


class TestJson:
    async def test_login(self, stage: Stage) -> None:
        async with stage.door.http.post("/v1/auth/login", json={"username": "ada", "password": "secret"}) as response:
            assert response.status == 200
            assert await response.json() == {
                "user_id": "u1",
                "access_token": "t",
                "refresh_token": "",
                "expires_in": 900,
                "role": "ROLE_UNSPECIFIED",
            }
        assert stage.backend.last.method == LOGIN
        request = auth_pb2.LoginRequest.FromString(stage.backend.last.request)
        assert (request.username, request.password) == ("ada", "secret")

    @pytest.mark.parametrize("route", [route for route in ROUTES if route.json], ids=lambda route: route.method)
    async def test_every_json_path_has_the_policy_of_its_rpc(self, stage: Stage, route: Route) -> None:
        assert route.json is not None
        arrived = len(stage.backend.arrivals)
        body: dict[str, str] | None = None if route.json.method == "GET" else {}
        async with stage.door.http.request(route.json.method, route.json.path, json=body) as response:
            told = await response.json()
            assert response.status == (200 if route.public else 401)
        if route.public:
            assert stage.backend.last.method == route.path
            return
        assert told["code"] == 16
        assert told["details"][0]["reason"] == "TOKEN_MISSING"
        assert len(stage.backend.arrivals) == arrived
        headers = dict(stage.signer.bearer())
        async with stage.door.http.request(route.json.method, route.json.path, json=body, headers=headers) as response:
            assert response.status == 200
        assert stage.backend.last.method == route.path

    async def test_a_failed_call_tells_its_status(self, stage: Stage) -> None:
        stage.backend.failures[LOGIN] = grpc.StatusCode.INVALID_ARGUMENT
        try:
            async with stage.door.http.post("/v1/auth/login", json={}) as response:
                assert response.status == 400
                assert (await response.json())["code"] == 3
        finally:
            del stage.backend.failures[LOGIN]

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("GET", "/", "", 404),
            ("GET", "/v1/auth/login", "", 405),
            ("POST", "/v1/auth/nothing", "{}", 404),
            ("POST", "/v1/auth/login", "{not json", 400),
            ("POST", "/v1/auth/login", '{"username": []}', 400),
            ("POST", "/v1/auth/login?admin=1", "{}", 400),
            ("POST", "/v1/auth/login", '{"username": "' + "x" * 1_100_000 + '"}', 413),
            ("POST", LOGIN, "{}", 415),
            ("GET", LOGIN, "", 415),
        ],
        ids=["root", "verb", "path", "syntax", "type", "query", "size", "JSON to gRPC", "GET of gRPC"],
    )
    async def test_what_makes_no_sense_gets_json(
        self, stage: Stage, method: str, path: str, body: str, status: int
    ) -> None:
        headers = {"content-type": "application/json"}
        async with stage.door.http.request(method, path, data=BytesIO(body.encode()), headers=headers) as response:
            assert response.status == status
            assert response.content_type == "application/json"
            told = await response.json()
        assert told["code"] in (3, 12)
        info = told["details"][0]
        assert info["reason"] == ("INVALID_FIELD" if told["code"] == 3 else "UNIMPLEMENTED")
        assert info["metadata"]["request_id"] == response.headers["x-request-id"]


class TestBrowser:
    async def test_a_grpc_web_call(self, stage: Stage) -> None:
        message = auth_pb2.LoginRequest(username="ada").SerializeToString()
        headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "origin": HOME}
        async with stage.door.http.post(LOGIN, data=frame(message), headers=headers) as response:
            body = await response.read()
            assert response.status == 200
            assert response.headers["access-control-allow-origin"] == HOME
            assert "grpc-status-details-bin" in response.headers["access-control-expose-headers"]
        length = struct.unpack(">I", body[1:5])[0]
        assert auth_pb2.LoginResponse.FromString(body[5 : 5 + length]).user_id == "u1"
        assert b"grpc-status:0" in body[5 + length :]

    async def test_a_refused_grpc_web_call_tells_why(self, stage: Stage) -> None:
        headers = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "origin": HOME}
        async with stage.door.http.post(ACCOUNT, data=frame(b""), headers=headers) as response:
            body = await response.read()
            assert response.headers.get("grpc-status") == "16" or b"grpc-status:16" in body
            details = response.headers["grpc-status-details-bin"]
            assert reason_in(base64.b64decode(details + "=" * (-len(details) % 4))) == "TOKEN_MISSING"
            assert response.headers["access-control-allow-origin"] == HOME

    @pytest.mark.parametrize("path", [LOGIN, "/v1/auth/login", "/v1/auth/account"])
    async def test_preflights(self, stage: Stage, path: str) -> None:
        arrived = len(stage.backend.arrivals)
        asks = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-grpc-web"}
        async with stage.door.http.options(path, headers={"origin": HOME, **asks}) as response:
            assert response.status in (200, 204)
            assert response.headers["access-control-allow-origin"] == HOME
            assert "authorization" in response.headers["access-control-allow-headers"]
        async with stage.door.http.options(path, headers={"origin": "https://evil.example.com", **asks}) as response:
            assert "access-control-allow-origin" not in response.headers
        assert len(stage.backend.arrivals) == arrived


class TestLimits:
    async def test_per_address_over_grpc_and_json_together(self, stage: Stage, narrow: Door) -> None:
        await narrow.call(LOGIN)
        for _ in range(2):
            async with narrow.http.post("/v1/auth/login", json={}) as response:
                assert response.status == 200
        code, reason, message = await refusal(narrow.call(LOGIN))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert message.startswith(
            "Too many calls: one address may make 3 calls of the class CREDENTIAL at once, and 1 a minute. Wait 60 s"
        )
        assert "make up ARGS=--lift-limits" in message, "a platform for development"
        async with narrow.http.post("/v1/auth/login", json={}) as response:
            assert response.status == 429
            assert response.headers["retry-after"] == "60"
            told = await response.json()
        assert (told["code"], told["details"][0]["reason"]) == (8, "RATE_LIMITED")
        assert told["message"] == message
        assert told["details"][1]["retry_delay"] == "60.0s"
        await narrow.call(VALIDATE)

    async def test_per_account(self, stage: Stage, narrow: Door) -> None:
        for _ in range(3):
            await narrow.call(CREATE_GAME, metadata=stage.signer.bearer(sub="eve"))
        code, reason, message = await refusal(narrow.call(CREATE_GAME, metadata=stage.signer.bearer(sub="eve")))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert message.startswith("Too many calls: one account may make 3 calls of the class WRITE at once")
        await narrow.call(CREATE_GAME, metadata=stage.signer.bearer(sub="ada"))

    async def test_a_load_test_on_loopback_can_lift_them(self, stage: Stage, tmp_path: Path) -> None:
        limits = {rate_class: Limits(Rate(2, 1), Rate(2, 1)) for rate_class in RateClass}
        chosen = inputs(stage.backend.port, stage.jwks_port, limits=limits, lift_limits_on_loopback=True)
        async with door(chosen, tmp_path) as opened:
            for _ in range(10):
                await opened.call(LOGIN)
                await opened.call(CREATE_GAME, metadata=stage.signer.bearer())


class TestFaults:
    async def test_without_keys_it_is_not_the_tokens_fault(self, stage: Stage, tmp_path: Path) -> None:
        async with door(inputs(stage.backend.port, 1), tmp_path) as opened:
            code, reason, _ = await refusal(opened.call(ACCOUNT, metadata=stage.signer.bearer()))
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")

    async def test_a_backend_that_went_away_is_unavailable_and_comes_back(self, stage: Stage, tmp_path: Path) -> None:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(backend())
            opened = await stack.enter_async_context(door(inputs(first.port, stage.jwks_port), tmp_path))
            await opened.call(VALIDATE)
            first.failures[LOGIN] = grpc.StatusCode.UNAVAILABLE
            code, reason, _ = await refusal(opened.call(LOGIN))
            assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "")
            assert len([a for a in first.arrivals if a.method == LOGIN]) == 1, "a change is not repeated"

    async def test_nobody_behind_the_door(self, stage: Stage, tmp_path: Path) -> None:
        async with AsyncExitStack() as inner:
            gone = await inner.enter_async_context(backend())
            async with door(inputs(gone.port, stage.jwks_port), tmp_path) as opened:
                await inner.aclose()
                code, reason, _ = await refusal(opened.call(VALIDATE))
                assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")
