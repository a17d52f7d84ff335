"""The embedded platform under measurement."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.generator import ROOT, BenchError
from pkg.embedded import read_state
from pkg.embedded.processes import Command, Lifeline, spawn
from pkg.embedded.unit import tail

# Names in the report → names of the supervisor.
PROGRAMS = {"service": "services", "envoy": "envoy", "postgresql": "postgres", "valkey": "valkey", "kafka": "kafka"}
SERVER = ("service", "postgresql", "valkey", "kafka")

_START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.02
# What one participant may send is bounded, and so are tokens: saturation must not meet those bounds.
GENEROUS = {
    "OOFGG_GAME_COMMANDS_PER_SECOND": "1000000",
    "OOFGG_GAME_BYTES_PER_SECOND": "1000000000",
    "OOFGG_GAME_SESSION_COMMANDS_PER_SECOND": "1000000000",
    "OOFGG_GAME_SESSION_BYTES_PER_SECOND": "100000000000",
    "OOFGG_MATCHMAKING_PLAYER_STREAMS": "100000",
}
_LIFTED = {
    "OOFGG_ACCESS_TOKEN_SECONDS": "86400",
    **GENEROUS,
}
_UP = "the platform is up"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running platform answers."""

    service: str
    envoy: str
    kafka: str


class Platform:
    """`python -m services up` on a data directory, as a person would start it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._log = data_dir.with_name(data_dir.name + ".log")
        self._lifeline: Lifeline | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by the names of the report."""
        running = read_state(self.data_dir)["pids"]
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
        endpoints = read_state(self.data_dir)["endpoints"]
        return Endpoints(endpoints["services_grpc"], endpoints["envoy"], endpoints["kafka_bootstrap"])

    async def start(self, *, lifted: bool) -> float:
        """Starts it and returns the seconds until it said that a call through Envoy is answered."""
        self._lifeline = Lifeline()
        self._log.write_bytes(b"")
        argv = [sys.executable, "-m", "services", "up", "--data-dir", str(self.data_dir)]
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
