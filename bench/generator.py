"""The generator of the load, a program of its own (bench/loadgen), started for one run at a time."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "bench" / "loadgen"
PROGRAM = ROOT / "build" / "loadgen"

_BUILD_SECONDS = 600.0
_READY_SECONDS = 60.0
_ANSWER_SECONDS = 20.0
_END_SECONDS = 15.0
_LINE_BYTES = 1024 * 1024


class BenchError(Exception):
    """The bench cannot go on; says what is needed."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send again and again."""

    request: bytes = b""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place that a stream plays for."""

    session_id: str
    node: str
    token: str


@dataclass(frozen=True, slots=True)
class Job:
    """What to send where; the fields are those of `Job` in bench/loadgen/main.go."""

    kind: str
    target: str
    connections: int
    limit_seconds: float = 300.0
    method: str = ""
    in_flight: int = 0
    calls: Sequence[Call] = field(default=())
    streams: Sequence[Seat] = field(default=())
    delivery: int = 0
    payload: int = 32
    window: int = 0
    batch: int = 0
    hertz: float = 0.0
    senders: int = 0
    returns: bool = False
    behaviour: str = ""
    number: int = 0

    def line(self) -> bytes:
        """The job as the program reads it."""
        told = asdict(self)
        for call in told["calls"]:
            call["request"] = base64.b64encode(call["request"]).decode()
        return json.dumps(told).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Mark:
    """What happened since the mark before; latencies in microseconds: count, p50, p90, p99, max."""

    seconds: float
    done: int
    sent: int
    failed: int
    failure: str
    latency: dict[str, float]
    open: int = 0
    """Hostile clients that are where they want to be now."""
    ended: dict[str, int] | None = None
    """How often somebody was thrown out, by what it was told."""

    @property
    def thrown_out(self) -> int:
        """How often somebody was."""
        return sum((self.ended or {}).values())


class Generator:
    """A running load."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def mark(self) -> Mark:
        """The counts since the last mark. Raises BenchError when the load has ended in trouble."""
        self._write(b"mark\n")
        answer = await self._answer("mark", _ANSWER_SECONDS)
        del answer["event"]
        return Mark(**answer)

    async def begin(self, job: Job) -> None:
        """Returns when all of the load runs."""
        self._write(job.line())
        await self._answer("ready", _READY_SECONDS)

    def _write(self, line: bytes) -> None:
        if self._process.stdin is None:
            raise AssertionError("the generator was started with a pipe")
        self._process.stdin.write(line)

    async def _answer(self, event: str, seconds: float) -> dict[str, Any]:
        if self._process.stdout is None:
            raise AssertionError("the generator was started with a pipe")
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise BenchError(f"the load generator did not say {event!r} within {seconds:.0f} s") from error
        answer: dict[str, Any] = json.loads(line or b'{"event": "failed", "reason": "it ended"}')
        if answer["event"] != event:
            raise BenchError(f"the load generator: {answer.get('reason', answer)}")
        return answer


@asynccontextmanager
async def running(job: Job) -> AsyncIterator[Generator]:
    """The load of a job, ended when left. Raises BenchError when it does not come up."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES
    )
    try:
        generator = Generator(process)
        await generator.begin(job)
        yield generator
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def build() -> None:
    """Builds the program from its source. Raises BenchError where there is no Go."""
    go = shutil.which("go")
    if go is None:
        raise BenchError(
            "The load generator is written in Go, and there is no `go` on PATH. Install Go 1.26 or later (go.dev), "
            "or put a generator built elsewhere with `go build ./bench/loadgen` at build/loadgen and pass --built."
        )
    PROGRAM.parent.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        go, "build", "-trimpath", "-o", PROGRAM, ".", cwd=SOURCE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_BUILD_SECONDS):
            told, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise BenchError(f"the load generator was not built within {_BUILD_SECONDS:.0f} s") from error
    if process.returncode != 0:
        raise BenchError(f"the load generator cannot be built:\n{told.decode(errors='replace')}")
