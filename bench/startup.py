"""Start-up and idle memory of the embedded platform: `python bench/startup.py [RUNS]`.

Prints seconds of the first start (empty data directory) and of warm starts until a call through Envoy is answered, and
the proportional set size (memory counted once where processes share it) of every process at rest.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from pkg.embedded import Platform
from services.up import Choices, options

REST_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """Runs the measurement; the exit code is 0."""
    runs = int(arguments[0]) if arguments else 3
    cold, warm = [], []
    memory: dict[str, float] = {}
    for number in range(runs):
        directory = Path(tempfile.mkdtemp(prefix="oofgg-bench-"))
        directory.chmod(0o711)
        try:
            cold.append(start(directory, memory if number == 0 else None))
            warm.append(start(directory))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        print(f"run {number + 1} of {runs}: first {cold[-1]:.2f} s, warm {warm[-1]:.2f} s", flush=True)
    print(f"\nfirst start  {statistics.median(cold):5.2f} s (bound 10)")
    print(f"warm start   {statistics.median(warm):5.2f} s (bound 5)")
    for name, megabytes in memory.items():
        print(f"{name:<12} {megabytes:5.0f} MB")
    print(f"{'all':<12} {sum(memory.values()):5.0f} MB (bound 350)")
    return 0


def start(directory: Path, memory: dict[str, float] | None = None) -> float:
    """Starts and stops a platform; returns the seconds of the start, and fills in the memory at rest."""
    platform = Platform(options(Choices(data_dir=directory)))
    began = time.monotonic()
    platform.start()
    seconds = time.monotonic() - began
    try:
        if memory is not None:
            time.sleep(REST_SECONDS)
            memory["supervisor"] = pss(psutil.Process(os.getpid()))
            for name, pid in platform.pids.items():
                process = psutil.Process(pid)
                memory[name] = sum(pss(member) for member in (process, *process.children(recursive=True)))
    finally:
        platform.stop()
    return seconds


def pss(process: psutil.Process) -> float:
    """Megabytes of a process, without its share of what others hold too."""
    return float(process.memory_full_info().pss) / 1e6


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
