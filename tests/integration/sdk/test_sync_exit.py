"""How a program that uses the blocking SDK ends: as whoever wrote it, or whoever plays it, wants."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.integration.sdk.script import SESSION, Platform, StreamScript

SDK = Path(__file__).parents[3] / "sdk" / "src"
PATIENCE = 30.0

FORGETS_TO_CLOSE = """
import sys, oofgg.sync
client = oofgg.sync.Client(sys.argv[1]).__enter__()
client.login("ada", "secret")
session = client.play(sys.argv[2]).__enter__()
session.send("x")
print("ready")
"""
CLOSES = """
import gc, sys, threading, oofgg.sync
for _ in range(3):
    with oofgg.sync.Client(sys.argv[1]) as client:
        client.login("ada", "secret")
        with client.play(sys.argv[2]) as session:
            session.poll()
    del client, session
gc.collect()
print("ready")
left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
assert "oofgg" not in left, left
assert len(left) <= 1, left  # grpc's own, of which there is one
"""
# A shell starts what runs in the background with SIGINT ignored, and children inherit that.
LISTENS_TO_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
IS_INTERRUPTED = """
import sys, oofgg.sync
with oofgg.sync.Client(sys.argv[1]) as client:
    client.login("ada", "secret")
    with client.play(sys.argv[2]) as session:
        session.send("never acknowledged")
        print("ready", flush=True)
        WAIT
"""


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    async def quiet(stream: StreamScript) -> None:
        await stream.accept()
        await stream.stay()

    async with Platform().serve() as serving:
        serving.sessions.scripts = [quiet]
        yield serving


@asynccontextmanager
async def running(program: str, platform: Platform) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", LISTENS_TO_CTRL_C + program, platform.target, SESSION),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SDK)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("program", [FORGETS_TO_CLOSE, CLOSES], ids=["forgets to close", "closes"])
async def test_it_ends(platform: Platform, program: str) -> None:
    async with running(program, platform) as process, asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert (process.returncode, out.decode(), err.decode()) == (0, "ready\n", "")


@pytest.mark.parametrize(
    "wait", ["session.wait(3600)", "next(session)", "session.flush(3600)", "__import__('time').sleep(3600)"]
)
async def test_it_is_interrupted(platform: Platform, wait: str) -> None:
    program = IS_INTERRUPTED.replace("WAIT", wait)
    async with running(program, platform) as process, asyncio.timeout(PATIENCE):
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == -signal.SIGINT
    said = err.decode()
    assert said.startswith("Traceback"), said
    assert said.rstrip().endswith("KeyboardInterrupt"), said
    assert said.count("Traceback") == 1, said
