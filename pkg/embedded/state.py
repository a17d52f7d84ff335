"""What a data directory remembers: who holds it, ports, endpoints, pids, secrets."""

from __future__ import annotations

import base64
import errno
import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import Any

from pkg.embedded.errors import AlreadyRunning, EmbeddedError

STATE_FILE = "state.json"


def write_private(path: Path, content: str) -> None:
    """Replaces a file at once, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_directory(path: Path, mode: int) -> None:
    """Makes a directory, and those above it that are missing, with exactly this mode: the umask is set aside.

    A directory that exists is left as it is.
    """
    for directory in (*reversed(path.parents), path):
        if not directory.is_dir():
            directory.mkdir(exist_ok=True)
            directory.chmod(mode)


def read_state(data_dir: Path) -> dict[str, Any]:
    """The last state written in a data directory; empty when there is none or it is unreadable as JSON.

    Keys: `supervisor` (pid), `running` (bool), `ports` (name → port), `pids` (name → {pid, born, ready}), `endpoints`.
    """
    try:
        loaded = json.loads((data_dir / STATE_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


class DataDirectory:
    """A data directory held by this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def acquire(self) -> None:
        """Takes the directory, creating it.

        Raises AlreadyRunning when another live process has it, EmbeddedError when nothing can be written there.
        """
        try:
            self._acquire()
        except OSError as error:
            self.release()
            raise EmbeddedError(
                f"{self.path} cannot be the data directory: {error.strerror}"
                f"{f' ({error.filename})' if error.filename not in (None, str(self.path)) else ''}. "
                "Choose another one with --data-dir."
            ) from error

    def _acquire(self) -> None:
        make_directory(self.path, 0o711)  # a demoted PostgreSQL has to pass
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise AlreadyRunning(
                f"A platform is already running on {self.path} (supervisor pid {holder}). "
                "Stop it, or choose another data directory with --data-dir."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock = descriptor
        for name in ("logs", "secrets"):
            directory = self.path / name
            directory.mkdir(mode=0o700, exist_ok=True)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def read(self) -> dict[str, Any]:
        return read_state(self.path)

    def write(self, state: dict[str, Any]) -> None:
        write_private(self.path / STATE_FILE, json.dumps(state, indent=1))

    def log(self, name: str) -> Path:
        """Where a program's output goes."""
        return self.path / "logs" / f"{name}.log"

    def secret(self, name: str) -> Path:
        """A file with 32 random bytes in base64, made at first use and the same from then on."""
        path = self.path / "secrets" / name
        if not path.exists():
            write_private(path, base64.b64encode(secrets.token_bytes(32)).decode())
        return path
