"""The SDK's wheel with the oldest and with older libraries it says it works with: installed apart, played for real.

Installs packages, so it is not part of `make test`: `make test-matrix`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import grpc
import pytest

from tests.e2e.callers import make_cast

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 300
PLAY_SECONDS = 60


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT / "sdk")]
    subprocess.run(command, check=True, timeout=INSTALL_SECONDS, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.mark.timeout(2 * INSTALL_SECONDS)
@pytest.mark.parametrize("lock", ["sdk-oldest", "sdk-middle"])
async def test_a_match_is_played_with(
    lock: str, wheel: Path, tmp_path: Path, envoy: str, channel: grpc.aio.Channel
) -> None:
    cast = await make_cast(channel)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    locked = ["--require-hashes", "-r", str(ROOT / "requirements" / f"{lock}.lock")]
    subprocess.run([*pip, *locked], check=True, timeout=INSTALL_SECONDS)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, timeout=INSTALL_SECONDS)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    played = subprocess.run(
        [python, "-W", "error", ROOT / "tests" / "matrix" / "play_a_match.py", envoy, cast.game_id],
        cwd=tmp_path,
        env=environment,
        timeout=PLAY_SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    expected = dict(line.split("==") for line in (ROOT / "requirements" / f"{lock}.in").read_text().split())
    assert played.stdout.split()[-2:] == [expected["grpcio"], expected["protobuf"]]
