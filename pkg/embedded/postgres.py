"""PostgreSQL under the supervisor: on a Unix socket, never as root."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pkg.embedded.binaries import POSTGRES, Binary, find, wheel_path
from pkg.embedded.errors import BackendUnavailable, EmbeddedError, StartFailed
from pkg.embedded.processes import Command, User, run
from pkg.embedded.state import make_directory, write_private

ROLE = DATABASE = "oofgg"
INIT_TIMEOUT = 120.0
SYSTEM_ROOT = Path("/var/lib/oofgg")
USER_VARIABLE = "OOFGG_POSTGRES_USER"
SOCKET_PATH_LIMIT = 107
SOCKET_NAME = ".s.PGSQL.5432"
PASSWORD_MARK = "postgres.password.sha256"  # noqa: S105  (a digest: the password has 256 random bits)

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # the password decides; the demoted server's clients have another uid
    "shared_buffers": "256MB",  # memory as it is filled, 10 MB at once; what does not fit costs a system call a page
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "max_connections": "100",
    "max_wal_size": "1GB",  # after each checkpoint every page that changes goes into the log once more, whole
    "min_wal_size": "32MB",
    "max_wal_senders": "2",
    "max_worker_processes": "2",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "2",
    "io_method": "sync",  # three worker processes less
    "jit": "off",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


def demoted_user(environment: Mapping[str, str], owner: int | None) -> User | None:
    """Whom the server runs as: ourselves (None) unless that is root.

    Then it is OOFGG_POSTGRES_USER, the owner of existing data, `postgres` or `nobody`. Raises EmbeddedError when there
    is no such user.
    """
    if os.geteuid() != 0:
        return None
    wanted = environment.get(USER_VARIABLE)
    try:
        if wanted:
            entry = pwd.getpwnam(wanted)
        elif owner:
            entry = pwd.getpwuid(owner)
        else:
            entry = next(_existing("postgres", "nobody"))
    except (KeyError, StopIteration):
        raise EmbeddedError(
            f"PostgreSQL does not run as root and there is no user "
            f"{wanted or owner or 'postgres or nobody'} to run it as. "
            f"Set {USER_VARIABLE} to the name of an unprivileged user, or {POSTGRES.url} to a running server."
        ) from None
    if entry.pw_uid == 0:
        raise EmbeddedError(f"PostgreSQL does not run as root. Set {USER_VARIABLE} to an unprivileged user.")
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _existing(*names: str) -> Iterator[pwd.struct_passwd]:
    for name in names:
        try:
            yield pwd.getpwnam(name)
        except KeyError:
            continue


@dataclass(frozen=True)
class Place:
    """What a server of ours runs from, and as whom."""

    binary: Binary
    user: User | None
    """None is ourselves."""
    base: Path
    """Holds the server's data directory."""
    sockets: Path

    @property
    def data(self) -> Path:
        """The server's own data directory."""
        return self.base / "postgres"

    @property
    def is_initialised(self) -> bool:
        return (self.data / "PG_VERSION").exists()


