"""CPU and memory of processes and of the machine, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Seconds of CPU since the start of each process, of the bench with all that it started, and of the machine."""

    at: float
    processes: Mapping[str, float]
    ours: float
    machine: float


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU between two snapshots. All in cores, so 1.0 is one core without a pause."""

    seconds: float
    cores: Mapping[str, float]
    other: float
    """What the machine did besides the bench and all that it started, and what its host took from it."""

    def core_seconds(self, *names: str) -> float:
        """Seconds of CPU of these processes together."""
        return self.seconds * sum(self.cores[name] for name in names)


def snapshot(pids: Mapping[str, int]) -> Snapshot:
    """The CPU used so far. Raises psutil.NoSuchProcess when a process is gone."""
    processes = {name: cpu_seconds(pid) for name, pid in pids.items()}
    return Snapshot(time.monotonic(), processes, cpu_seconds(os.getpid()), machine_seconds())


def usage(before: Snapshot, after: Snapshot) -> Usage:
    """What happened between two snapshots; a process that is in the second alone has started since."""
    seconds = after.at - before.at
    cores = {name: (spent - before.processes.get(name, 0.0)) / seconds for name, spent in after.processes.items()}
    other = (after.machine - before.machine - (after.ours - before.ours)) / seconds
    return Usage(seconds, cores, max(other, 0.0))


def cpu_seconds(pid: int) -> float:
    """CPU of a process with its threads and all its children: PostgreSQL has one for each connection."""
    process = psutil.Process(pid)
    own = process.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:  # it has just ended, and its parent counts it from now on
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def machine_seconds() -> float:
    """CPU of everything on this machine, interrupts and what its host stole included."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def megabytes(pid: int) -> float:
    """Proportional set size of a process and its children: what several share is counted once."""
    process = psutil.Process(pid)
    return sum(member.memory_full_info().pss for member in (process, *process.children(recursive=True))) / 1e6
