"""Where tests keep the data of backends: in memory where there is room, for it need not survive a power cut."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  (each directory in it is made by mkdtemp)
# A container gets 64 MB by default; what all tests keep at the same time is about 1 GB.
_ENOUGH_BYTES: Final = 3 << 30


def data_directory(prefix: str = "oofgg-") -> Path:
    """Makes a directory that is short enough for sockets. The caller removes it.

    Users other than its owner may pass through it, as a PostgreSQL that was started by root has to. With TMPDIR in the
    environment it is made there.
    """
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=_memory()))
    directory.chmod(0o711)
    return directory


def _memory() -> Path | None:
    if "TMPDIR" in os.environ:
        return None
    try:
        is_roomy = shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
    except OSError:
        return None
    return _MEMORY if is_roomy and os.access(_MEMORY, os.W_OK) else None
