"""Services as an operator starts them, one process each, behind a real Envoy that edge tells where they are."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envoy.render import Address, Environment, Inputs, render
from pkg.embedded import Options, Platform
from pkg.embedded.binaries import ENVOY, find
from pkg.testing.addresses import reserve_address
from pkg.testing.directories import data_directory

ROOT = Path(__file__).parents[1]
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass
class Running:
    """A process of ours."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    grpc_address: str = ""
    ops_address: str = ""

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """As a crash does; returns when it is dead."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """As an operator does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} had to be killed:\n{self.tail()}") from None


@dataclass
class Stage:
    """Backends, processes and an Envoy; `close` ends all of them."""

    directory: Path = field(default_factory=data_directory)
    running: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.valkey = self._backends("valkey")
        self.others = self._backends("postgres", "kafka")
        self.xds_address = reserve_address()
        self.base: Running | None = None
        self.envoy_address, self.envoy_admin = reserve_address(), reserve_address()

    def _backends(self, *names: str) -> Platform:
        environment = {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_BOOTSTRAP"))}
        platform = Platform(Options(self.directory / names[0], backends=names, environment=environment))
        platform.start()
        return platform

    def restart_valkey(self, *, without_data: bool = False, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Takes Redis away and brings it back."""
        self.valkey.stop()
        if without_data:
            for path in (self.directory / "valkey").rglob("*"):
                if path.is_file() and ("aof" in path.name or path.suffix == ".rdb"):
                    path.unlink()
        meanwhile()
        before = self.valkey.endpoints
        self.valkey = self._backends("valkey")
        assert self.valkey.endpoints == before

    def serve(self, *services: str, node: str, **settings: str) -> Running:
        """Starts `python -m services serve …`; returns without waiting."""
        grpc_address, ops_address = reserve_address(), reserve_address()
        base_grpc = self.base.grpc_address if self.base else grpc_address
        base_ops = self.base.ops_address if self.base else ops_address
        environment = {key: value for key, value in os.environ.items() if not key.startswith("OOFGG_")} | {
            "OOFGG_ENVIRONMENT": "development",
            "OOFGG_DEVELOPER_SELF_SERVICE": "true",
            "OOFGG_NODE": node,
            "OOFGG_POSTGRES_URL": self.others.endpoints.postgres_url,
            "OOFGG_REDIS_URL": self.valkey.endpoints.redis_url,
            "OOFGG_KAFKA_BOOTSTRAP": self.others.endpoints.kafka_bootstrap,
            "OOFGG_GRPC_ADDRESS": grpc_address,
            "OOFGG_OPS_ADDRESS": ops_address,
            "OOFGG_XDS_ADDRESS": self.xds_address,
            "OOFGG_AUTH_ADDRESS": base_grpc,
            "OOFGG_CATALOG_ADDRESS": base_grpc,
            "OOFGG_JWKS_URL": f"http://{base_ops}/.well-known/jwks.json",
            "OOFGG_MASTER_KEY": base64.b64encode(b"k" * 32).decode(),
            "OOFGG_SERVICE_SECRET": "s" * 32,
            **{f"OOFGG_{name.upper()}": value for name, value in settings.items()},
        }
        log = self.directory / f"{node}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "services", "serve", *services],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.running.append(Running(node, process, log, grpc_address, ops_address))
        return self.running[-1]

    def open_envoy(self) -> Running:
        """Starts an Envoy; returns without waiting."""
        assert self.base is not None
        host, port = self.envoy_address.split(":")
        configuration = self.directory / "envoy.yaml"
        inputs = Inputs(
            environment=Environment.DEVELOPMENT,
            listener=Address(host, int(port)),
            admin_port=int(self.envoy_admin.split(":")[1]),
            jwks=Address.parse(self.base.ops_address),
            edge=Address.parse(self.xds_address),
            access_log=False,
            lift_limits_on_loopback=True,
        )
        configuration.write_text(render(inputs))
        log = self.directory / "envoy.log"
        argv = [str(find(ENVOY, {}).path), "-c", str(configuration), "--disable-hot-restart"]
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*argv, "--concurrency", "2", "-l", "warning"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.running.append(Running("envoy", process, log))
        return self.running[-1]

    def hosts(self, cluster: str) -> dict[str, bool]:
        """Addresses that Envoy has for a cluster, by its own word, and whether calls go there."""
        try:
            url = f"http://{self.envoy_admin}/clusters?format=json"
            document = json.loads(urllib.request.urlopen(url, timeout=5).read())
        except (OSError, ValueError):
            return {}
        found: dict[str, bool] = {}
        for status in document["cluster_statuses"]:
            for host in status.get("host_statuses", []) if status["name"] == cluster else []:
                health: dict[str, Any] = host["health_status"]
                socket = host["address"]["socket_address"]
                takes = not health.get("failed_active_health_check") and health.get("eds_health_status") == "HEALTHY"
                found[f"{socket['address']}:{socket['port_value']}"] = takes
        return found

    def healthy(self, cluster: str) -> set[str]:
        """Addresses that calls of a cluster go to."""
        return {address for address, takes in self.hosts(cluster).items() if takes}

    def close(self) -> None:
        """Ends everything; the processes all at once, for each takes a moment to drain."""
        for each in self.running:
            if each.process.poll() is None:
                each.send(signal.SIGTERM)
        try:
            for each in reversed(self.running):
                each.stop()
        finally:
            self.valkey.stop()
            self.others.stop()
            shutil.rmtree(self.directory, ignore_errors=True)


def ready(running: Running) -> bool:
    """Whether the process says that it can serve. Raises AssertionError when it has ended."""
    assert running.process.poll() is None, f"{running.name} ended:\n{running.tail()}"
    try:
        return bool(urllib.request.urlopen(f"http://{running.ops_address}/readyz", timeout=5).status == 200)
    except (urllib.error.HTTPError, OSError):
        return False


def wait_ready(*processes: Running) -> None:
    deadline = time.monotonic() + READY_SECONDS
    for each in processes:
        while not ready(each):
            assert time.monotonic() < deadline, f"{each.name} does not become ready:\n{each.tail()}"
            time.sleep(0.05)
