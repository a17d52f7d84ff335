"""The embedded platform: every backend, the services and Envoy under one supervisor."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pkg.embedded.binaries import KAFKA, POSTGRES, VALKEY
from pkg.embedded.disk import explained
from pkg.embedded.envoy import DIRECTORY as ENVOY_DIRECTORY
from pkg.embedded.envoy import Envoy, EnvoyInputs, RenderEnvoy
from pkg.embedded.errors import EmbeddedError, StartFailed
from pkg.embedded.kafka import Kafka
from pkg.embedded.ports import Ports
from pkg.embedded.postgres import SOCKET_NAME, SOCKET_PATH_LIMIT, SYSTEM_ROOT, Postgres
from pkg.embedded.processes import Lifeline, birth, end_leftover
from pkg.embedded.services import Services, ServicesInputs
from pkg.embedded.state import DataDirectory
from pkg.embedded.unit import Program, Unit
from pkg.embedded.valkey import Valkey

LEFTOVER_PATIENCE = 15.0
START_LIMIT = 180.0


@dataclass(frozen=True)
class Endpoints:
    """Where everything is. Empty where that part does not run."""

    data_dir: str
    postgres_url: str
    """Holds the password: not for printing."""
    redis_url: str
    kafka_bootstrap: str
    services_grpc: str = ""
    """host:port of the services themselves, behind Envoy."""
    services_ops: str = ""
    """host:port of /metrics, /healthz, /readyz."""
    services_xds: str = ""
    """host:port where Envoy is told the endpoints of services."""
    envoy: str = ""
    """host:port of the platform's door."""
    envoy_tls: str = ""
    """host:port of the same door with TLS."""
    envoy_admin: str = ""


@dataclass(frozen=True)
class Options:
    """What to run and where."""

    data_dir: Path
    backends: Sequence[str] = ("postgres", "valkey", "kafka")
    """Backends to start; one with its URL in the environment is used from there and not started."""
    services: ServicesInputs | None = None
    """None runs the backends alone."""
    render_envoy: RenderEnvoy | None = None
    """Makes Envoy's configuration; None runs no Envoy."""
    envoy_probe: Callable[[str, int], bool] | None = None
    """Whether a call through Envoy at (host, port) would work; asked once it is live."""
    envoy_host: str = "127.0.0.1"
    """The address Envoy listens on; 0.0.0.0 opens it to the network."""
    envoy_port: int | None = None
    """None prefers 8080 and takes a free port otherwise; a given port is taken or starting fails."""
    envoy_tls_port: int | None = None
    """The same with 8443."""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    system_root: Path = SYSTEM_ROOT
    """Where root keeps what the demoted PostgreSQL cannot reach in `data_dir`."""
    report: Callable[[str], None] = lambda _line: None
    """Called with a line of progress, from several threads."""
    lifeline_pipe: bool = False
    """Ends children by a watcher on a pipe, as on systems without a signal at the parent's death."""


