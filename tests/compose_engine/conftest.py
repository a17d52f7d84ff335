"""docker-compose.yaml on an engine, in a project of its own, with secrets, ports and volumes of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pkg.testing.addresses import reserve_address
from tests.compose.compose_file import ROOT, load, read_dotenv

PROJECT = "oofgg-engine-test"
OLDEST_ENGINE = 25
COMMAND_SECONDS = 900.0
# What belongs to a checkout and is needed to build and to start.
COPIED = (
    "Dockerfile",
    "docker-compose.yaml",
    ".dockerignore",
    "compose",
    "requirements",
    "sdk",
    "pkg",
    "envoy",
    "services",
)


def missing() -> str:
    """Why nothing can be tested here; empty where it can."""
    if shutil.which("docker") is None:
        return "there is no docker on PATH"
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=False
    )
    version = re.match(r"(\d+)", asked.stdout.strip())
    if asked.returncode != 0 or version is None:
        return "no Docker engine answers"
    if int(version[1]) < OLDEST_ENGINE:
        return f"the Docker engine is {asked.stdout.strip()}; {OLDEST_ENGINE} or later is needed"
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        return "docker has no compose plugin"
    images = {service["image"] for service in load({"OOFGG_UID": "1", "OOFGG_GID": "1"}).services.values()}
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for image in sorted({*images, *bases} - {"oofgg:local"}):
        found = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
        if found.returncode != 0 and subprocess.run(["docker", "pull", "-q", image], check=False).returncode != 0:
            return f"the image {image} is not here and cannot be fetched"
    return ""


@dataclass
class Engine:
    """Runs `docker compose` in a copy of the checkout."""

    directory: Path
    envoy: str

    def compose(self, *words: str, stdin: bytes | None = None) -> str:
        """What the command prints. Raises AssertionError with what it said when it fails."""
        done = subprocess.run(
            ["docker", "compose", "--project-name", PROJECT, *words],
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {' '.join(words)}\n{done.stderr.decode(errors='replace')}"
        return done.stdout.decode(errors="replace")

    def shell(self, line: str) -> str:
        """Runs a line of the docs here."""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", line],
            cwd=self.directory,
            env={**os.environ, "COMPOSE_PROJECT_NAME": PROJECT},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout

    def up(self, *words: str) -> None:
        """Starts what the file describes, and waits until it is healthy."""
        self.compose("up", "-d", "--wait", *words)

    def ids(self) -> dict[str, str]:
        """The id of each container that runs, by its name."""
        listed = [json.loads(line) for line in self.compose("ps", "--format", "json").splitlines() if line]
        return {each["Name"]: each["ID"] for each in listed}

    def of(self, service: str) -> list[str]:
        """The ids of the containers of a service that run."""
        return self.compose("ps", "-q", service).split()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The whole platform, healthy; nothing is left of it afterwards."""
    if why := missing():
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            unwanted = shutil.ignore_patterns("node_modules", "__pycache__", "dist")
            shutil.copytree(source, directory / name, ignore=unwanted)
        else:
            shutil.copy(source, directory / name)
    subprocess.run([directory / "compose/secrets.sh", directory], check=True, timeout=60, capture_output=True)
    envoy = reserve_address()
    dotenv = directory / ".env"
    dotenv.write_text(dotenv.read_text() + f"OOFGG_LISTEN={envoy}\nOOFGG_TLS_LISTEN={reserve_address()}\n")
    assert "OOFGG_UID" in read_dotenv(dotenv)
    started = Engine(directory, envoy)
    try:
        started.up("--build")
        yield started
    finally:
        started.compose("down", "--volumes", "--timeout", "30")
