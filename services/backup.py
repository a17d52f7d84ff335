"""`python -m services backup FILE`: a consistent copy of PostgreSQL's data, while the platform runs or not."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from pkg.embedded import EmbeddedError, Options, Platform
from pkg.embedded.binaries import POSTGRES, find
from pkg.embedded.errors import AlreadyRunning, BackendUnavailable
from pkg.embedded.state import read_state
from services.up import DATA_DIR

TOOL_SECONDS = 3600.0


class BackupError(Exception):
    """Why there is no backup, or why nothing was restored."""


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server, with the database that holds the platform's data."""

    url: str

    @property
    def database(self) -> str:
        """The name of that database."""
        return urlsplit(self.url).path.lstrip("/")

    def run(self, tool: str, arguments: Sequence[str | Path], database: str) -> None:
        """Runs one of PostgreSQL's own programs on a database. Raises BackupError with what it said."""
        parts = urlsplit(self.url)
        credentials, _, place = parts.netloc.rpartition("@")
        user = credentials.partition(":")[0]
        # Everybody can read command lines: the password goes another way.
        target = urlunsplit((parts.scheme, f"{user}@{place}" if user else place, f"/{database}", parts.query, ""))
        password = {"PGPASSWORD": unquote(parts.password)} if parts.password else {}
        try:
            program = find(POSTGRES, os.environ).path.with_name(tool)
        except BackendUnavailable:
            raise BackupError(
                f"{tool}, a program of PostgreSQL, is needed and is not here. The image of the services has none: "
                "with Docker Compose, run it in the container of PostgreSQL (docs/operations/compose.md). "
                f"Elsewhere, set {POSTGRES.override} to the directory with PostgreSQL's programs."
            ) from None
        done = subprocess.run(
            [program, "--no-password", f"--dbname={target}", *arguments],
            env={**os.environ, **password},
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise BackupError(f"{tool} failed:\n{done.stderr.strip()}")


def arguments_of(command: str, purpose: str | None, arguments: list[str]) -> argparse.Namespace:
    """`file` and `data_dir`."""
    parser = argparse.ArgumentParser(prog=f"python -m services {command}", description=purpose)
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--data-dir", type=Path, default=DATA_DIR, help=f"unless {POSTGRES.url} names a server (default: .oofgg)"
    )
    return parser.parse_args(arguments)


@contextmanager
def own_server(data_dir: Path) -> Iterator[Server]:
    """The server of the environment, or that of the embedded platform, started for the time.

    Raises EmbeddedError; AlreadyRunning when a platform runs on the directory.
    """
    if given := os.environ.get(POSTGRES.url):
        yield Server(given)
        return
    if not data_dir.is_dir():
        raise BackupError(f"There is no platform's data in {data_dir}.")
    with Platform(Options(data_dir, backends=("postgres",))) as platform:
        yield Server(platform.endpoints.postgres_url)


def run(arguments: list[str]) -> int:
    """Writes a backup. 0 when the file is complete; 1 otherwise, and then there is none."""
    told = arguments_of("backup", __doc__, arguments)
    try:
        try:
            with own_server(told.data_dir) as server:
                save(server, told.file)
        except AlreadyRunning:
            save(Server(read_state(told.data_dir)["endpoints"]["postgres_url"]), told.file)
    except (BackupError, EmbeddedError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{told.file}: {told.file.stat().st_size} bytes")
    return 0


def save(server: Server, file: Path) -> None:
    """Writes the data as of now into a file that only its owner can read. Raises BackupError."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.touch(mode=0o600)
    try:
        server.run("pg_dump", ["--format=custom", f"--file={unfinished}"], server.database)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
