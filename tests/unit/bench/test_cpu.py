"""CPU of processes, from /proc."""

from __future__ import annotations

import os
import subprocess
import sys

from bench.cpu import cpu_seconds, machine_seconds, megabytes

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN!r}], check=True)
alive = subprocess.Popen([sys.executable, "-c", {BURN!r} + "print('done', flush=True)\\nimport sys\\nsys.stdin.read()"],
                         stdin=subprocess.PIPE)
sys.stdin.read()
alive.communicate()
"""


def test_children_count_those_that_have_ended_too() -> None:
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        assert 0.55 <= cpu_seconds(process.pid) < 20
        assert megabytes(process.pid) > 1
    finally:
        process.communicate(timeout=60)
    assert cpu_seconds(os.getpid()) >= 0.55, "it is ours now"


def test_the_machine_did_at_least_what_we_did() -> None:
    assert machine_seconds() >= cpu_seconds(os.getpid()) * 0.5
