"""Where the platform starts all the same, and what it says where it cannot go on."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from pkg.embedded import EmbeddedError, Endpoints, Options, Platform
from pkg.embedded.envoy import Envoy
from pkg.embedded.errors import DiskFull
from pkg.embedded.ports import Ports
from pkg.embedded.processes import birth
from pkg.testing.directories import data_directory
from services.up import describe

ROOT = Path(__file__).parents[3]
WITHIN_SECONDS = 60.0
DISK_BYTES = 96 << 20

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be demoted")


@pytest.fixture
def directory() -> Iterator[Path]:
    made = data_directory()
    yield made
    shutil.rmtree(made, ignore_errors=True)


def without_urls() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_BOOTSTRAP"))}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@as_root
@pytest.mark.parametrize("mask", [0o077, 0o027], ids=["077", "027"])
@pytest.mark.parametrize("home", [0o755, 0o700], ids=["an open home", "a closed home"])
def test_the_first_start_as_root_works_under_a_strict_umask(directory: Path, mask: int, home: int) -> None:
    directory.chmod(home)
    options = Options(
        directory / "checkout" / "data",
        backends=("postgres",),
        environment=without_urls(),
        system_root=directory.with_name(f"{directory.name}-system"),
    )
    try:
        with umask(mask), Platform(options) as platform:
            owner = Path(f"/proc/{platform.pids['postgres']}").stat().st_uid
        assert owner != 0
    finally:
        shutil.rmtree(options.system_root, ignore_errors=True)


@pytest.fixture
def small_disk(directory: Path) -> Iterator[Path]:
    """A file system of its own, which a test may fill."""
    place = directory / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0711", "tmpfs", place], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here, which only root may do")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path) -> Path:
    """Takes all the room that is left; returns the file that has it."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
        except OSError:
            pass
    return filler


def test_a_full_disk_is_named_and_everything_stops_in_order_and_keeps_its_data(small_disk: Path) -> None:
    options = Options(small_disk / "data", backends=("valkey", "kafka"), environment=without_urls())
    platform = Platform(options)
    platform.start()
    with redis.Redis.from_url(platform.endpoints.redis_url) as client:
        client.set("kept", "7")
    pids = platform.pids
    born = {pid: birth(pid) for pid in pids.values()}
    filler = fill(small_disk)
    os.kill(pids["kafka"], signal.SIGKILL)
    with pytest.raises(DiskFull, match=rf"The disk that holds {small_disk}/data is full: \d+ MB are left"):
        platform.wait(WITHIN_SECONDS)
    platform.stop()
    assert not [pid for pid in born if birth(pid) == born[pid]]
    fill(small_disk)  # what has ended may have given some room back
    with pytest.raises(DiskFull):
        Platform(options).start()

    filler.unlink()
    with Platform(options) as again, redis.Redis.from_url(again.endpoints.redis_url) as client:
        assert client.get("kept") == b"7"


def test_a_checkout_whose_path_has_letters_beyond_ascii_is_set_up_in_the_c_locale(directory: Path) -> None:
    checkout = directory / "größe"
    (checkout / "sdk/src/oofgg").mkdir(parents=True)
    (checkout / "sdk/src/oofgg/__init__.py").write_text("")
    shutil.copy(ROOT / "Makefile", checkout)
    python = checkout / "python"  # pip, which takes seconds to install, has no part in this
    python.write_text(f'#!/bin/sh\n[ "$2" = venv ] && set -- "$@" --without-pip\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(
        ["make", ".venv/bin/python", f"PYTHON={python}"],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = subprocess.run(
        [checkout / ".venv/bin/python", "-c", "import oofgg; print(ascii(oofgg.__file__))"],
        cwd=directory, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.stdout.strip() == ascii(str(checkout / "sdk/src/oofgg/__init__.py")), told.stderr


@pytest.fixture
def envoy(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Envoy]]:
    """An Envoy that has chosen its ports; its usual one is a port of this test."""
    claims = Ports(directory / "claims")

    def choose(usual: int, *, remembered: int | None = None, fixed: int | None = None) -> Envoy:
        monkeypatch.setattr("pkg.embedded.envoy.PREFERRED_PORT", usual)
        preferred = {"envoy": remembered} if remembered else {}
        chosen = Envoy(
            directory, claims, preferred, dict(os.environ), lambda *_: "{}", "127.0.0.1", fixed, None, probe=None
        )
        chosen.prepare(again=False)
        return chosen

    yield choose
    claims.release()


@contextmanager
def listener(address: str = "127.0.0.1") -> Iterator[int]:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as server:
        server.bind((address, 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_taken_port_is_named_together_with_the_address_to_use_instead(
    envoy: Callable[..., Envoy], address: str
) -> None:
    with listener(address) as taken:
        chosen = envoy(taken)
        port = chosen.ports()["envoy"]
        assert port != taken
        assert f"Port {taken} is taken by another program" in chosen.notice
        assert f"Use localhost:{port} wherever the docs say localhost:{taken}" in chosen.notice


def test_a_port_kept_from_an_earlier_start_is_named_too(envoy: Callable[..., Envoy]) -> None:
    with listener() as usual, listener() as before:
        pass
    chosen = envoy(usual, remembered=before)
    assert chosen.ports()["envoy"] == before
    assert f"Port {usual} was taken at an earlier start" in chosen.notice
    assert f"localhost:{before}" in chosen.notice


def test_the_usual_port_needs_no_words_and_a_wanted_one_that_is_taken_is_refused(envoy: Callable[..., Envoy]) -> None:
    with listener() as free:
        pass
    assert envoy(free).notice == ""
    with listener() as taken, pytest.raises(EmbeddedError, match=f"Port {taken}, which Envoy should listen on"):
        envoy(free, fixed=taken)


def test_up_prints_the_address_that_the_docs_use() -> None:
    endpoints = Endpoints("/data", "", "", "127.0.0.1:9092", envoy="127.0.0.1:8080", envoy_tls="127.0.0.1:8443")
    shown = describe(endpoints)
    assert "Envoy        localhost:8080   gRPC" in shown
    assert "with TLS     localhost:8443" in shown
    assert "grpcurl -plaintext localhost:8080 list" in shown
    assert "127.0.0.1:8080" not in shown
    elsewhere = describe(replace(endpoints, envoy="192.0.2.1:8080"))
    assert "192.0.2.1:8080" in elsewhere
