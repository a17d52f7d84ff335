"""The wheel, away from the checkout: what it holds, and that it needs nothing but grpcio and protobuf."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LIBRARIES = ("grpcio", "protobuf", "typing_extensions")

PROGRAM = """
import asyncio, sys
import oofgg
from oofgg.v1 import session_pb2
from oofgg.events.v1 import match_pb2

async def main():
    async with oofgg.Client("127.0.0.1:1", timeout=0.3) as client:
        try:
            await client.login("ada", "secret")
        except oofgg.errors.Unavailable as error:
            print("unavailable")

asyncio.run(main())
print(oofgg.__file__)
foreign = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
print(*sorted(name for name in foreign if not name.startswith("_")))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT / "sdk")]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return next(out.glob("*.whl"))


def test_what_it_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"oofgg"}, "no foreign top-level name"
    for expected in (
        "oofgg/py.typed",
        "oofgg/client.py",
        "oofgg/sync/__init__.py",
        "oofgg/v1/session_pb2.pyi",
        "oofgg/events/v1/match_pb2.py",
    ):
        assert expected in names
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert [line.split()[1].partition(">")[0] for line in required] == ["grpcio", "protobuf"]
    assert "# oofgg" in metadata, "the README is its description"


def test_it_says_under_which_license_it_is_and_where_it_comes_from(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (license_file,) = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        license_text = archive.read(license_file).decode()
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    assert license_text == (ROOT / "LICENSE").read_text()
    fields: dict[str, list[str]] = {}
    for line in metadata.partition("\n\n")[0].splitlines():
        name, _, value = line.partition(": ")
        fields.setdefault(name, []).append(value)
    assert fields["License-Expression"] == ["Apache-2.0"]
    assert fields["License-File"] == ["LICENSE"]
    urls = dict(url.split(", ") for url in fields["Project-URL"])
    assert urls.keys() == {"Homepage", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith("https://") for url in urls.values())
    assert {"Typing :: Typed", "Framework :: AsyncIO"} <= set(fields["Classifier"])


PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), ROOT / "sdk" / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_until_it_is_published_no_page_installs_it_by_its_name_alone(page: Path) -> None:
    assert not re.search(r"pip install (-\S+ )*['\"]?oofgg", page.read_text())


def test_it_works_with_grpcio_and_protobuf_alone(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    for library in LIBRARIES:
        link_distribution(library, target)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(target)}
    # -S: nothing that is installed beside is visible. -W error: nothing deprecated is used.
    ran = subprocess.run(
        [sys.executable, "-S", "-W", "error", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    said, location, modules = ran.stdout.splitlines()
    assert said == "unavailable"
    assert location.startswith(str(target))
    assert set(modules.split()) <= {"cython_runtime", "google", "grpc", "oofgg", "typing_extensions"}


def link_distribution(name: str, target: Path) -> None:
    """Makes one installed distribution importable from `target`."""
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or ():
        if file.parts[0] == ".." or "__pycache__" in file.parts:
            continue
        link = target / file
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(distribution.locate_file(file))  # type: ignore[arg-type]
