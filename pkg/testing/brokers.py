"""Kafka brokers that tests start, crash and stop: the embedded one, and a node of Apache Kafka.

Apache Kafka runs from jars in build/tools/kafka, which `make kafka` fetches. It is one node, controller and broker, set
up to start in seconds on a small machine; nothing else of its behaviour is changed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from pkg.embedded import Options, Platform, read_state
from pkg.embedded.ports import Ports
from pkg.embedded.probes import kafka_answers
from pkg.embedded.processes import Command, environment_of, run, wrapped

TOOLS: Final = Path(__file__).parents[2] / "build" / "tools"
JARS: Final = TOOLS / "kafka"
_HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05
_CLUSTER: Final = "b29mZ2ctdGVzdHMtMDAwMQ"
_JAVA: Final = ("java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
_SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # Services make their topics, with the partitions they need.
    "auto.create.topics.enable": "false",
    # One broker: what Kafka keeps for itself cannot have three copies.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    # Quick to start, and to come back: a broker that was killed is not waited for.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "broker.heartbeat.interval.ms": "200",
    "broker.session.timeout.ms": "1000",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


class Broker(Protocol):
    """A broker of a test's own. Its address and its data outlive its process."""

    @property
    def bootstrap(self) -> str:
        """host:port."""

    def start(self) -> None:
        """Starts it, again after `stop`; returns when it answers."""

    def stop(self) -> None:
        """Ends it in order."""

    async def crash(self) -> None:
        """Ends it with SIGKILL; returns when another process answers in its place."""


def kafka_missing() -> str:
    """Why there is no Apache Kafka here; empty where there is."""
    if any(JARS.glob("kafka_*.jar")):
        return ""
    missing = TOOLS / "kafka.missing"
    return missing.read_text().strip() if missing.is_file() else "Apache Kafka: run `make kafka` first"


class EmbeddedBroker:
    """The broker of the embedded platform, under its supervisor. What it acknowledged last dies with it."""

    def __init__(self, directory: Path) -> None:
        self._options = Options(directory, backends=("kafka",), environment={"PATH": os.environ["PATH"]})
        self._platform = Platform(self._options)
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        return self._bootstrap

    def start(self) -> None:
        self._platform = Platform(self._options)
        self._platform.start()
        told = self._platform.endpoints.kafka_bootstrap
        if self._bootstrap not in ("", told):
            raise AssertionError(f"the broker moved from {self._bootstrap} to {told}")
        self._bootstrap = told

    def stop(self) -> None:
        self._platform.stop()

    async def crash(self) -> None:
        pid = self._platform.pids["kafka"]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            told = read_state(self._platform.data_dir)["pids"].get("kafka", {})
            if told.get("ready") and told["pid"] != pid:
                return
            if time.monotonic() > deadline:
                raise TimeoutError("the broker does not come back")
            await asyncio.sleep(_POLL_SECONDS)


class ApacheBroker:
    """A node of Apache Kafka. Its process ends with the thread that started it: with the tests, however they end."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        listeners: str = "",
        *,
        joins: ApacheBroker | None = None,
    ) -> None:
        """`settings` go beyond or over those of a plain node; `listeners` beside the plain one, as NAME://host:port.

        A node that `joins` another is the second broker of its cluster, and no controller.
        """
        self._directory = directory
        self._ports = Ports()
        self._port, self._controller = self._ports.claim(), self._ports.claim()
        controller = joins._controller if joins else self._controller
        doors = "" if joins else f",CONTROLLER://{_HOST}:{self._controller}"
        alone = {"process.roles": "broker", "node.id": "2"} if joins else {}
        plain = f"PLAINTEXT://{_HOST}:{self._port}"
        offered = ",".join(filter(None, [plain, listeners]))
        self._settings = {
            **_SETTINGS,
            **alone,
            "listeners": f"{offered}{doors}",
            "advertised.listeners": offered,
            "listener.security.protocol.map": (
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"
            ),
            "controller.quorum.voters": f"1@{_HOST}:{controller}",
            "log.dirs": str(directory / "data"),
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"{_HOST}:{self._port}"

    @property
    def log(self) -> Path:
        """What the node prints."""
        return self._directory / "kafka.log"

    def start(self) -> None:
        self._spawn()
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers(deadline):
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
            self._process = None

    async def crash(self) -> None:
        self.kill()
        # In this thread: with the thread that starts it, it ends.
        self._spawn()
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers(deadline):
            await asyncio.sleep(_POLL_SECONDS)

    def _spawn(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        properties = self._directory / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        if not (self._directory / "data" / "meta.properties").exists():
            made = run(self._java("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties)), 60.0)
            if made.returncode:
                raise AssertionError(f"Kafka's storage cannot be made: {made.stdout}")
        command = self._java("kafka.Kafka", str(properties))
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                wrapped(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment_of(command)
            )

    def _java(self, program: str, *arguments: str) -> Command:
        argv = [*_JAVA, "-cp", f"{JARS}/*", program, *arguments]
        return Command(argv, cwd=self._directory, stop_signal=signal.SIGKILL)

    def _answers(self, deadline: float) -> bool:
        if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
            self.kill()
            raise AssertionError(f"Apache Kafka does not answer: {self.log.read_text()[-3_000:]}")
        return kafka_answers(_HOST, self._port)
