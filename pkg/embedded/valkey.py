"""Valkey under the supervisor: everything live, on a Unix socket, with an append-only file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pkg.embedded.binaries import VALKEY, Binary, find
from pkg.embedded.probes import valkey_process_id
from pkg.embedded.processes import Command


class Valkey:
    """Persistent, and refusing nobody on its socket: the directory above it is closed to others."""

    name = "valkey"
    start_timeout = 20.0
    stop_timeout = 10.0

    def __init__(self, data_dir: Path, run_dir: Path, environment: Mapping[str, str]) -> None:
        self._data = data_dir / "valkey"
        self._environment = environment
        self.socket = run_dir / "valkey.sock"
        self._binary: Binary | None = None

    @property
    def version(self) -> str:
        return self._binary.version if self._binary else ""

    @property
    def url(self) -> str:
        return f"unix://{self.socket}?db=0"

    def ports(self) -> dict[str, int]:
        return {}

    def prepare(self, again: bool) -> Command:
        self._binary = self._binary or find(VALKEY, self._environment)
        self._data.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "databases": "16",
            # Otherwise payloads of 16 KB and more are not counted and client-output-buffer-limit never drops anyone.
            "min-string-size-avoid-copy-reply": "0",
            "daemonize": "no",
        }
        argv = [str(self._binary.path)]
        for key, value in options.items():
            argv += [f"--{key}", value]
        return Command(argv, cwd=self._data)

    def ready(self, pid: int) -> bool:
        return valkey_process_id(self.socket) == pid
