"""The image and the containers, made once for all tests here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.compose_file import ROOT, Compose, load, read_dotenv
from tests.compose.image import Image, build
from tests.compose.stage import Stage, base_python


@pytest.fixture(scope="session")
def project() -> Iterator[Path]:
    """A directory with what `make secrets` leaves beside docker-compose.yaml. Others may pass through it."""
    directory = Path(tempfile.mkdtemp(prefix="oofgg-compose-"))
    directory.chmod(0o711)
    subprocess.run([ROOT / "compose/secrets.sh", directory], check=True, timeout=30, capture_output=True)
    (directory / "secrets").chmod(0o711)  # an engine mounts the files; here they are reached by path
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def compose(project: Path) -> Compose:
    """The file, with the variables of `.env` and nothing else."""
    return load(read_dotenv(project / ".env"))


@pytest.fixture(scope="session")
def container_user(project: Path) -> int | None:
    """Whom the services can be run as: the owner of the secrets, where we may become that user."""
    user = int(read_dotenv(project / ".env")["OOFGG_UID"])
    return user if os.geteuid() == 0 and base_python(user) is not None else None


@pytest.fixture(scope="session")
def image(project: Path, container_user: int | None) -> Image:
    """What the Dockerfile makes."""
    python = base_python(container_user)
    assert python is not None, "no Python here can make a virtual environment"
    return build(ROOT, project / "image", python)


@pytest.fixture(scope="module")
def stage(compose: Compose, image: Image, project: Path, container_user: int | None) -> Iterator[Stage]:
    """All containers of the file, healthy."""
    if sys.platform != "linux":
        pytest.skip("needs addresses 127.x.y.z, which only Linux has without set-up")
    started = Stage(compose, image, project, container_user)
    configuration = project / "envoy-config"
    configuration.mkdir()
    configuration.chmod(0o1777)
    try:
        for service in compose.services:
            started.up(service)
        started.wait_healthy(started.containers["envoy"][0])
        yield started
    finally:
        started.close()
