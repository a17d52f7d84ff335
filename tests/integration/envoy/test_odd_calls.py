"""Calls that a gRPC library would not send, byte by byte: each gets a status that says what is wrong."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import pytest
import pytest_asyncio

from oofgg.v1 import errors_pb2
from tests.integration.envoy.stage import VALIDATE, Backend, Door, Signer, backend, door, inputs

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCOUNT = "/oofgg.v1.AuthService/GetAccount"
PLAY = "/oofgg.v1.SessionService/Play"
WATCH = "/oofgg.v1.SessionService/Watch"
EMPTY_MESSAGE = struct.pack(">BI", 0, 0)
WITHIN = 10.0


@dataclass
class Answer:
    """What came back: headers and trailers together."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    reset: bool = False

    @property
    def code(self) -> int:
        return int(self.headers.get("grpc-status", -1))

    @property
    def reason(self) -> str:
        encoded = self.headers.get("grpc-status-details-bin", "")
        status = errors_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
        return next(
            (
                errors_pb2.ErrorInfo.FromString(d.value).reason
                for d in status.details
                if d.type_url.endswith("ErrorInfo")
            ),
            "",
        )


async def raw_call(
    address: str,
    path: str,
    body: bytes | None = EMPTY_MESSAGE,
    more: Sequence[tuple[str, str]] = (),
    *,
    te: str | None = "trailers",
    content_type: str = "application/grpc",
) -> Answer:
    """One call over a connection of its own. Without a body, the headers end the request."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    # Names as given: the library would refuse some of those that are tried here.
    config = h2.config.H2Configuration(client_side=True, validate_outbound_headers=False, header_encoding="utf-8")
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    headers = [(":method", "POST"), (":scheme", "http"), (":authority", "oofgg"), (":path", path)]
    headers += [("content-type", content_type), *([("te", te)] if te else []), *more]
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, headers, end_stream=body is None)
    if body is not None:
        connection.send_data(stream, body, end_stream=True)
    answer = Answer()
    try:
        async with asyncio.timeout(WITHIN):
            while True:
                writer.write(connection.data_to_send())
                received = await reader.read(65_536)
                if not received:
                    return answer
                for event in connection.receive_data(received):
                    if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                        answer.headers.update((str(name), str(value)) for name, value in event.headers)
                    elif isinstance(event, h2.events.DataReceived):
                        answer.data += event.data
                    elif isinstance(event, h2.events.StreamReset):
                        answer.reset = True
                        return answer
                    elif isinstance(event, h2.events.StreamEnded):
                        return answer
    finally:
        writer.close()


@dataclass(frozen=True)
class Stage:
    signer: Signer
    backend: Backend
    door: Door

    def bearer(self, scheme: str = "Bearer") -> tuple[str, str]:
        return ("authorization", f"{scheme} {self.signer.token()}")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    signer = Signer()
    async with AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(backend())
        jwks_port = await stack.enter_async_context(signer.serve())
        opened = await stack.enter_async_context(
            door(inputs(stand_in.port, jwks_port), tmp_path_factory.mktemp("door"))
        )
        yield Stage(signer, stand_in, opened)


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"])
async def test_an_ordinary_call_passes(stage: Stage, content_type: str) -> None:
    answer = await raw_call(stage.door.address, VALIDATE, content_type=content_type)
    assert answer.headers[":status"] == "200"
    assert answer.code in (0, -1)  # grpc-web has the status in its body
    assert stage.backend.last.method == VALIDATE


@pytest.mark.parametrize("body", [None, b""], ids=["headers end the call", "an empty body"])
@pytest.mark.parametrize("path", [VALIDATE, ACCOUNT, WATCH])
async def test_a_call_without_a_message_is_refused_at_once(stage: Stage, path: str, body: bytes | None) -> None:
    arrived = len(stage.backend.arrivals)
    answer = await raw_call(stage.door.address, path, body, [stage.bearer()])
    assert (answer.code, answer.reason) == (3, "PROTOCOL_VIOLATION")
    assert "without a message" in answer.headers["grpc-message"].replace("%20", " ")
    assert len(stage.backend.arrivals) == arrived


async def test_a_stream_may_end_without_a_message(stage: Stage) -> None:
    answer = await raw_call(stage.door.address, PLAY, None, [stage.bearer()])
    assert answer.code == 0
    assert stage.backend.last.method == PLAY


async def test_a_json_read_needs_no_body(stage: Stage) -> None:
    async with stage.door.http.get("/v1/auth/account", headers=dict([stage.bearer()])) as response:
        assert response.status == 200


@pytest.mark.parametrize("te", [None, "gzip", "Trailers"])
async def test_a_call_without_te_trailers_is_told_what_it_lacks(stage: Stage, te: str | None) -> None:
    arrived = len(stage.backend.arrivals)
    answer = await raw_call(stage.door.address, VALIDATE, te=te)
    if te == "gzip":  # HTTP/2 itself allows no other value
        assert answer.code in (-1, 3)
        return
    assert (answer.code, answer.reason) == (3, "PROTOCOL_VIOLATION")
    assert "te: trailers" in answer.headers["grpc-message"]
    assert len(stage.backend.arrivals) == arrived


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_of_a_token_is_the_same_in_capitals_and_small_letters(stage: Stage, scheme: str) -> None:
    answer = await raw_call(stage.door.address, ACCOUNT, more=[stage.bearer(scheme)])
    assert answer.code == 0
    assert stage.backend.last.headers["authorization"].startswith(scheme)


async def test_metadata_may_have_an_underscore_and_still_speaks_for_nobody(stage: Stage) -> None:
    names = [("trace_id", "t"), ("x_oofgg_client_address", "10.0.0.1"), ("x_oofgg_unknown_fields", "game_id")]
    answer = await raw_call(stage.door.address, VALIDATE, more=names)
    assert answer.code == 0
    headers = stage.backend.last.headers
    assert headers["trace_id"] == "t"
    assert headers["x-oofgg-client-address"] == "127.0.0.1"
    assert "x-oofgg-unknown-fields" not in headers


@pytest.mark.parametrize(
    "more",
    [[("x-filler", "x" * 33_000)], [(f"x-filler-{number}", "x") for number in range(120)]],
    ids=["33 KB", "120 headers"],
)
async def test_headers_beyond_the_limit_end_this_call_alone(stage: Stage, more: list[tuple[str, str]]) -> None:
    """As docs/architecture/envoy.md says, HTTP/2 leaves Envoy no way to say why."""
    arrived = len(stage.backend.arrivals)
    answer = await raw_call(stage.door.address, VALIDATE, more=more)
    assert answer.reset or answer.headers.get(":status") in ("431", "400")
    assert len(stage.backend.arrivals) == arrived
    assert (await raw_call(stage.door.address, VALIDATE)).code == 0
