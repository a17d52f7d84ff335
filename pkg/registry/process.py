"""A process as the registry knows it, and its form in Redis."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How a service of a process is."""

    SERVING = "serving"
    NOT_READY = "not_ready"
    """It lacks something it cannot serve without."""
    DRAINING = "draining"
    """It is about to end: what it has begun it finishes, new calls belong elsewhere."""
    GONE = "gone"
    """It has ended, and said so."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a service of a process carries. A new session belongs to the node with the fewest sessions, then calls."""

    calls: int = 0
    """Calls and streams in flight."""
    sessions: int = 0
    """Live sessions it runs; 0 where a service has none."""


@dataclass(frozen=True, slots=True)
class Served:
    """A service of a process."""

    state: State
    load: Load = field(default_factory=Load)


@dataclass(frozen=True, slots=True)
class Process:
    """A process between its start and its end."""

    incarnation: str
    """Its id: a process that starts again under the same name is another. A later one sorts behind an earlier one."""
    node: str
    address: str
    """host:port of its gRPC port as others reach it; the host is an IP address."""
    lease_seconds: float
    """It says that it is alive well within this time."""
    services: Mapping[str, Served]


class Unreadable(ValueError):
    """An entry that is no process: written by another version, or by nobody of ours."""


def encode(process: Process) -> bytes:
    """The entry of a process."""
    return json.dumps(
        {
            "node": process.node,
            "address": process.address,
            "lease_seconds": process.lease_seconds,
            "services": {
                name: {"state": served.state.value, "calls": served.load.calls, "sessions": served.load.sessions}
                for name, served in process.services.items()
            },
        },
        separators=(",", ":"),
    ).encode()


def decode(incarnation: str, entry: bytes) -> Process:
    """Reads an entry; fields that are not known here are passed over. Raises Unreadable."""
    try:
        document: dict[str, Any] = json.loads(entry)
        return Process(
            incarnation=incarnation,
            node=_text(document["node"]),
            address=_address(document["address"]),
            lease_seconds=float(document["lease_seconds"]),
            services={
                _text(name): Served(State(served["state"]), Load(int(served["calls"]), int(served["sessions"])))
                for name, served in document["services"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{incarnation}: {error!r}") from error


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"not a name: {value!r}")
    return value


def _address(value: object) -> str:
    """One that cannot be dialled must not reach Envoy, which would refuse all others with it."""
    host, _, port = _text(value).rpartition(":")
    ipaddress.ip_address(host.strip("[]"))
    if not 0 < int(port) < 1 << 16:
        raise ValueError(f"not a port: {port}")
    return f"{host}:{port}"
