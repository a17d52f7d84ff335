"""Envoy with a backend that only remembers what reached it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from jwt.algorithms import ECAlgorithm

from envoy.render import DEFAULT_LIMITS, Address, Environment, Inputs, Limits, Rate, render
from envoy.routes import CLUSTERS, RateClass
from oofgg.v1 import auth_pb2
from pkg.embedded.binaries import ENVOY, find
from pkg.testing.addresses import reserve_address

START_SECONDS = 20.0
LOGIN = "/oofgg.v1.AuthService/Login"
VALIDATE = "/oofgg.v1.AuthService/ValidateToken"


@dataclass(frozen=True)
class Arrival:
    """A call as the backend saw it."""

    method: str
    headers: dict[str, str]
    request: bytes


@dataclass
class Backend:
    """Answers every RPC with an empty message, and echoes streams."""

    port: int = 0
    arrivals: list[Arrival] = field(default_factory=list)
    responses: dict[str, bytes] = field(default_factory=dict)
    failures: dict[str, grpc.StatusCode] = field(default_factory=dict)

    @property
    def last(self) -> Arrival:
        return self.arrivals[-1]


class _AnyRpc(grpc.GenericRpcHandler):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        if method.startswith("/grpc.health."):
            return None
        headers = {key: str(value) for key, value in handler_call_details.invocation_metadata}

        async def unary(request: bytes, context: Any) -> bytes:
            self._backend.arrivals.append(Arrival(method, headers, request))
            if method in self._backend.failures:
                await context.abort(self._backend.failures[method], "refused by the stand-in")
            return self._backend.responses.get(method, b"")

        async def echo(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
            self._backend.arrivals.append(Arrival(method, headers, b""))
            async for request in requests:
                yield request

        if method.endswith(("/Play", "/ServerReflectionInfo")):
            return grpc.stream_stream_rpc_method_handler(echo)
        return grpc.unary_unary_rpc_method_handler(unary)


@asynccontextmanager
async def backend() -> AsyncIterator[Backend]:
    """A gRPC server that is every service at once."""
    server = grpc.aio.server()
    stand_in = Backend()
    stand_in.responses[LOGIN] = auth_pb2.LoginResponse(
        user_id="u1", access_token="t", expires_in=900
    ).SerializeToString()
    health = HealthServicer()
    for name in ("", *CLUSTERS.values()):
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    add_HealthServicer_to_server(health, server)
    server.add_generic_rpc_handlers((_AnyRpc(stand_in),))
    stand_in.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield stand_in
    finally:
        await server.stop(None)


class Signer:
    """Issues tokens as `auth` does, and serves their key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def token(self, **changed: Any) -> str:
        """An access token; a claim changed to None is left out."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": "oofgg", "aud": "oofgg", "sub": "u1", "role": "player", "sid": "s1", "game": "", "name": "ada",
            "iat": now, "exp": now + 300, "jti": "j1",
        }  # fmt: skip
        claims.update(changed)
        return jwt.encode(
            {key: value for key, value in claims.items() if value is not None},
            self._key,
            algorithm="ES256",
            headers={"kid": "k1"},
        )

    def bearer(self, **changed: Any) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.token(**changed)}"),)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """The JWKS over HTTP; yields its port."""
        key = {**ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True), "kid": "k1", "alg": "ES256", "use": "sig"}

        async def answer(_request: web.Request) -> web.Response:
            return web.json_response({"keys": [key]})

        application = web.Application()
        application.router.add_get("/.well-known/jwks.json", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


@dataclass(frozen=True)
class Door:
    """A running Envoy."""

    address: str
    admin: str
    channel: grpc.aio.Channel
    http: aiohttp.ClientSession

    async def call(self, path: str, request: bytes = b"", metadata: Any = (), seconds: float = 10) -> Any:
        """A unary gRPC call of raw bytes."""
        method: Any = self.channel.unary_unary(path)
        return await method(request, metadata=metadata, timeout=seconds)


def inputs(backend_port: int, jwks_port: int, **changed: Any) -> Inputs:
    """A development door to the stand-in."""
    plain = Inputs(
        environment=Environment.DEVELOPMENT,
        listener=Address.parse(reserve_address()),
        admin_port=Address.parse(reserve_address()).port,
        clusters={name: Address("127.0.0.1", backend_port) for name in CLUSTERS.values()},
        jwks=Address("127.0.0.1", jwks_port),
        cors_origins=("https://play.example.com",),
        access_log=False,
        limits={**DEFAULT_LIMITS, RateClass.CREDENTIAL: Limits(per_address=Rate(10_000, 10_000), per_user=None)},
    )
    return replace(plain, **changed)


@asynccontextmanager
async def door(chosen: Inputs, folder: Path, log_level: str = "warning") -> AsyncIterator[Door]:
    """Boots Envoy; it is ready, and so is the way to the backend."""
    configuration = folder / f"envoy-{chosen.listener.port}.yaml"
    configuration.write_text(render(chosen))
    address, admin = f"127.0.0.1:{chosen.listener.port}", f"127.0.0.1:{chosen.admin_port}"
    log = folder / f"envoy-{chosen.listener.port}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            find(ENVOY, {}).path, "-c", configuration, "--disable-hot-restart", "--concurrency", "1", "-l", log_level,
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        async with (
            grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel,
            aiohttp.ClientSession(f"http://{address}", timeout=aiohttp.ClientTimeout(10)) as http,
        ):
            opened = Door(address, admin, channel, http)
            await _until_ready(opened, process, log)
            yield opened
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _until_ready(opened: Door, process: asyncio.subprocess.Process, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            async with opened.http.get(f"http://{opened.admin}/clusters") as response:
                clusters = await response.text()
            if (
                all(f"{name}::127.0.0.1" in clusters for name in CLUSTERS.values())
                and "failed_active_hc" not in clusters
            ):
                await opened.call(VALIDATE, seconds=1)
                return
        except (aiohttp.ClientError, grpc.aio.AioRpcError) as error:
            last: object = error
        else:
            last = "unhealthy"
        said = await asyncio.to_thread(log.read_text)
        assert process.returncode is None, said[-3000:]
        assert time.monotonic() < deadline, f"{last}\n{said[-3000:]}"
        await asyncio.sleep(0.05)
