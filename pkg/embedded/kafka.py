"""The Kafka-compatible broker under the supervisor, for development. Its limits: docs/architecture/embedded.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pkg.embedded.binaries import KAFKA, Binary, find
from pkg.embedded.ports import Ports
from pkg.embedded.probes import kafka_answers
from pkg.embedded.processes import Command, listens

HOST = "127.0.0.1"


class Kafka:
    """One broker on loopback."""

    name = "kafka"
    start_timeout = 20.0
    stop_timeout = 10.0

    def __init__(self, data_dir: Path, ports: Ports, preferred: int | None, environment: Mapping[str, str]) -> None:
        self._data = data_dir / "kafka"
        self._ports = ports
        self._environment = environment
        self._preferred = preferred
        self.port = 0
        self._binary: Binary | None = None

    @property
    def version(self) -> str:
        return self._binary.version if self._binary else ""

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def ports(self) -> dict[str, int]:
        return {"kafka": self.port}

    def prepare(self, again: bool) -> Command:
        self._binary = self._binary or find(KAFKA, self._environment)
        self._data.mkdir(mode=0o700, exist_ok=True)
        # Left behind by kill -9 it names a pid, perhaps another process by now, and the broker would not start.
        (self._data / "noida.control.json").unlink(missing_ok=True)
        if not again:
            if self.port:
                self._ports.drop(self.port)
            self.port = self._ports.claim(self._preferred, HOST)
            self._preferred = None
        argv = [str(self._binary.path), "start", "--only", "kafka", "--kafka-port", str(self.port)]
        return Command([*argv, "--host", HOST, "--data-dir", str(self._data)], cwd=self._data)

    def ready(self, pid: int) -> bool:
        return listens(pid, self.port) is not False and kafka_answers(HOST, self.port)
