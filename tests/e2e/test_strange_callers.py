"""Callers that do not keep to the rules get a clear answer, and nobody else notices them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import h2.config
import h2.connection
import h2.events
import pytest

from oofgg.v1 import auth_pb2, auth_pb2_grpc
from pkg.embedded import Platform
from pkg.errors import Reason
from tests.e2e.callers import bearer, outcome, register

LOGIN = "/oofgg.v1.AuthService/Login"
JSON_LOGIN = "/v1/auth/login"
CREDENTIALS = json.dumps({"username": "nobody", "password": "wrong"})
WITHIN = 30.0
PATIENCE = 60.0


@pytest.fixture
async def bystander(channel: grpc.aio.Channel) -> AsyncIterator[None]:
    """Somebody who plays by the rules all the while, and must not notice anything."""
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    metadata = bearer((await register(channel, "bystander")).access_token)
    answered = 0

    async def call() -> None:
        nonlocal answered
        while True:
            await stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=metadata, timeout=10)
            answered += 1
            await asyncio.sleep(0.02)

    calling = asyncio.create_task(call())
    yield
    before = answered
    async with asyncio.timeout(WITHIN):
        while answered < before + 3 and not calling.done():
            await asyncio.sleep(0.02)
    calling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await calling


async def say(envoy: str, request: str | bytes, *, half_close: bool = False) -> bytes:
    """Sends bytes over a plain connection and returns all that comes until the other end closes it."""
    host, _, port = envoy.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(WITHIN):
            writer.write(request.encode() if isinstance(request, str) else request)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
                if half_close:
                    writer.write_eof()
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65_536):
                    answer += piece
            return answer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def post(path: str, body: str = CREDENTIALS, *, version: str = "1.1", **headers: str) -> str:
    told = {"Host": "oofgg", "Connection": "close", "Content-Length": str(len(body.encode()))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n{body}"


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer.split(b" ", 2)[1])


def never_end_the_headers(host: str, port: int) -> bytes:
    """Sends one more header all the time; returns what is answered."""
    with socket.create_connection((host, port), timeout=0.5) as stranger:
        stranger.sendall(f"POST {JSON_LOGIN} HTTP/1.1\r\nHost: oofgg\r\n".encode())
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(ConnectionError):
                stranger.sendall(b"x-more: x\r\n")
            with contextlib.suppress(TimeoutError):
                return stranger.recv(65_536)
    raise AssertionError("Envoy goes on listening")


def never_end_the_handshake(host: str, port: int) -> bytes:
    """Begins TLS and says nothing more; returns what comes until the other end closes the connection."""
    with socket.create_connection((host, port), timeout=PATIENCE) as stranger:
        stranger.sendall(b"\x16\x03\x01")
        return stranger.recv(65_536)


@dataclass
class SlowStrangers:
    """What becomes of those whom Envoy gives ten seconds: they wait while the other tests run."""

    headers: Future[bytes]
    handshake: Future[bytes]


@pytest.fixture(scope="module", autouse=True)
def slow_strangers(platform: Platform) -> Iterator[SlowStrangers]:
    def address(text: str) -> tuple[str, int]:
        host, _, port = text.rpartition(":")
        return host, int(port)

    with ThreadPoolExecutor(2) as threads:
        yield SlowStrangers(
            threads.submit(never_end_the_headers, *address(platform.endpoints.envoy)),
            threads.submit(never_end_the_handshake, *address(platform.endpoints.envoy_tls)),
        )


@pytest.mark.usefixtures("bystander")
class TestHttp:
    @pytest.mark.parametrize("kind", ["text/html", "application/json", "application/x-www-form-urlencoded", ""])
    async def test_an_rpc_that_is_not_spoken_to_in_grpc(self, envoy: str, kind: str) -> None:
        assert status(await say(envoy, post(LOGIN, content_type=kind))) == 415

    @pytest.mark.parametrize(
        "path",
        [
            "/oofgg.v1.AuthService/../pkg.internal.v1.GameDirectoryService/LookupGame",
            "/oofgg.v1.AuthService%2FLogin",
            "/oofgg.v1.AuthService/%2e%2e/x",
            "/v1/auth/login/..;/account",
            "/v1/auth/login/extra",
            "/v1/auth/%6cogin%00",
            "/v1//auth/nothing",
            "/v1/auth",
            "/stats/prometheus",
            "/quitquitquit",
            "/.well-known/jwks.json",
            "http://127.0.0.1:9901/quitquitquit",
            "/" + "x" * 30_000,
        ],
    )
    async def test_paths_that_lead_nowhere(self, envoy: str, path: str) -> None:
        answer = await say(envoy, post(path, content_type="application/json"))
        assert status(answer) in (400, 404, 405), answer[:200]

    async def test_a_path_without_end(self, envoy: str) -> None:
        answer = await say(envoy, post("/" + "x" * 70_000))
        assert status(answer) == 400
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert document["details"][0]["reason"] == Reason.PROTOCOL_VIOLATION.value

    @pytest.mark.parametrize("version", ["1.0", "0.9", "2.0", "9.9", "x"])
    async def test_other_versions_of_http(self, envoy: str, version: str) -> None:
        answer = await say(envoy, post(JSON_LOGIN, version=version, content_type="application/json"))
        assert status(answer) in (400, 426, 505), answer[:200]

    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "DELETE", "BREW"])
    async def test_other_methods(self, envoy: str, method: str) -> None:
        answer = await say(envoy, post(JSON_LOGIN, content_type="application/json").replace("POST", method, 1))
        assert status(answer) in (400, 404, 405), answer[:200]

    @pytest.mark.parametrize(
        "request_text",
        [
            pytest.param("\x16\x03\x01\x02\x00\x01\x00", id="a TLS hello"),
            pytest.param("SSH-2.0-OpenSSH_9.2\r\n\r\n", id="SSH"),
            pytest.param("GET\r\n\r\n", id="no path"),
            pytest.param(post(JSON_LOGIN, "", Content_Length="-1"), id="a negative length"),
            pytest.param(post(JSON_LOGIN, "0\r\n\r\n", Transfer_Encoding="chunked"), id="two lengths"),
            pytest.param(post(JSON_LOGIN, "", Transfer_Encoding="gzip"), id="an unknown encoding"),
            pytest.param(post(JSON_LOGIN, x_oofgg_node="a\x00b"), id="a zero in a header"),
        ],
    )
    async def test_what_is_no_request(self, envoy: str, request_text: str) -> None:
        answer = await say(envoy, request_text, half_close=True)
        assert answer == b"" or status(answer) in (400, 501), answer[:200]

    async def test_more_headers_than_anyone_needs(self, envoy: str) -> None:
        many = {f"x_filler_{number}": "x" for number in range(150)}
        assert status(await say(envoy, post(JSON_LOGIN, content_type="application/json", **many))) == 400

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_ten_megabytes(self, envoy: str, chunked: bool) -> None:
        body = json.dumps({"username": "x" * 10_000_000, "password": "x"})
        if not chunked:
            request = post(JSON_LOGIN, body, content_type="application/json")
        else:
            head = post(JSON_LOGIN, "", content_type="application/json", Transfer_Encoding="chunked")
            request = head.replace("Content-Length: 0\r\n", "") + f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
        answer = await say(envoy, request)
        assert answer == b"" or status(answer) == 413, answer[:200]

    async def test_json_nested_without_end(self, envoy: str) -> None:
        answer = await say(envoy, post(JSON_LOGIN, '{"username":' * 20_000, content_type="application/json"))
        assert status(answer) in (400, 413)

    async def test_headers_that_never_end(self, slow_strangers: SlowStrangers) -> None:
        """Ten seconds are enough for anybody to say what they want."""
        assert status(await asyncio.wrap_future(slow_strangers.headers)) == 504


@pytest.mark.usefixtures("bystander")
class TestHttp2:
    async def test_ten_megabytes(self, channel: grpc.aio.Channel) -> None:
        stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
        request = auth_pb2.LoginRequest(username="x" * 10_000_000, password="x")
        code, error = await outcome(stub.Login(request, timeout=WITHIN))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert error is not None
        assert error.reason is Reason.INVALID_FIELD

    async def test_streams_that_are_opened_only_to_be_reset(self, envoy: str) -> None:
        """Envoy ends the connection of who does this, with ENHANCE_YOUR_CALM, and no other."""
        host, _, port = envoy.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        connection.initiate_connection()
        headers = [(":method", "POST"), (":scheme", "http"), (":authority", "oofgg"), (":path", LOGIN)]
        headers += [("content-type", "application/grpc"), ("te", "trailers")]
        ended = False
        try:
            async with asyncio.timeout(WITHIN):
                for _ in range(200):
                    for _ in range(50):
                        stream = connection.get_next_available_stream_id()
                        connection.send_headers(stream, headers)
                        connection.reset_stream(stream)
                    try:
                        writer.write(connection.data_to_send())
                        await writer.drain()
                    except ConnectionError:
                        ended = True
                        break
                    if reader.at_eof():
                        ended = True
                        break
                    await asyncio.sleep(0)
        finally:
            writer.close()
        assert ended, "ten thousand resets, and the connection still stands"

    async def test_what_is_no_frame(self, envoy: str) -> None:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        settings = bytes.fromhex("000000040000000000")
        answer = await say(envoy, preface + settings + b"\xff" * 512)
        assert b"HTTP/1.1" not in answer, "closed with a frame, or at once"


async def test_a_handshake_that_never_ends(slow_strangers: SlowStrangers) -> None:
    assert await asyncio.wrap_future(slow_strangers.handshake) == b""
