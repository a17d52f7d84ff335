"""The embedded platform under measurement, and the players on it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from bench.generator import ROOT, BenchError, Seat
from oofgg.v1 import auth_pb2, auth_pb2_grpc, game_pb2, game_pb2_grpc, session_pb2_grpc
from oofgg.v1 import session_pb2 as pb
from pkg.embedded import read_state
from pkg.embedded.processes import Command, Lifeline, spawn
from pkg.embedded.unit import tail

PASSWORD = "correct horse"
# Names in the report → names of the supervisor.
PROGRAMS = {"service": "services", "envoy": "envoy", "postgresql": "postgres", "valkey": "valkey", "kafka": "kafka"}
SERVER = ("service", "postgresql", "valkey", "kafka")

_START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
_CALL_SECONDS = 30.0
_AT_ONCE = 16
# What one participant may send is bounded, and so are tokens: saturation must not meet those bounds.
_LIFTED = {
    "OOFGG_ACCESS_TOKEN_SECONDS": "86400",
    "OOFGG_GAME_COMMANDS_PER_SECOND": "1000000",
    "OOFGG_GAME_BYTES_PER_SECOND": "1000000000",
}
_UP = "the platform is up"
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running platform answers."""

    service: str
    envoy: str


class Platform:
    """`python -m services up` on a data directory, as a person would start it."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._log = data_dir.with_name(data_dir.name + ".log")
        self._lifeline: Lifeline | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by the names of the report."""
        running = read_state(self._data_dir)["pids"]
        return {name: int(running[program]["pid"]) for name, program in PROGRAMS.items()}

    @property
    def supervisor(self) -> int:
        """The process id of the supervisor, the parent of the others."""
        if self._process is None:
            raise AssertionError("the platform does not run")
        return self._process.pid

    @property
    def endpoints(self) -> Endpoints:
        """Its addresses."""
        endpoints = read_state(self._data_dir)["endpoints"]
        return Endpoints(endpoints["services_grpc"], endpoints["envoy"])

    async def start(self, *, lifted: bool) -> float:
        """Starts it and returns the seconds until it said that a call through Envoy is answered."""
        self._lifeline = Lifeline()
        self._log.write_bytes(b"")
        argv = [sys.executable, "-m", "services", "up", "--data-dir", str(self._data_dir)]
        command = Command(
            [*argv, "--lift-limits"] if lifted else argv,
            {**(_LIFTED if lifted else {}), "PYTHONUNBUFFERED": "1"},
            cwd=ROOT,
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._process = spawn(command, self._log, self._lifeline)
        while _UP not in self._log.read_text():
            if self._process.poll() is not None or loop.time() - began > _START_SECONDS:
                raise BenchError(f"the platform does not start:\n{tail(self._log)}")
            await asyncio.sleep(_POLL_SECONDS)
        return loop.time() - began

    async def stop(self) -> None:
        """Stops it; its data stays."""
        if self._process is not None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
            self._process = None
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for a data directory, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="oofgg-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        try:
            yield directory / "data"
        finally:
            shutil.rmtree(directory / "data", ignore_errors=True)


@dataclass(slots=True)
class Player:
    """Somebody with a login."""

    name: str
    user_id: str
    token: str

    @property
    def metadata(self) -> Metadata:
        """What sends the token."""
        return (("authorization", f"Bearer {self.token}"),)


class Stage:
    """A platform with a game on it. Players are registered when they are first asked for."""

    def __init__(self, platform: Platform, channel: grpc.aio.Channel) -> None:
        self.platform = platform
        self.endpoints = platform.endpoints
        self.pids = platform.pids
        self.auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
        self.games: Any = game_pb2_grpc.GameServiceStub(channel)
        self.sessions: Any = session_pb2_grpc.SessionServiceStub(channel)
        self.channel = channel
        self.game_id = ""
        self.server: Metadata = ()
        self._developer: Metadata = ()
        self._players: list[Player] = []

    async def prepare(self) -> None:
        """Makes the game, and the API key that speaks for its server."""
        studio = await self._register("")
        answer = await self.auth.BecomeDeveloper(
            auth_pb2.BecomeDeveloperRequest(), metadata=studio.metadata, timeout=_CALL_SECONDS
        )
        self._developer = (("authorization", f"Bearer {answer.access_token}"),)
        made = await self.games.CreateGame(
            game_pb2.CreateGameRequest(name="Bench", settings=game_pb2.GameSettings(max_seats=512)),
            metadata=self._developer,
            timeout=_CALL_SECONDS,
        )
        self.game_id = made.game.game_id
        key = await self.auth.CreateApiKey(
            auth_pb2.CreateApiKeyRequest(game_id=self.game_id, name="server"),
            metadata=self._developer,
            timeout=_CALL_SECONDS,
        )
        exchanged = await self.auth.ExchangeApiKey(
            auth_pb2.ExchangeApiKeyRequest(api_key=key.api_key), timeout=_CALL_SECONDS
        )
        self.server = (("authorization", f"Bearer {exchanged.access_token}"),)

    async def players(self, number: int) -> list[Player]:
        """The first players of the game, always the same."""
        while len(self._players) < number:
            more = min(_AT_ONCE, number - len(self._players))
            self._players += await asyncio.gather(*(self._register(self.game_id) for _ in range(more)))
        return self._players[:number]

    async def seated(self, number: int, *, window_ms: int | None = None) -> list[Seat]:
        """A session with this many players seated. Without a window it has the default one."""
        players = await self.players(number)
        request = pb.CreateSessionRequest(game_id=self.game_id, min_seats=number, max_seats=number)
        if window_ms is not None:
            request.flush_window_ms = window_ms
        made = await self.sessions.CreateSession(request, metadata=players[0].metadata, timeout=_CALL_SECONDS)
        session_id = made.session.session_id
        for player in players:
            await self.sessions.Join(
                pb.JoinRequest(session_id=session_id), metadata=player.metadata, timeout=_CALL_SECONDS
            )
        return [Seat(session_id, made.placement.node, player.token) for player in players]

    @asynccontextmanager
    async def session(self, number: int, *, window_ms: int | None = None) -> AsyncIterator[list[Seat]]:
        """The same, closed when left."""
        seats = await self.seated(number, window_ms=window_ms)
        try:
            yield seats
        finally:
            closing = pb.CloseRequest(session_id=seats[0].session_id)
            await self.sessions.Close(closing, metadata=self.server, timeout=_CALL_SECONDS)

    async def _register(self, game_id: str) -> Player:
        name = f"bench-{os.urandom(6).hex()}"
        request = auth_pb2.RegisterRequest(
            username=name, email=f"{name}@example.org", password=PASSWORD, game_id=game_id
        )
        answer = await self.auth.Register(request, timeout=_CALL_SECONDS, wait_for_ready=True)
        return Player(name, answer.user_id, answer.access_token)


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """A platform with limits lifted and a game on it, gone when left."""
    with scratch() as data_dir:
        platform = Platform(data_dir)
        try:
            await platform.start(lifted=True)
            async with grpc.aio.insecure_channel(platform.endpoints.service) as channel:
                stage = Stage(platform, channel)
                await stage.prepare()
                yield stage
        finally:
            await platform.stop()
