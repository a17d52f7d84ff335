"""Directories of tests that were killed go, those of tests that run stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pkg.testing.directories import data_directory, remove_left_behind


def test_what_a_killed_test_left_behind_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"oofgg-{ended.pid}-abc", f"oofgg-{os.getpid()}-abc", "oofgg-ports-0", "others"]
    for name in names:
        (tmp_path / name / "data").mkdir(parents=True)
    remove_left_behind(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_a_directory_can_be_passed_through_by_others_and_not_read() -> None:
    made = data_directory()
    try:
        assert made.stat().st_mode & 0o777 == 0o711
        assert len(str(made)) < 60
    finally:
        made.rmdir()
