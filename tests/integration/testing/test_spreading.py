"""Tests that share something costly run in one process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILES = ("tests/unit/edge/test_codec.py", "tests/unit/edge/test_endpoints.py", "tests/unit/registry/test_process.py")
LINE = re.compile(r"\[(gw\d)\].* (tests/\S+?)::")


def test_all_tests_of_a_file_run_in_one_process_and_files_are_spread() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-vv", "-n", "2", "--no-loadscope-reorder", "-p", "no:cacheprovider", *FILES],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout
    processes: defaultdict[str, set[str]] = defaultdict(set)
    for process, file in LINE.findall(told.stdout):
        processes[file].add(process)
    assert set(processes) == set(FILES)
    assert all(len(names) == 1 for names in processes.values()), processes
    assert len(set.union(*processes.values())) == 2
