"""`make demo` as a user sees it: alone, with every process killed in the middle, and when it cannot work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkg.testing.directories import data_directory

ROOT = Path(__file__).parents[2]
DEADLINE = 120.0


class Demo:
    """A running demonstration: its output line by line, its processes by name."""

    def __init__(self, data_dir: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services", "demo", "--data-dir", str(data_dir), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def see(self, text: str) -> None:
        """Waits for a text to be shown."""
        deadline = time.monotonic() + DEADLINE
        while text not in self.output:
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def pids(self) -> dict[str, int]:
        state = json.loads((self.data_dir / "state.json").read_text())
        return {name: process["pid"] for name, process in state["pids"].items()}

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        """Waits for the end; the exit code."""
        try:
            code = self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            pytest.fail(f"the demo did not end\n{self.output}")
        self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code


@pytest.fixture
def data_dir() -> Iterator[Path]:
    directory = data_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def assert_complete(demo: Demo) -> None:
    output = demo.output
    assert "All of it worked" in output
    assert "wins; both stated the same result" in output
    assert "rank  player" in output
    assert "result_state: RESULT_STATE_AGREED" in output


def test_the_demo_shows_a_whole_match_and_leaves_nothing_running(data_dir: Path) -> None:
    # With a proxy that nobody should ask: nothing of ours goes through one on this machine.
    dead = dict.fromkeys(("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1")
    demo = Demo(data_dir, "--pace", "0.05", environment={**dead, "no_proxy": "", "NO_PROXY": ""})
    demo.see("round 1")
    pids = demo.pids()
    assert set(pids) == {"postgres", "valkey", "kafka", "services", "envoy"}
    assert demo.end() == 0, demo.output
    assert_complete(demo)
    assert [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.parametrize("name", ["postgres", "valkey", "kafka", "services", "envoy"])
def test_killing_a_process_in_the_middle_does_not_spoil_the_match(data_dir: Path, name: str) -> None:
    demo = Demo(data_dir, "--pace", "0.6")
    demo.see("round 1")
    killed = demo.pids()[name]
    os.kill(killed, signal.SIGKILL)
    assert demo.end() == 0, demo.output
    assert_complete(demo)
    assert f"{name}" in demo.output
    assert "ready again" in demo.output, "the supervisor did not start it again"


def test_kept_it_runs_until_it_is_told_to_stop(data_dir: Path) -> None:
    demo = Demo(data_dir, "--pace", "0.01", "--keep")
    demo.see("Ctrl-C stops it")
    assert all(Path(f"/proc/{pid}").exists() for pid in demo.pids().values())
    pids = demo.pids()
    demo.signal(signal.SIGINT)
    assert demo.end() == 0, demo.output
    assert [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_stops_in_the_middle_of_the_match_however_impatient_the_wish(data_dir: Path, number: int) -> None:
    demo = Demo(data_dir, "--pace", "0.6")
    demo.see("They play")
    pids = demo.pids()
    demo.signal(number)
    demo.see("stopping")
    for _ in range(3):
        demo.signal(number)
        time.sleep(0.1)
    assert demo.end() == 130, demo.output
    assert "Traceback" not in demo.output
    assert [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()] == []


def test_a_backend_that_cannot_run_is_named_with_the_variable_to_set(data_dir: Path) -> None:
    demo = Demo(data_dir, environment={"OOFGG_VALKEY_BIN": "/nowhere/valkey-server"})
    assert demo.end() == 1
    assert "FAILED while: Starting the platform" in demo.output
    assert "OOFGG_VALKEY_BIN" in demo.output
