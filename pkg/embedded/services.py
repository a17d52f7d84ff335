"""The services, one process of ours, under the supervisor."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pkg.embedded.ports import Ports
from pkg.embedded.probes import http_get
from pkg.embedded.processes import Command, listens

HOST = "127.0.0.1"


@dataclass(frozen=True)
class ServicesInputs:
    """How to start the services."""

    root: Path
    """The working directory: where the packages `pkg` and `services` are."""
    argv: Sequence[str] = (sys.executable, "-m", "services", "serve", "all", "--migrate")
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables; they win over ours."""


class Services:
    """One process that serves everything."""

    version = ""
    name = "services"
    start_timeout = 60.0
    stop_timeout = 20.0

    def __init__(
        self,
        inputs: ServicesInputs,
        ports: Ports,
        preferred: Mapping[str, int],
        environment: Mapping[str, str],
        backends: Mapping[str, str],
        secret: Callable[[str], Path],
    ) -> None:
        self._inputs = inputs
        self._claims = ports
        self._preferred = dict(preferred)
        self._environment = environment
        self._backends = backends
        self._secret = secret
        self._grpc_port = 0
        self._ops_port = 0
        self._xds_port = 0

    @property
    def grpc_address(self) -> str:
        return f"{HOST}:{self._grpc_port}"

    @property
    def ops_address(self) -> str:
        return f"{HOST}:{self._ops_port}"

    @property
    def xds_address(self) -> str:
        return f"{HOST}:{self._xds_port}"

    def ports(self) -> dict[str, int]:
        return {"services_grpc": self._grpc_port, "services_ops": self._ops_port, "services_xds": self._xds_port}

    def prepare(self, again: bool) -> Command:
        if not again:
            for port in (self._grpc_port, self._ops_port, self._xds_port):
                self._claims.drop(port)
            self._grpc_port = self._claims.claim(self._preferred.pop("services_grpc", None), HOST)
            self._ops_port = self._claims.claim(self._preferred.pop("services_ops", None), HOST)
            self._xds_port = self._claims.claim(self._preferred.pop("services_xds", None), HOST)
        ours = {"OOFGG_ENVIRONMENT": "development", "OOFGG_NODE": "embedded"}
        if self._environment.get("OOFGG_ENVIRONMENT", "development") == "development":
            ours["OOFGG_DEVELOPER_SELF_SERVICE"] = "true"
        for name in ("MASTER_KEY", "SERVICE_SECRET"):
            if f"OOFGG_{name}" not in self._environment and f"OOFGG_{name}_FILE" not in self._environment:
                ours[f"OOFGG_{name}_FILE"] = str(self._secret(name.lower()))
        given = {key: value for key, value in self._environment.items() if key.startswith(("OOFGG_", "PYTHON"))}
        addresses = {
            "OOFGG_GRPC_ADDRESS": self.grpc_address,
            "OOFGG_OPS_ADDRESS": self.ops_address,
            "OOFGG_XDS_ADDRESS": self.xds_address,
        }
        return Command(
            self._inputs.argv,
            {**ours, **given, **self._backends, **addresses, "PYTHONUNBUFFERED": "1", **self._inputs.environment},
            cwd=self._inputs.root,
        )

    def ready(self, pid: int) -> bool:
        answer = http_get(HOST, self._ops_port, "/readyz")
        return answer is not None and answer[0] == 200 and listens(pid, self._ops_port) is not False
