"""Further nodes that run sessions: processes of their own on the backends of a running platform."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.generator import ROOT, BenchError
from pkg.embedded import read_state
from pkg.embedded.ports import Ports
from pkg.embedded.processes import Command, Lifeline, spawn
from pkg.embedded.unit import tail

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_HTTP_SECONDS = 5.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever proxy the environment names
_HOST = "127.0.0.1"
_numbers = itertools.count(2)


@dataclass(slots=True)
class Node:
    """A process that runs sessions and nothing else."""

    name: str
    address: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def kill(self) -> None:
        """As a crash does; returns when it is dead."""
        self.process.kill()
        await asyncio.to_thread(self.process.wait, _STOP_SECONDS)

    async def stop(self) -> None:
        """As an operator does; returns when it is gone."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                await self.kill()


@asynccontextmanager
async def further_nodes(data_dir: Path, number: int, settings: Mapping[str, str]) -> AsyncIterator[list[Node]]:
    """Nodes of the platform on `data_dir`, known to its Envoy; ended when left. `settings` are further variables.

    Raises BenchError when one does not start.
    """
    lifeline, ports = Lifeline(), Ports()
    nodes: list[Node] = []
    try:
        nodes += [_start(data_dir, settings, lifeline, ports) for _ in range(number)]
        await _known(data_dir, nodes)
        yield nodes
    finally:
        await asyncio.gather(*(node.stop() for node in nodes))
        lifeline.close()
        ports.release()


def _start(data_dir: Path, settings: Mapping[str, str], lifeline: Lifeline, ports: Ports) -> Node:
    endpoints = read_state(data_dir)["endpoints"]
    address, ops = (f"{_HOST}:{ports.claim(None, _HOST)}" for _ in range(2))
    name = f"node-{next(_numbers)}-{os.getpid()}"
    environment = {
        "OOFGG_ENVIRONMENT": "development",
        "OOFGG_NODE": name,
        "OOFGG_GRPC_ADDRESS": address,
        "OOFGG_OPS_ADDRESS": ops,
        "OOFGG_POSTGRES_URL": endpoints["postgres_url"],
        "OOFGG_REDIS_URL": endpoints["redis_url"],
        "OOFGG_KAFKA_BOOTSTRAP": endpoints["kafka_bootstrap"],
        "OOFGG_XDS_ADDRESS": endpoints["services_xds"],
        "OOFGG_AUTH_ADDRESS": endpoints["services_grpc"],
        "OOFGG_CATALOG_ADDRESS": endpoints["services_grpc"],
        "OOFGG_JWKS_URL": f"http://{endpoints['services_ops']}/.well-known/jwks.json",
        "OOFGG_MASTER_KEY_FILE": str(data_dir / "secrets" / "master_key"),
        "OOFGG_SERVICE_SECRET_FILE": str(data_dir / "secrets" / "service_secret"),
        **settings,
    }
    command = Command([sys.executable, "-m", "services", "serve", "game"], environment, cwd=ROOT)
    process = spawn(command, _log(data_dir, name), lifeline)
    return Node(name, address, process)


async def _known(data_dir: Path, nodes: Sequence[Node]) -> None:
    """Waits until Envoy sends calls to all of them."""
    admin = read_state(data_dir)["endpoints"]["envoy_admin"]
    loop = asyncio.get_running_loop()
    until = loop.time() + _START_SECONDS
    while not {node.address for node in nodes} <= await asyncio.to_thread(_healthy, admin):
        ended = [node for node in nodes if node.process.poll() is not None]
        if ended or loop.time() > until:
            late = (ended or nodes)[0]
            raise BenchError(f"{late.name} does not start:\n{tail(_log(data_dir, late.name))}")
        await asyncio.sleep(_POLL_SECONDS)


def healthy(document: dict[str, Any]) -> set[str]:
    """Addresses of nodes that Envoy sends calls of sessions to, from what it says of its clusters."""
    return {
        f"{host['address']['socket_address']['address']}:{host['address']['socket_address']['port_value']}"
        for cluster in document["cluster_statuses"]
        if cluster["name"] == "game"
        for host in cluster.get("host_statuses", [])
        if not host["health_status"].get("failed_active_health_check")
        and host["health_status"].get("eds_health_status") == "HEALTHY"
    }


def _healthy(admin: str) -> set[str]:
    """The same, asked of its admin address; nothing while it does not answer."""
    try:
        with _direct.open(f"http://{admin}/clusters?format=json", timeout=_HTTP_SECONDS) as answer:
            return healthy(json.load(answer))
    except (OSError, ValueError):
        return set()


def _log(data_dir: Path, name: str) -> Path:
    return data_dir.with_name(f"{data_dir.name}.{name}.log")
