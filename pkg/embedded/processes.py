"""Processes: spawning them bound to the supervisor's life, recognising them, ending them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL")


@dataclass(frozen=True)
class User:
    """Whom a process runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """How to start a program."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to PATH, HOME and the locale; nothing else of the supervisor's environment is handed on."""
    cwd: Path | None = None
    user: User | None = None
    stop_signal: signal.Signals = signal.SIGTERM


class Lifeline:
    """A pipe whose closing tells watchers that the supervisor is gone, where the kernel does not tell by itself."""

    def __init__(self, force: bool = False) -> None:
        self.force = force
        self._reader, self._writer = os.pipe()

    @property
    def reader(self) -> int:
        return self._reader

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


def wrapped(command: Command, lifeline: Lifeline | None = None) -> list[str]:
    """The argument vector that runs `command` through the launcher."""
    argv = [sys.executable, "-I", "-S", str(LAUNCHER)]
    argv += ["--signal", str(int(command.stop_signal)), "--parent", str(os.getpid())]
    if command.user is not None:
        argv += ["--groups", "", "--gid", str(command.user.gid), "--uid", str(command.user.uid)]
    if command.cwd is not None:
        argv += ["--cwd", str(command.cwd)]
    if lifeline is not None:
        argv += ["--pipe", str(lifeline.reader)]
        if lifeline.force:
            argv += ["--force-pipe", "1"]
    return [*argv, "--", *command.argv]


def environment_of(command: Command) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**inherited, **command.environment}


def spawn(command: Command, log: Path, lifeline: Lifeline) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own. It gets its stop signal when the *calling thread* or process ends."""
    with log.open("ab") as output:
        return subprocess.Popen(
            wrapped(command, lifeline),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment_of(command),
            pass_fds=(lifeline.reader,),
            start_new_session=True,
        )


def run(command: Command, timeout: float, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a short program to its end. Raises subprocess.TimeoutExpired after `timeout` seconds."""
    return subprocess.run(
        wrapped(command),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment_of(command),
        timeout=timeout,
        check=False,
    )


def birth(pid: int) -> str | None:
    """When a process started, in a form that only compares; None when there is no such process.

    Together with the pid it names one process for good: pids are used again.
    """
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else fields[19]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None


def end_leftover(pid: int, born: str, patience: float) -> None:
    """Waits until a process of an earlier supervisor is gone, and kills it after `patience` seconds."""
    deadline = time.monotonic() + patience
    while birth(pid) == born:
        if time.monotonic() > deadline:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
        time.sleep(0.02)


def listens(pid: int, port: int) -> bool | None:
    """Whether every TCP listener on `port` belongs to process `pid`. None where the system does not tell."""
    if sys.platform != "linux":
        return None
    inodes: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            columns = line.split()
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{columns[9]}]")
    if not inodes:
        return False
    owned: set[str] = set()
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                owned.add(os.readlink(entry.path))
            except FileNotFoundError:
                continue
    except FileNotFoundError:
        return False
    except PermissionError:
        return None
    return inodes <= owned