class Platform:
    """Starts, watches and stops everything. All methods are for one thread, and block; no method prints.

    Children end with this process, however it ends. A child that dies is started again on the same ports; one that dies
    too often ends `wait` with an error.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self._directory = DataDirectory(options.data_dir.expanduser().resolve())
        self._ports = Ports()
        self._lifeline: Lifeline | None = None
        self._stages: list[list[Unit]] = []
        self._changed = threading.Condition()
        self._ready: set[str] = set()
        self._failure: EmbeddedError | None = None
        self._stop_asked = False
        self._write_lock = threading.Lock()
        self._postgres: Postgres | None = None
        self._valkey: Valkey | None = None
        self._kafka: Kafka | None = None
        self._services: Services | None = None
        self._envoy: Envoy | None = None
        self._running = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def data_dir(self) -> Path:
        return self._directory.path

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: postgres, valkey, kafka, services, envoy; only of what this supervisor started."""
        return {unit.program.name: unit.pid for stage in self._stages for unit in stage if unit.pid is not None}

    @property
    def endpoints(self) -> Endpoints:
        given = self.options.environment
        return Endpoints(
            data_dir=str(self.data_dir),
            postgres_url=self._postgres.url if self._postgres else given.get(POSTGRES.url, ""),
            redis_url=self._valkey.url if self._valkey else given.get(VALKEY.url, ""),
            kafka_bootstrap=self._kafka.bootstrap if self._kafka else given.get(KAFKA.url, ""),
            services_grpc=self._services.grpc_address if self._services else "",
            services_ops=self._services.ops_address if self._services else "",
            services_xds=self._services.xds_address if self._services else "",
            envoy=self._envoy.address if self._envoy else "",
            envoy_tls=self._envoy.tls_address if self._envoy else "",
            envoy_admin=self._envoy.admin_address if self._envoy else "",
        )

    @property
    def notice(self) -> str:
        """What the person at the terminal has to know about the addresses; empty when they are the usual ones."""
        return self._envoy.notice if self._envoy else ""

    def start(self) -> None:
        """Starts everything and returns when a call would work. Raises EmbeddedError; nothing runs then.

        The backends start together, then the services, then Envoy, whose first fetch of the signing keys must succeed.
        """
        self._directory.acquire()
        try:
            self._running = True
            state = self._directory.read()
            self._end_leftovers(state)
            self._lifeline = lifeline = Lifeline(force=self.options.lifeline_pipe)
            ports = {name: int(port) for name, port in state.get("ports", {}).items()}
            self._start_stage(lifeline, self._backends(ports))
            if self.options.services is not None:
                self._start_stage(lifeline, [self._make_services(self.options.services, ports)])
            if self.options.render_envoy is not None:
                self._start_stage(lifeline, [self._make_envoy(self.options.render_envoy, ports)])
        except (EmbeddedError, OSError) as error:
            explanation = self._explained(error)
            self.stop()
            raise explanation from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops everything in reverse order. Does nothing when nothing runs."""
        if not self._running:
            return
        with self._changed:
            self._stop_asked = True
            self._changed.notify_all()
        for stage in reversed(self._stages):
            stoppers = [threading.Thread(target=unit.stop) for unit in stage]
            for stopper in stoppers:
                stopper.start()
            for stopper in stoppers:
                stopper.join()
        self._running = False
        self._write()
        if self._lifeline is not None:
            self._lifeline.close()
        self._ports.release()
        self._directory.release()

    def wait(self, timeout: float | None = None) -> None:
        """Returns after `timeout` seconds. Raises EmbeddedError as soon as a program has crashed too often."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._stop_asked:
                if self._failure is not None:
                    raise self._failure
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    return
                self._changed.wait(remaining)

    def _backends(self, ports: dict[str, int]) -> list[Program]:
        environment, chosen = self.options.environment, self.options.backends
        programs: list[Program] = []
        if "postgres" in chosen and not environment.get(POSTGRES.url):
            self._postgres = Postgres(
                self.data_dir,
                self._run_dir(),
                self._directory.secret("postgres_password"),
                environment,
                self.options.postgres_settings,
                self.options.system_root,
            )
            programs.append(self._postgres)
        if "valkey" in chosen and not environment.get(VALKEY.url):
            self._valkey = Valkey(self.data_dir, self._run_dir(), environment)
            programs.append(self._valkey)
        if "kafka" in chosen and not environment.get(KAFKA.url):
            self._kafka = Kafka(self.data_dir, self._ports, ports.get("kafka"), environment)
            programs.append(self._kafka)
        return programs

    def _make_services(self, inputs: ServicesInputs, ports: dict[str, int]) -> Program:
        backends = self.endpoints
        self._services = Services(
            inputs,
            self._ports,
            ports,
            self.options.environment,
            {
                POSTGRES.url: backends.postgres_url,
                VALKEY.url: backends.redis_url,
                KAFKA.url: backends.kafka_bootstrap,
            },
            self._directory.secret,
        )
        return self._services

    def _make_envoy(self, render: RenderEnvoy, ports: dict[str, int]) -> Program:
        def inputs(port: int, tls_port: int, admin_port: int) -> EnvoyInputs:
            return EnvoyInputs(
                host=self.options.envoy_host,
                port=port,
                tls_port=tls_port,
                admin_port=admin_port,
                directory=str(self.data_dir / ENVOY_DIRECTORY),
                services_ops=self.endpoints.services_ops,
                services_xds=self.endpoints.services_xds,
            )

        self._envoy = Envoy(
            self.data_dir, self._ports, ports, self.options.environment, lambda *chosen: render(inputs(*chosen)),
            self.options.envoy_host, self.options.envoy_port, self.options.envoy_tls_port, self.options.envoy_probe,
        )  # fmt: skip
        return self._envoy

    def _run_dir(self) -> Path:
        """A directory of ours for sockets, whose paths have little room."""
        inside = self.data_dir / "run"
        if len(str(inside / SOCKET_NAME)) > SOCKET_PATH_LIMIT:
            short = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:12]
            inside = Path(tempfile.gettempdir()) / f"oofgg-{os.getuid()}-{short}"
        inside.mkdir(mode=0o700, exist_ok=True)
        if inside.stat().st_uid not in (os.getuid(), self.data_dir.stat().st_uid):
            raise EmbeddedError(f"{inside} belongs to another user. Choose another data directory with --data-dir.")
        return inside

    def _start_stage(self, lifeline: Lifeline, programs: list[Program]) -> None:
        units = [
            Unit(program, self._directory.log(program.name), lifeline, self._write, self._on_started, self._on_failed)
            for program in programs
        ]
        self._stages.append(units)
        names = {program.name for program in programs}
        if names:
            self.options.report(f"starting {', '.join(program.name for program in programs)}")
        for unit in units:
            unit.start()
        deadline = time.monotonic() + START_LIMIT
        with self._changed:
            while not names <= self._ready:
                if self._failure is not None:
                    raise self._failure
                if time.monotonic() > deadline:
                    missing = ", ".join(sorted(names - self._ready))
                    raise StartFailed(f"{missing} did not start within {START_LIMIT:.0f} s")
                self._changed.wait(1.0)

    def _on_started(self, unit: Unit, seconds: float) -> None:
        label = f"{unit.program.name} {unit.program.version}".strip()
        again = f" again (restart {unit.restarts})" if unit.restarts else ""
        self.options.report(f"{label:<18} ready{again} after {seconds:.2f} s, pid {unit.pid}")
        self._write()
        with self._changed:
            self._ready.add(unit.program.name)
            self._changed.notify_all()

    def _on_failed(self, unit: Unit, error: EmbeddedError) -> None:
        with self._changed:
            self._failure = self._failure or self._explained(error)
            self._changed.notify_all()

    def _explained(self, error: EmbeddedError | OSError) -> EmbeddedError:
        places = [self.data_dir, *([self._postgres.base] if self._postgres and self._postgres.base else [])]
        return explained(error, *places)

    def _end_leftovers(self, state: dict[str, Any]) -> None:
        """Children of a supervisor that was killed may still be on their way out."""
        for name, process in state.get("pids", {}).items():
            pid, born = int(process["pid"]), str(process["born"])
            if birth(pid) == born:
                self.options.report(f"waiting for {name} of the last run (pid {pid}) to end")
                end_leftover(pid, born, LEFTOVER_PATIENCE)

    def _write(self) -> None:
        with self._write_lock:
            units = [unit for stage in self._stages for unit in stage]
            pids = {
                unit.program.name: {"pid": unit.pid, "born": birth(unit.pid), "ready": unit.is_ready}
                for unit in units
                if unit.pid is not None
            }
            ports = dict(self._directory.read().get("ports", {}))
            for unit in units:
                ports.update({name: port for name, port in unit.program.ports().items() if port})
            state = {
                "supervisor": os.getpid(),
                "running": self._running,
                "ports": ports,
                "pids": pids,
                "endpoints": asdict(self.endpoints),
            }
            try:
                self._directory.write(state)
            except FileNotFoundError:  # the data directory was removed under us
                return
            except OSError as error:
                # What runs goes on with the state of before; whoever waits for the platform is told, and stops it.
                problem = error
            else:
                return
        with self._changed:
            self._failure = self._failure or self._explained(problem)
            self._changed.notify_all()
