"""The bots as a child process, as an operator runs them."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.processes import ROOT

_BEGIN_SECONDS: Final = 90.0
_PROGRESS: Final = re.compile(r"^ *\d+ s  \d+/\d+ connected")
_LINES: Final = 200
_KILL_SECONDS: Final = 10.0


@dataclass
class Outcome:
    """How a run of the bots has ended."""

    exit_code: int
    report: dict[str, Any]
    output: str

    @property
    def outage(self) -> float:
        """Seconds: the longest wait for a RELIABLE command to come back to its sender."""
        return float(self.report["outage"]["seconds"])

    @property
    def figures(self) -> str:
        """What is worth a line."""
        report = self.report
        sent = sum(report["sent"].values())
        return (
            f"exit {self.exit_code}, {sent} sent, outage {self.outage:.2f} s, p99 {report['latency']['p99']:.3f} s, "
            f"{report['resumes']} resumes, {report['log_resets']} log resets, {report['breaches'] or 'nothing'} broken"
        )


class Bots:
    """One run. Start it, wait until it plays, do something to the platform, `end` it."""

    def __init__(self, process: Process, report: Path) -> None:
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._process = process
        self._report = report
        self._playing = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, target: str, report: Path, arguments: Sequence[str]) -> Bots:
        """Starts them; returns without waiting."""
        report.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services", "bots", "--target", target, "--report", str(report), *arguments,
            cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT,
        )  # fmt: skip
        return cls(process, report)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        """The last of what they have said."""
        return "\n".join(self.lines)

    @property
    def ended(self) -> bool:
        """Whether they have stopped."""
        return self._reading.done()

    @property
    def progress(self) -> str:
        """Their last line of progress."""
        return next((line.strip() for line in reversed(self.lines) if _PROGRESS.match(line)), "")

    async def playing(self) -> None:
        """Waits until all of them play. Raises AssertionError when that does not happen."""
        waiting = asyncio.create_task(self._playing.wait())
        await asyncio.wait({waiting, self._reading}, timeout=_BEGIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert self._playing.is_set(), f"the bots do not begin:\n{self.output}"

    async def end(self, within: float) -> Outcome:
        """Waits for their verdict. Raises AssertionError when there is none."""
        try:
            async with asyncio.timeout(within):
                await self._reading
                code = await self._process.wait()
        except TimeoutError:
            raise AssertionError(f"the bots have no verdict after {within:.0f} s:\n{self.output}") from None
        assert self._report.exists(), f"the bots left no report, exit {code}:\n{self.output}"
        return Outcome(code, json.loads(self._report.read_text()), self.output)

    async def close(self) -> None:
        """Ends them, whatever they do."""
        if self._process.returncode is None:
            self._process.kill()
        async with asyncio.timeout(_KILL_SECONDS):
            await self._process.wait()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.lines.append(line.decode(errors="replace").rstrip())
            if _PROGRESS.match(self.lines[-1]):
                self._playing.set()
