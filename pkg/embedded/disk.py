"""Whether a failure has the disk behind it."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Final

from pkg.embedded.errors import DiskFull, EmbeddedError

# With less than this left PostgreSQL cannot begin its next piece of log, and ends itself.
_FULL_BYTES: Final = 1 << 24
_MEGABYTE: Final = 1 << 20
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


def explained(error: Exception, *places: Path) -> EmbeddedError:
    """The error for the person at the terminal: DiskFull where no room is left in one of the places."""
    full = next((place for place in places if _free(place) < _FULL_BYTES), None)
    if full is None and isinstance(error, OSError) and error.errno in _NO_ROOM:
        full = places[0]  # a quota: the file system itself may have room
    if full is not None:
        return DiskFull(
            f"The disk that holds {full} is full: {_free(full) // _MEGABYTE} MB are left. Make room there and start "
            f"the platform again; all data is kept.\n{error}"
        )
    if isinstance(error, EmbeddedError):
        return error
    return EmbeddedError(f"The platform cannot go on: {error}")


def _free(place: Path) -> int:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return _FULL_BYTES
