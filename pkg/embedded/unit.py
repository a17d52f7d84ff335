"""One supervised program: a thread that starts it, sees that it answers, and starts it again when it dies."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pkg.embedded.errors import EmbeddedError, StartFailed
from pkg.embedded.processes import Command, Lifeline, spawn

POLL_SECONDS = 0.02
FIRST_ATTEMPTS = 3
FIRST_PAUSE = 0.2
CRASHES_ALLOWED = 5
CRASH_WINDOW = 60.0
BACKOFF_FIRST, BACKOFF_MOST = 0.05, 5.0
LOG_LIMIT_BYTES = 32 * 1024 * 1024
LOG_CHECK_SECONDS = 30.0
TAIL_LINES = 15
LINE_CHARACTERS = 500


class Program(Protocol):
    """What a unit runs."""

    name: str

    @property
    def version(self) -> str:
        """Empty where there is none, or it is not known yet."""
        ...

    start_timeout: float
    """Seconds until it must answer."""
    stop_timeout: float
    """Seconds it gets to end by itself."""

    def prepare(self, again: bool) -> Command:
        """Makes ready and tells how to start it. `again`: others know its ports, keep them. Raises EmbeddedError."""
        ...

    def ports(self) -> dict[str, int]:
        """The TCP ports it uses, by name, for the state file."""
        ...

    def ready(self, pid: int) -> bool:
        """Whether it, and not another program in its place, answers. Called often; must not take long."""
        ...


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, long ones without their middle: the cause stands at an end."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join("    " + _shortened(line) for line in text.splitlines()[-lines:])


def _shortened(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return line
    half = LINE_CHARACTERS // 2
    return f"{line[:half]} … {line[-half:]}"


class Unit:
    """Runs a program until `stop`.

    All starts happen in the unit's own thread, which lives as long as its child: the kernel's signal at the parent's
    death is bound to the thread that spawned.
    """

    def __init__(
        self,
        program: Program,
        log: Path,
        lifeline: Lifeline,
        spawned: Callable[[], None],
        started: Callable[[Unit, float], None],
        failed: Callable[[Unit, EmbeddedError], None],
    ) -> None:
        self.program = program
        self.log = log
        self.pid: int | None = None
        self.is_ready = False
        self.restarts = 0
        self._lifeline = lifeline
        self._spawned = spawned
        self._started = started
        self._failed = failed
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=f"oofgg-{program.name}", daemon=True)
        self._command: Command | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the program: its stop signal, then SIGKILL when its time is over. Returns when it is gone."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._supervise()
        except EmbeddedError as error:
            self._failed(self, error)
        except OSError as error:
            self._failed(self, StartFailed(f"{self.program.name} cannot be started: {error}"))
        except Exception as error:  # a mistake of ours must not leave a program unwatched in silence
            trace = traceback.format_exc()
            self._failed(self, StartFailed(f"The supervisor of {self.program.name} failed: {error!r}\n{trace}"))
        finally:
            self._end()

    def _supervise(self) -> None:
        crashes: deque[float] = deque(maxlen=CRASHES_ALLOWED)
        attempts = 0
        been_ready = False
        backoff = BACKOFF_FIRST
        while not self._stopping.is_set():
            began = time.monotonic()
            process, problem = self._attempt(again=been_ready)
            if process is not None:
                been_ready = self.is_ready = True
                self._started(self, time.monotonic() - began)
                problem = self._watch(process)
            if self._stopping.is_set():
                return
            self._end()
            now = time.monotonic()
            if not been_ready:
                attempts += 1
                if attempts >= FIRST_ATTEMPTS:
                    raise self._given_up(f"did not start: {problem}")
                self._stopping.wait(FIRST_PAUSE * attempts)
                continue
            self.restarts += 1
            if len(crashes) == crashes.maxlen and now - crashes[0] < CRASH_WINDOW:
                raise self._given_up(f"{problem}; that was the {len(crashes) + 1}th time within {CRASH_WINDOW:.0f} s")
            if crashes and now - crashes[-1] > CRASH_WINDOW:
                backoff = BACKOFF_FIRST
            crashes.append(now)
            self._stopping.wait(backoff)
            backoff = min(BACKOFF_MOST, backoff * 2)

    def _attempt(self, again: bool) -> tuple[subprocess.Popen[bytes] | None, str]:
        """Starts the program and waits until it answers: the process, or why there is none that does."""
        self._command = self.program.prepare(again)
        if self._stopping.is_set():
            return None, "stopped"
        self._process = process = spawn(self._command, self.log, self._lifeline)
        self.is_ready = False
        self.pid = process.pid
        self._spawned()
        deadline = time.monotonic() + self.program.start_timeout
        while not self._stopping.is_set():
            status = process.poll()
            if status is not None:
                return None, ended(status)
            if self.program.ready(process.pid):
                return process, ""
            if time.monotonic() > deadline:
                return None, f"did not answer within {self.program.start_timeout:.0f} s"
            self._stopping.wait(POLL_SECONDS)
        return None, "stopped"

    def _watch(self, process: subprocess.Popen[bytes]) -> str:
        """Waits until the program dies or is to stop."""
        next_check = time.monotonic() + LOG_CHECK_SECONDS
        while not self._stopping.is_set():
            status = process.poll()
            if status is not None:
                return ended(status)
            if time.monotonic() > next_check:
                trim(self.log)
                next_check = time.monotonic() + LOG_CHECK_SECONDS
            self._stopping.wait(0.1)
        return "stopped"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(self._command.stop_signal if self._command else signal.SIGTERM)
            try:
                process.wait(self.program.stop_timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.pid, self.is_ready = None, False

    def _given_up(self, problem: str) -> StartFailed:
        return StartFailed(f"{self.program.name} {problem}. The end of {self.log}:\n{tail(self.log)}")


def ended(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def trim(log: Path) -> None:
    """Keeps one older copy of a log that grew beyond its limit. The writer appends, so cutting the file is enough."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        with log.open("r+b") as file:
            file.truncate(0)
