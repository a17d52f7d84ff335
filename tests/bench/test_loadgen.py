"""The generator of the load: its own tests, and what it refuses."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from bench import generator
from bench.generator import BenchError, Call, Job, build, running

WITHIN = 100


@pytest.fixture(scope="module")
def go() -> str:
    found = shutil.which("go")
    if found is None:
        pytest.skip("there is no Go on PATH")
    done = subprocess.run(
        [found, "mod", "download"], cwd=generator.SOURCE, capture_output=True, timeout=WITHIN, check=False
    )
    if done.returncode != 0:
        pytest.skip("there is no Go module to be had: no proxy answers")
    return found


def test_its_own_tests(go: str) -> None:
    for command in (["vet", "."], ["test", "."]):
        done = subprocess.run(
            [go, *command], cwd=generator.SOURCE, capture_output=True, text=True, timeout=WITHIN, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("go")
async def test_it_sends_nothing_beyond_loopback() -> None:
    await build()
    job = Job("unary", "192.0.2.1:80", 1, method="/a/b", in_flight=1, calls=[Call()])
    with pytest.raises(BenchError, match="loopback"):
        async with running(job):
            pass
