"""One of every kind of caller, made through Envoy."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from oofgg.v1 import (
    account_pb2,
    auth_pb2,
    auth_pb2_grpc,
    classic_pb2,
    game_pb2,
    game_pb2_grpc,
    history_pb2,
    leaderboard_pb2,
    matchmaking_pb2,
    rating_pb2,
    session_pb2,
)
from pkg.embedded import Platform
from pkg.errors import OofggError
from pkg.rpc.status import from_rpc_error

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse"
MODULES = (
    auth_pb2,
    account_pb2,
    classic_pb2,
    game_pb2,
    session_pb2,
    matchmaking_pb2,
    leaderboard_pb2,
    history_pb2,
    rating_pb2,
)
SERVICES = [service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()]
METHODS = [method for service in SERVICES for method in service.methods]
# What grpc.aio puts in the place of the server's status when a write meets the end of a stream.
LOST_STATUS = "Internal error from Core"
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """A developer with a game and an API key, and two players of it."""

    game_id: str
    developer: Metadata
    api_key: Metadata
    player: Metadata
    other_player: Metadata
    console: Metadata
    admin: Metadata = ()
    """Only the operator makes one: see the fixture `admin`."""


def bearer(token: str) -> Metadata:
    """The metadata that sends a token."""
    return (("authorization", f"Bearer {token}"),)


async def register(channel: grpc.aio.Channel, prefix: str, game_id: str = "") -> auth_pb2.RegisterResponse:
    """A new account with a name of its own."""
    name = f"{prefix}-{os.urandom(4).hex()}"
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    request = auth_pb2.RegisterRequest(username=name, email=f"{name}@example.org", password=PASSWORD, game_id=game_id)
    response: auth_pb2.RegisterResponse = await stub.Register(request, timeout=10, wait_for_ready=True)
    return response


async def make_cast(channel: grpc.aio.Channel) -> Cast:
    """Everybody, on stage."""
    auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
    games: Any = game_pb2_grpc.GameServiceStub(channel)
    studio = await register(channel, "studio")
    answer = await auth.BecomeDeveloper(
        auth_pb2.BecomeDeveloperRequest(), metadata=bearer(studio.access_token), timeout=10
    )
    developer = bearer(answer.access_token)
    game = (await games.CreateGame(game_pb2.CreateGameRequest(name="Duel"), metadata=developer, timeout=10)).game
    key = await auth.CreateApiKey(
        auth_pb2.CreateApiKeyRequest(game_id=game.game_id, name="server"), metadata=developer, timeout=10
    )
    exchanged = await auth.ExchangeApiKey(auth_pb2.ExchangeApiKeyRequest(api_key=key.api_key), timeout=10)
    player = await register(channel, "player", game.game_id)
    other = await register(channel, "other", game.game_id)
    console = await register(channel, "console")
    return Cast(
        game_id=game.game_id,
        developer=developer,
        api_key=bearer(exchanged.access_token),
        player=bearer(player.access_token),
        other_player=bearer(other.access_token),
        console=bearer(console.access_token),
    )


def operate(platform: Platform, *arguments: str, command: str = "admin") -> subprocess.CompletedProcess[str]:
    """Runs `python -m services admin …`, or another command, beside a running platform."""
    secrets = platform.data_dir / "secrets"
    environment = {
        **os.environ,
        "OOFGG_POSTGRES_URL": platform.endpoints.postgres_url,
        "OOFGG_REDIS_URL": platform.endpoints.redis_url,
        "OOFGG_KAFKA_BOOTSTRAP": platform.endpoints.kafka_bootstrap,
        "OOFGG_MASTER_KEY_FILE": str(secrets / "master_key"),
        "OOFGG_SERVICE_SECRET_FILE": str(secrets / "service_secret"),
    }
    argv = [sys.executable, "-m", "services", command, *arguments]
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


async def make_admin(channel: grpc.aio.Channel, platform: Platform) -> Metadata:
    """The console login of an admin, whom the operator has made one."""
    name = f"admin-{os.urandom(4).hex()}"
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    request = auth_pb2.RegisterRequest(username=name, email=f"{name}@example.org", password=PASSWORD)
    await stub.Register(request, timeout=10, wait_for_ready=True)
    done = await asyncio.to_thread(operate, platform, "set-role", name, "admin")
    assert done.returncode == 0, done.stderr
    answer = await stub.Login(auth_pb2.LoginRequest(username=name, password=PASSWORD), timeout=10)
    return bearer(answer.access_token)


def request_of(method: MethodDescriptor) -> Message:
    """An empty request of an RPC."""
    return GetMessageClass(method.input_type)()


async def call(channel: grpc.aio.Channel, method: MethodDescriptor, metadata: Metadata, request: Any = None) -> Any:
    """Calls an RPC of any shape, with an empty request by default; returns the first response."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    message = request or request_of(method)
    codec: Any = {
        "request_serializer": lambda m: m.SerializeToString(),
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    if method.client_streaming:
        while True:
            stream = channel.stream_stream(path, **codec)(metadata=metadata, timeout=10)
            try:
                await stream.write(message)
                return await stream.read()
            except grpc.aio.AioRpcError as error:
                if error.details() != LOST_STATUS:
                    raise
            except asyncio.InvalidStateError:
                return await stream.read()
    if method.server_streaming:
        return await channel.unary_stream(path, **codec)(message, metadata=metadata, timeout=10).read()
    return await channel.unary_unary(path, **codec)(message, metadata=metadata, timeout=10)


async def outcome(awaitable: Any) -> tuple[grpc.StatusCode, OofggError | None]:
    """The code of a call, and the domain error behind it."""
    try:
        await awaitable
    except grpc.aio.AioRpcError as error:
        return error.code(), from_rpc_error(error)
    return grpc.StatusCode.OK, None
