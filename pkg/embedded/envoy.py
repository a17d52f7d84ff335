"""Envoy under the supervisor: the platform's only door."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pkg.embedded.binaries import ENVOY, Binary, find
from pkg.embedded.errors import EmbeddedError
from pkg.embedded.ports import Ports, is_free
from pkg.embedded.probes import http_get
from pkg.embedded.processes import Command, listens
from pkg.embedded.state import write_private

DIRECTORY = "envoy"
LOOPBACK = "127.0.0.1"
PREFERRED_PORT = 8080
PREFERRED_TLS_PORT = 8443
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104


@dataclass(frozen=True)
class EnvoyInputs:
    """What Envoy's configuration depends on here."""

    host: str
    port: int
    tls_port: int
    admin_port: int
    """On loopback."""
    directory: str
    """Envoy's own, for files beside its configuration."""
    services_ops: str
    """host:port of the JWKS of the process that serves all services."""
    services_xds: str
    """host:port where it tells Envoy its endpoints."""


RenderEnvoy = Callable[[EnvoyInputs], str]
"""Returns the bootstrap configuration as YAML or JSON text."""


class Envoy:
    """One Envoy with its admin page on loopback."""

    name = "envoy"
    start_timeout = 30.0
    stop_timeout = 10.0

    def __init__(
        self,
        data_dir: Path,
        ports: Ports,
        preferred: Mapping[str, int],
        environment: Mapping[str, str],
        render: Callable[[int, int, int], str],
        host: str,
        fixed_port: int | None,
        fixed_tls_port: int | None,
        probe: Callable[[str, int], bool] | None,
    ) -> None:
        self._directory = data_dir / DIRECTORY
        self._claims = ports
        self._preferred = dict(preferred)
        self._environment = environment
        self._render = render
        self._host = host
        self._fixed_port = fixed_port
        self._fixed_tls_port = fixed_tls_port
        self._probe = probe
        self._port = 0
        self._tls_port = 0
        self._admin_port = 0
        self._identity = ""
        self._binary: Binary | None = None

    @property
    def version(self) -> str:
        return self._binary.version if self._binary else ""

    @property
    def address(self) -> str:
        return f"{self._reachable_host}:{self._port}"

    @property
    def tls_address(self) -> str:
        return f"{self._reachable_host}:{self._tls_port}"

    @property
    def admin_address(self) -> str:
        return f"{LOOPBACK}:{self._admin_port}"

    @property
    def _reachable_host(self) -> str:
        return LOOPBACK if self._host in EVERYWHERE else self._host

    @property
    def notice(self) -> str:
        """What a reader of the docs has to know about the address; empty while it is the usual one."""
        if self._fixed_port or self._port in (0, PREFERRED_PORT):
            return ""
        taken = not is_free(PREFERRED_PORT, self._host)
        why = "is taken by another program" if taken else "was taken at an earlier start, and this data keeps its ports"
        return (
            f"Port {PREFERRED_PORT} {why}: Envoy listens on port {self._port} instead.\n"
            f"Use localhost:{self._port} wherever the docs say localhost:{PREFERRED_PORT}, "
            f"or {'free' if taken else 'take'} port {PREFERRED_PORT} with --port {PREFERRED_PORT}."
        )

    def ports(self) -> dict[str, int]:
        return {"envoy": self._port, "envoy_tls": self._tls_port, "envoy_admin": self._admin_port}

    def prepare(self, again: bool) -> Command:
        self._binary = self._binary or find(ENVOY, self._environment)
        if not again:
            self._choose_ports()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        configuration = self._directory / "envoy.yaml"
        write_private(configuration, self._render(self._port, self._tls_port, self._admin_port))
        self._identity = uuid.uuid4().hex
        argv = [str(self._binary.path), "-c", str(configuration), "--disable-hot-restart", "--concurrency", "2"]
        argv += ["--service-node", self._identity, "--service-cluster", "oofgg", "--log-level", "warning"]
        return Command(argv, cwd=self._directory)

    def ready(self, pid: int) -> bool:
        """Live, the process we started, the only one on its port, and a call through it would work."""
        told = http_get(LOOPBACK, self._admin_port, "/server_info")
        if told is None or told[0] != 200:
            return False
        info = json.loads(told[1])
        if info.get("state") != "LIVE" or info.get("command_line_options", {}).get("service_node") != self._identity:
            return False
        if listens(pid, self._port) is False or listens(pid, self._tls_port) is False:
            return False
        return self._probe is None or self._probe(self._reachable_host, self._port)

    def _choose_ports(self) -> None:
        for port in (self._port, self._tls_port, self._admin_port):
            self._claims.drop(port)
        self._port = self._claim("envoy", self._fixed_port, PREFERRED_PORT)
        self._tls_port = self._claim("envoy_tls", self._fixed_tls_port, PREFERRED_TLS_PORT)
        self._admin_port = self._claims.claim(self._preferred.pop("envoy_admin", None), LOOPBACK)

    def _claim(self, name: str, fixed: int | None, usual: int) -> int:
        wanted = fixed or self._preferred.pop(name, usual)
        try:
            port = self._claims.claim(wanted, self._host)
        except OSError as error:
            raise EmbeddedError(f"Envoy cannot listen on {self._host}: {error.strerror}.") from error
        if fixed and port != wanted:
            low = " Ports below 1024 need root." if wanted < 1024 and os.getuid() != 0 else ""
            raise EmbeddedError(f"Port {wanted}, which Envoy should listen on, is taken.{low}")
        return port
