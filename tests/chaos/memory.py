"""Memory of processes over time, and whether it grows.

A process is judged by the median of the first and of the last third of its samples, once it is warm: after a quarter of
its life, and at most five minutes. It may have grown by SLACK_BYTES and a tenth: what a cache or the log of a session
(10,000 events) fills once. A process that was started again begins anew; one that lived too shortly is not judged.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

MIB: Final = 1024 * 1024
SLACK_BYTES: Final = 24 * MIB
SLACK_SHARE: Final = 0.1
_WARM_SHARE: Final = 0.25
_WARM_SECONDS: Final = 300.0
_FEWEST_SAMPLES: Final = 9


@dataclass(frozen=True)
class Growth:
    """How the memory of one process went. Bytes."""

    name: str
    pid: int
    seconds: float
    """How long it was watched."""
    first: float
    """Median of the first third after warming up."""
    last: float
    most: int
    judged: bool
    """Whether it lived long enough."""

    @property
    def allowed(self) -> float:
        """What `last` may be."""
        return self.first * (1 + SLACK_SHARE) + SLACK_BYTES

    @property
    def grows(self) -> bool:
        """Whether it has grown by more than it may."""
        return self.judged and self.last > self.allowed


def growth(name: str, pid: int, samples: Sequence[tuple[float, int]]) -> Growth:
    """Judges samples of (seconds, bytes), of which there is at least one."""
    began, ended = samples[0][0], samples[-1][0]
    warm = began + min(_WARM_SECONDS, (ended - began) * _WARM_SHARE)
    after = [size for at, size in samples if at >= warm]
    third = max(1, len(after) // 3)
    return Growth(
        name,
        pid,
        ended - began,
        statistics.median(after[:third]),
        statistics.median(after[-third:]),
        max(size for _, size in samples),
        len(after) >= _FEWEST_SAMPLES,
    )


@dataclass
class Memory:
    """Samples by process, which is a name and a pid: one every few seconds of a run."""

    samples: dict[tuple[str, int], list[tuple[float, int]]] = field(default_factory=dict)

    def sample(self, now: float, processes: Mapping[str, psutil.Process]) -> None:
        """Takes one sample of each that lives."""
        for name, process in processes.items():
            if size := tree_bytes(process):
                self.samples.setdefault((name, process.pid), []).append((now, size))

    def judge(self) -> list[Growth]:
        """Every process there was, by name and age."""
        return [growth(name, pid, samples) for (name, pid), samples in sorted(self.samples.items())]


def tree_bytes(process: psutil.Process) -> int:
    """What a process and its children have in memory, each shared page counted once; 0 when it has gone."""
    try:
        return sum(_bytes(each) for each in (process, *process.children(recursive=True)))
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def _bytes(process: psutil.Process) -> int:
    try:
        found = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{process.pid}/smaps_rollup").read_text(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):  # it has gone, or this is no Linux
        found = None
    return int(found[1]) * 1024 if found else int(process.memory_info().rss)
