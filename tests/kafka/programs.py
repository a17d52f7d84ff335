"""Processes that tests kill, pause and start again."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from pkg.embedded.processes import Command, environment_of, wrapped
from pkg.testing.addresses import reserve_address
from pkg.testing.backends import ROOT

_END_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.05


def environment(node: str, postgres_url: str, redis_url: str, kafka_bootstrap: str) -> dict[str, str]:
    """The settings of a process of services that calls no other."""
    nowhere = reserve_address()
    return {
        "OOFGG_ENVIRONMENT": "development",
        "OOFGG_NODE": node,
        "OOFGG_POSTGRES_URL": postgres_url,
        "OOFGG_REDIS_URL": redis_url,
        "OOFGG_KAFKA_BOOTSTRAP": kafka_bootstrap,
        "OOFGG_GRPC_ADDRESS": reserve_address(),
        "OOFGG_OPS_ADDRESS": reserve_address(),
        "OOFGG_AUTH_ADDRESS": nowhere,
        "OOFGG_CATALOG_ADDRESS": nowhere,
        "OOFGG_JWKS_URL": f"http://{nowhere}/jwks.json",
        "OOFGG_MASTER_KEY": base64.b64encode(b"k" * 32).decode(),
        "OOFGG_SERVICE_SECRET": "s" * 32,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk" / "src")]),
    }


class Program:
    """A command of `python -m tests.kafka.dying`, one process at a time. It ends with the tests."""

    def __init__(self, command: list[str], variables: Mapping[str, str], log: Path) -> None:
        self._command = command
        self._variables = variables
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, step: str = "", times: int = 0, how: signal.Signals = signal.SIGKILL) -> None:
        """Starts it; with a step, to die there, or to stop there until it is resumed."""
        python = sys.executable
        argv = [python, "-m", "tests.kafka.dying", how.name, step, str(times), *self._command]
        command = Command(argv, self._variables, cwd=ROOT, stop_signal=signal.SIGKILL)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                wrapped(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment_of(command)
            )

    async def dead(self, within: float) -> None:
        """Waits until it was killed. Fails when it goes on, or ends in another way."""
        process = self._running()
        deadline = time.monotonic() + within
        while process.poll() is None:
            assert time.monotonic() < deadline, f"{self._command} lives on: {self.said()}"
            await asyncio.sleep(_POLL_SECONDS)
        assert process.returncode == -signal.SIGKILL, self.said()
        self._process = None

    def kill(self) -> None:
        """With SIGKILL, wherever it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_END_SECONDS)
            self._process = None

    def terminate(self) -> None:
        """In order: it is told, and ends by itself."""
        self._running().terminate()
        self._running().wait(_END_SECONDS)
        self._process = None

    async def paused(self, within: float) -> None:
        """Waits until it has stopped: nothing of it runs, its connections stay."""
        process = psutil.Process(self._running().pid)
        deadline = time.monotonic() + within
        while process.status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline, f"{self._command} goes on: {self.said()}"
            await asyncio.sleep(_POLL_SECONDS)

    def resume(self) -> None:
        """Lets it go on in the belief that no time has passed."""
        self._running().send_signal(signal.SIGCONT)

    def said(self) -> str:
        """The end of what it logged."""
        return self._log.read_text()[-4_000:]

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process
