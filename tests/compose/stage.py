"""docker-compose.yaml without an engine: each container is a process, with an address of its own in 127.0.0.0/8.

Processes get the command and the environment of the file, from the image that the Dockerfile makes. What an engine
would do is done here: names become addresses, secrets and volumes become paths, jobs and health checks give the order.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import yaml

from pkg.embedded import Options, Platform
from pkg.embedded.binaries import ENVOY, POSTGRES, VALKEY, find
from pkg.testing.addresses import reserve_address
from tests.compose.compose_file import BACKENDS, PROCESSES, ROOT, Compose
from tests.compose.image import Image
from tests.compose.names import NameServer

HEALTHY_SECONDS = 60.0
JOB_SECONDS = 60.0
STOP_SECONDS = 20.0
SUPERUSER_PASSWORD = "superuser"
_HOST = re.compile(rf"(?<![\w.-])({'|'.join((*BACKENDS, *PROCESSES))}):(\d+)")


@dataclass
class Container:
    """A running process that stands for a container."""

    service: str
    hostname: str
    address: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def tail(self) -> str:
        """The end of what it has printed."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


class NotHealthy(Exception):
    """A container ended, or did not become healthy; with the end of its log."""


class Stage:
    """Starts what the file describes, dependencies first."""

    def __init__(self, compose: Compose, image: Image, directory: Path, user: int | None) -> None:
        self.compose = compose
        self.image = image
        self.directory = directory
        self.user = user
        """Whom the services run as; None is ourselves."""
        self.containers: dict[str, list[Container]] = {}
        self._network = f"127.{random.randint(2, 250)}.{random.randint(0, 250)}"
        self._addresses: dict[str, list[str]] = {}
        self._stack = ExitStack()
        self._started: set[str] = set()
        self._completed: set[str] = set()
        self._names = self._stack.enter_context(NameServer(self._lookup))
        self._kafka = ""
        self._published: dict[str, int] = {}
        options = Options(
            data_dir=directory / "platform",
            backends=("postgres", "kafka"),
            environment={key: value for key, value in os.environ.items() if not key.startswith("OOFGG_")},
            postgres_settings={"listen_addresses": self._address_of("postgres")},
        )
        self._platform = Platform(options)

    @property
    def envoy(self) -> str:
        """host:port of the published port without TLS."""
        return self._published_at("public")

    @property
    def envoy_tls(self) -> str:
        """host:port of the one with TLS."""
        return self._published_at("public_tls")

    def _published_at(self, listener: str) -> str:
        return f"{self.containers['envoy'][0].address}:{self._published[listener]}"

    @property
    def envoy_admin(self) -> str:
        return f"{self.containers['envoy'][0].address}:9901"

    @property
    def kafka_bootstrap(self) -> str:
        return self._kafka

    def up(self, service: str) -> None:
        """Starts a service and, before it, what it depends on, each in the state the file asks for."""
        if service in self._started:
            return
        self._started.add(service)
        for other, wanted in self.compose.services[service].get("depends_on", {}).items():
            self.up(other)
            match wanted["condition"]:
                case "service_completed_successfully":
                    assert other in self._completed, f"{other} is not a job"
                case "service_healthy":
                    self.wait_healthy(self.containers[other][0])
                case "service_started":
                    assert other in self.containers
        if self.compose.services[service]["restart"] == "no":
            done = self.run(service, self.compose.services[service]["command"])
            if done.returncode != 0:
                raise NotHealthy(f"{service} failed:\n{done.stdout}")
            self._completed.add(service)
        else:
            self.start(service)

    def start(self, service: str) -> Container:
        """Starts one more container of a service."""
        containers = self.containers.setdefault(service, [])
        hostname = f"{service}-{len(containers) + 1}"
        address = self._address_of(service, len(containers))
        container = Container(service, hostname, address, self.directory / f"{hostname}.log")
        self.launch(container)
        containers.append(container)
        return container

    def launch(self, container: Container) -> None:
        """Starts the process of a container that does not run."""
        service = container.service
        if service in ("postgres", "kafka"):
            self._start_platform()
        elif service == "valkey":
            self._start_valkey(container)
        elif service == "envoy":
            self._start_envoy(container)
        else:
            argv = [*self.image.entrypoint, *self._definition(service)["command"]]
            self._spawn(container, self._moved(argv, container), self._environment(container), self.image.directory)

    def run(self, service: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command in a container of its own, as `docker compose run` does, to its end."""
        container = Container(service, f"{service}-run", self._address_of(f"{service}-run"), Path(os.devnull))
        entrypoint = self._definition(service).get("entrypoint", self.image.entrypoint)
        argv = [*entrypoint, *command]
        if service != "envoy-config":  # its addresses are for Envoy, which asks the name server
            argv = self._moved(argv, container)
        argv = [self._local_paths(word) for word in argv]
        return subprocess.run(
            self._found(argv),
            cwd=self.image.directory,
            env=self._environment(container),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=JOB_SECONDS,
            check=False,
            **self._identity(),
        )

    def wait_healthy(self, container: Container) -> None:
        """Returns when the health check of the file passes. Raises NotHealthy."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while not self.is_healthy(container):
            if container.process is not None and container.process.poll() is not None:
                raise NotHealthy(f"{container.hostname} ended:\n{container.tail()}")
            if time.monotonic() > deadline:
                raise NotHealthy(f"{container.hostname} does not become healthy:\n{container.tail()}")
            time.sleep(0.1)

    def is_healthy(self, container: Container) -> bool:
        """What the container's own health check says now."""
        kind, *test = self._definition(container.service)["healthcheck"]["test"]
        argv = ["/bin/sh", "-c", *test] if kind == "CMD-SHELL" else test
        if container.service == "kafka":
            argv = [word.replace("127.0.0.1/9092", self._kafka.replace(":", "/")) for word in argv]
        else:
            argv = [word.replace("127.0.0.1", container.address) for word in argv]
        argv = [word.replace("valkey-cli", f"valkey-cli -h {container.address}") for word in argv]
        environment = self._environment(container)
        environment["PATH"] += ":" + ":".join(str(path) for path in self._tools())
        done = subprocess.run(
            self._found(argv, environment),
            cwd=self.image.directory,
            env=environment,
            capture_output=True,
            timeout=10,
            check=False,
        )
        return done.returncode == 0

    def in_postgres(self, command: str, directory: Path) -> subprocess.CompletedProcess[str]:
        """Runs a shell command as `docker compose exec -T postgres` does: there the superuser needs no password."""
        variables = {"PGHOST": self._address_of("postgres"), "PGPASSWORD": SUPERUSER_PASSWORD}
        return subprocess.run(
            command,
            shell=True,
            cwd=directory,
            env={**variables, "PATH": f"{self._tools()[0]}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=JOB_SECONDS,
            check=False,
        )

    def close(self) -> None:
        """Stops everything. Raises NotHealthy at the end when something had to be killed.

        The services are told all at once, for each takes a moment to drain; what they keep their data in comes after.
        """
        for service in PROCESSES:
            for container in self.containers.get(service, []):
                if container.process is not None and container.process.poll() is None:
                    container.process.send_signal(signal.SIGTERM)
        with ExitStack() as stack:  # each is stopped, whatever becomes of the others
            stack.push(self._stack)
            stack.callback(self._platform.stop)
            for name in self.containers:
                for container in self.containers[name]:
                    stack.callback(self.stop, container)

    def stop(self, container: Container) -> None:
        """As `docker stop` does. Raises NotHealthy when it has to be killed."""
        process, container.process = container.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise NotHealthy(f"{container.hostname} had to be killed:\n{container.tail()}") from None

    def _definition(self, service: str) -> dict[str, Any]:
        return self.compose.services[service]

    def _address_of(self, service: str, number: int = 0) -> str:
        """The address of a container, known before it runs: others may be told of it."""
        addresses = self._addresses.setdefault(service, [])
        while len(addresses) <= number:
            taken = sum(map(len, self._addresses.values()))
            addresses.append(f"{self._network}.{taken + 1}")
        return addresses[number]

    def _lookup(self, name: str) -> list[str] | None:
        """Addresses of the containers that run."""
        if name not in self.compose.services:
            return None
        return [each.address for each in self.containers.get(name, []) if each.process is not None]

    def _start_platform(self) -> None:
        if self._kafka:
            return
        self._platform.start()
        self._kafka = self._platform.endpoints.kafka_bootstrap
        self._make_roles()

    def _make_roles(self) -> None:
        """Runs what the file mounts for PostgreSQL's first start, as the superuser that an image has by then."""

        async def rename() -> None:
            url = self._platform.endpoints.postgres_url
            first = await asyncpg.connect(url)
            await first.execute(f"create role postgres superuser login password '{SUPERUSER_PASSWORD}'")
            await first.close()
            second = await asyncpg.connect(url, user="postgres", password=SUPERUSER_PASSWORD, database="postgres")
            await second.execute("alter role oofgg rename to embedded")
            await second.execute("alter database oofgg rename to embedded")
            await second.close()

        asyncio.run(rename())
        mounts = [mount.split(":") for mount in self._definition("postgres")["volumes"]]
        (script,) = [ROOT / source for source, target, *_ in mounts if target.startswith("/docker-entrypoint-initdb.d")]
        psql = str(self._tools()[0] / "psql")
        environment = {"PGPASSWORD": SUPERUSER_PASSWORD, "PATH": os.environ["PATH"]}
        environment["OOFGG_PGPASS"] = str(self.directory / "secrets/pgpass")
        argv = [
            psql,
            "-v",
            "ON_ERROR_STOP=1",
            "--no-psqlrc",
            "-q",
            "-h",
            self._address_of("postgres"),
            "-U",
            "postgres",
        ]
        subprocess.run([*argv, "-d", "postgres", "-f", str(script)], env=environment, check=True, timeout=30)

    def _start_valkey(self, container: Container) -> None:
        program, *options = self._definition("valkey")["command"]
        assert program == "valkey-server"
        data = self.directory / "valkey"
        data.mkdir()
        argv = [str(find(VALKEY, os.environ).path), *options]
        argv += ["--bind", container.address, "--protected-mode", "no", "--dir", str(data)]
        self._spawn(container, argv, {"PATH": os.environ["PATH"]}, data, ourselves=True)

    def _start_envoy(self, container: Container) -> None:
        """Boots the configuration the job has written. Only listening addresses and the name server are replaced."""
        rendered = self.directory / "envoy-config/envoy.yaml"
        configuration = yaml.safe_load(rendered.read_text())
        for listening in (configuration["admin"], *configuration["static_resources"]["listeners"]):
            listening["address"]["socket_address"]["address"] = container.address
        inside = {"public": 8080, "public_tls": 8443}  # what the file publishes
        for listener in configuration["static_resources"]["listeners"]:
            listening = listener["address"]["socket_address"]
            assert listening["port_value"] == inside.pop(listener["name"])
            listening["port_value"] = self._published.setdefault(listener["name"], _reserved_port(container.address))
        assert not inside
        name_server = {"socket_address": {"address": self._names.host, "port_value": self._names.port}}
        configuration["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [name_server],
                "dns_resolver_options": {"no_default_search_domain": True},
            },
        }
        booted = self.directory / "envoy.yaml"
        booted.write_text(yaml.safe_dump(configuration))
        command = self._definition("envoy")["command"]
        argv = [word.replace("/srv/envoy/envoy.yaml", str(booted)) for word in command]
        argv[0] = str(find(ENVOY, os.environ).path)
        self._spawn(container, argv, {"PATH": os.environ["PATH"]}, self.directory, ourselves=True)

    def _spawn(
        self, container: Container, argv: list[str], environment: dict[str, str], cwd: Path, *, ourselves: bool = False
    ) -> None:
        identity = {} if ourselves else self._identity()
        with container.log.open("wb") as log:
            container.process = subprocess.Popen(
                self._found(argv, environment),
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                **identity,
            )

    def _identity(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": []}

    def _environment(self, container: Container) -> dict[str, str]:
        given: Mapping[str, str] = self._definition(container.service).get("environment", {})
        moved = {name: self._moved([str(value)], container)[0] for name, value in given.items()}
        # The host name: containers have one each, the processes here have one together.
        return {**self.image.environment, **moved, "OOFGG_NODE": container.hostname}

    def _moved(self, words: Sequence[str], container: Container) -> list[str]:
        """Names of other containers as addresses, "all interfaces" as this container's own address."""

        def address(match: re.Match[str]) -> str:
            return self._kafka if match[1] == "kafka" else f"{self._address_of(match[1])}:{match[2]}"

        def own(word: str) -> str:
            """Of a name that several containers share, each takes its own address."""
            for alias in self._aliases(container.service):
                word = re.sub(rf"^{re.escape(alias)}:", f"{container.address}:", word)
            return word.replace("0.0.0.0", container.address)

        return [self._local_paths(_HOST.sub(address, own(word))) for word in words]

    def _aliases(self, service: str) -> list[str]:
        networks = self._definition(service).get("networks", [])
        options = networks.values() if isinstance(networks, dict) else []
        return [alias for option in options for alias in option.get("aliases", [])]

    def _local_paths(self, word: str) -> str:
        moved = word.replace("/run/secrets", str(self.directory / "secrets"))
        moved = moved.replace("/srv/tls", str(self.directory / "secrets/tls"))
        return moved.replace("/srv/envoy", str(self.directory / "envoy-config"))

    def _found(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """The program by its full path: the PATH of the image decides, not ours."""
        for directory in (environment or self.image.environment)["PATH"].split(":"):
            if (Path(directory) / argv[0]).is_file():
                return [str(Path(directory) / argv[0]), *argv[1:]]
        return list(argv)

    @staticmethod
    def _tools() -> list[Path]:
        """Where programs are that health checks call: of PostgreSQL, and a stand-in for valkey-cli."""
        return [find(POSTGRES, os.environ).path.parent, Path(__file__).parent / "bin"]


def _reserved_port(address: str) -> int:
    """For a platform that somebody runs here looks for others at 8080."""
    return int(reserve_address(address).rpartition(":")[2])


def base_python(user: int | None) -> Path | None:
    """A Python that this user can run and that can make virtual environments; None when there is none."""
    identity: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    program = "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"
    for candidate in (Path(sys.executable).resolve(), Path("/usr/bin/python3"), Path("/usr/local/bin/python3")):
        try:
            done = subprocess.run([candidate, "-c", program], cwd="/", check=False, capture_output=True, **identity)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    return None
