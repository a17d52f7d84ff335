"""Where tests keep the data of backends: in memory where there is room, for it need not survive a power cut."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (each directory in it is made by mkdtemp)
# A container gets 64 MB by default; what all tests keep at the same time is about 1 GB.
_ENOUGH_BYTES: Final = 3 << 30
_PREFIX: Final = "oofgg-"


def data_directory() -> Path:
    """Makes a directory that is short enough for sockets. The caller removes it.

    Users other than its owner may pass through it, as a PostgreSQL that was started by root has to. With TMPDIR in the
    environment it is made there.
    """
    place = _memory()
    directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
    directory.chmod(0o711)
    return directory


@cache
def _memory() -> Path | None:
    if "TMPDIR" in os.environ:
        return None
    try:
        remove_left_behind(_MEMORY)
        is_roomy = shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
    except OSError:
        return None
    return _MEMORY if is_roomy and os.access(_MEMORY, os.W_OK) else None


def remove_left_behind(place: Path) -> None:
    """Removes the directories of tests that were killed: memory comes back only when somebody does."""
    for directory in place.glob(f"{_PREFIX}*-*"):
        pid = directory.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not _is_alive(int(pid)):
            shutil.rmtree(directory, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