class Postgres:
    """A server of one role and one database, both called `oofgg`."""

    name = "postgres"
    start_timeout = 60.0  # recovery after a crash may take a while
    stop_timeout = 30.0

    def __init__(
        self,
        data_dir: Path,
        run_dir: Path,
        password_file: Path,
        environment: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
        system_root: Path = SYSTEM_ROOT,
    ) -> None:
        self._environment = environment
        self._password_file = password_file
        self._settings = {**SETTINGS, **(settings or {})}
        self._inside = data_dir
        self._outside = system_root / hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
        self._run_dir = run_dir
        self._place: Place | None = None

    @property
    def version(self) -> str:
        return self._place.binary.version if self._place else ""

    @property
    def base(self) -> Path | None:
        """Holds the server's data directory; None until its place is settled."""
        return self._place.base if self._place else None

    @property
    def url(self) -> str:
        """Empty until the server's place is settled."""
        if self._place is None:
            return ""
        password = quote(self._password_file.read_text().strip(), safe="")
        return f"postgresql://{ROLE}:{password}@/{DATABASE}?host={quote(str(self._place.sockets), safe='/')}"

    def ports(self) -> dict[str, int]:
        return {}

    def prepare(self, again: bool) -> Command:
        self._place = place = self._place or self._settle()
        own(place.sockets, 0o711, place.user)
        if not place.is_initialised:
            self._initialise(place)
        argv = [str(place.binary.path), "-D", str(place.data)]
        for key, value in {**self._settings, "unix_socket_directories": str(place.sockets)}.items():
            argv += ["-c", f"{key}={value}"]
        return Command(argv, {"TZ": "UTC"}, cwd=place.data, user=place.user, stop_signal=signal.SIGINT)

    def ready(self, pid: int) -> bool:
        """Line 1 of postmaster.pid is the server's pid, line 8 its state."""
        if self._place is None:
            return False
        try:
            lines = (self._place.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _settle(self) -> Place:
        user, base = self._settle_data()
        try:
            binary = find(POSTGRES, self._environment, user)
        except BackendUnavailable:
            copied = self._copy_of_wheel() if user is not None else None
            if copied is None:
                raise
            binary = find(POSTGRES, self._environment, user, locate=lambda _kind: copied)
        if user is None:
            return Place(binary, user, base, self._run_dir)
        beside = base / "postgres-run"
        short = len(str(beside / SOCKET_NAME)) <= SOCKET_PATH_LIMIT
        return Place(binary, user, base, beside if short else self._outside / "run")

    def _open_outside(self) -> None:
        """What earlier versions made under a strict umask is closed to the demoted server."""
        for directory in (self._outside.parent, self._outside):
            if directory.is_dir() and not directory.stat().st_mode & 0o001 and directory.stat().st_uid == os.geteuid():
                directory.chmod(directory.stat().st_mode | 0o011)

    def _settle_data(self) -> tuple[User | None, Path]:
        """Where existing data is, it stays, and its owner runs the server."""
        self._set_orphan_aside()
        if os.geteuid() == 0:
            self._open_outside()
        for base in (self._outside, self._inside):
            data = base / "postgres"
            if not (data / "PG_VERSION").exists():
                continue
            owner = data.stat().st_uid
            if os.geteuid() not in (0, owner):
                raise EmbeddedError(
                    f"The data in {data} belongs to user {owner}, not to you. Start the platform as that user or as "
                    "root, or choose another data directory with --data-dir."
                )
            user = demoted_user(self._environment, owner)
            if base == self._inside and not reaches(user, base):
                raise EmbeddedError(
                    f"PostgreSQL runs as {user.name if user else owner} here, who cannot reach the data in {data}: "
                    f"a directory above it is closed to others. Open it (chmod o+x), or set {POSTGRES.url}."
                )
            return user, base
        user = demoted_user(self._environment, None)
        return user, self._inside if reaches(user, self._inside) else self._outside

    def _set_orphan_aside(self) -> None:
        """Data outside goes with the data directory it was made for: removing that one means to begin anew.

        It is kept under another name, in the place of what was set aside before.
        """
        data, mark = self._outside / "postgres", self._outside / PASSWORD_MARK
        if data.exists() and mark.exists() and mark.read_text() != self._password_mark():
            orphan = self._outside / "postgres.orphan"
            shutil.rmtree(orphan, ignore_errors=True)
            data.rename(orphan)

    def _password_mark(self) -> str:
        return hashlib.sha256(self._password_file.read_bytes()).hexdigest()

    def _copy_of_wheel(self) -> Path | None:
        """Copies the wheel's program to where the demoted user can run it; None where there is nothing to copy."""
        if self._environment.get(POSTGRES.override):
            return None
        original = wheel_path(POSTGRES)
        if original is None or not original.is_file():
            return None
        package = original.parents[2]
        facts = original.stat()
        target = self._outside / f"postgres-bin-{facts.st_mtime_ns:x}-{facts.st_size:x}"
        if not target.exists():
            make_directory(self._outside, 0o755)
            unfinished = target.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make_directory(unfinished, 0o755)
            shutil.copytree(package, unfinished / package.name, symlinks=True)
            libraries = package.with_name(package.name + ".libs")  # found by the programs as a sibling
            if libraries.is_dir():
                shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
            _open_to_all(unfinished)
            unfinished.rename(target)
        return target / package.name / original.relative_to(package)

    def _initialise(self, place: Place) -> None:
        """Makes the cluster and our database, under another name until both are complete."""
        unfinished = place.base / "postgres.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        own(unfinished, 0o700, place.user)
        passwords = unfinished / "password"
        passwords.touch(mode=0o600)
        passwords.write_text(self._password_file.read_text().strip() + "\n")
        if place.user is not None:
            os.chown(passwords, place.user.uid, place.user.gid)
        cluster = unfinished / "data"
        initdb = [str(place.binary.path.with_name("initdb")), "-D", str(cluster), "-U", ROLE, f"--pwfile={passwords}"]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        initdb += ["--locale=C", "--no-instructions"]
        run_once(initdb, place.user)
        single = [str(place.binary.path), "--single", "-D", str(cluster), "-c", "io_method=sync", "postgres"]
        run_once(single, place.user, stdin=f"create database {DATABASE}\n")
        if place.base == self._outside:
            write_private(place.base / PASSWORD_MARK, self._password_mark())
        cluster.rename(place.data)
        shutil.rmtree(unfinished)


def reaches(user: User | None, directory: Path) -> bool:
    """Whether a demoted user can enter a directory; we ourselves can."""
    return user is None or run(Command(["/bin/sh", "-c", ":"], cwd=directory, user=user), timeout=20).returncode == 0


def own(directory: Path, mode: int, user: User | None) -> None:
    """Makes a directory that belongs to whom the server runs as."""
    make_directory(directory.parent, 0o755)
    directory.mkdir(mode=mode, exist_ok=True)
    if user is not None:
        os.chown(directory, user.uid, user.gid)
        directory.chmod(mode)


def _open_to_all(tree: Path) -> None:
    """Lets everybody read what is in a directory: installed under a strict umask it is for its owner alone."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if path.is_dir() or mode & 0o100 else 0o044))


def run_once(argv: list[str], user: User | None, stdin: str = "") -> None:
    """Runs one of the server's own tools. Raises StartFailed with its output when it fails."""
    command = Command(argv, {"TZ": "UTC", "LC_ALL": "C"}, cwd=Path("/"), user=user)
    try:
        done = run(command, INIT_TIMEOUT, stdin)
    except subprocess.TimeoutExpired:
        raise StartFailed(f"{Path(argv[0]).name} did not end within {INIT_TIMEOUT:.0f} s") from None
    if done.returncode != 0 or "ERROR:" in done.stdout:
        raise StartFailed(f"{Path(argv[0]).name} failed (status {done.returncode}):\n{done.stdout.strip()}")
