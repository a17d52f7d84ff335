"""The lines to paste that a page of the documentation shows, pasted."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PASTE_SECONDS = 90


def section(page: str, heading: str) -> str:
    """The shell lines under a heading of a page."""
    text = (ROOT / page).read_text()
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{page} has no heading {heading!r}"
    blocks = re.findall(r"```sh\n(.*?)```", found[1], re.DOTALL)
    assert blocks, f"{page}: there is nothing to paste under {heading!r}"
    return "\n".join(blocks)


def pasted(script: str, envoy: str, environment: Mapping[str, str] | None = None) -> str:
    """What somebody sees who pastes these lines. Account names are made this run's own."""
    suffix = os.urandom(3).hex()
    host, _, port = envoy.rpartition(":")
    own = re.sub(r'"(grace|ada)(?=["@])', rf'"\1-{suffix}', script)
    own = own.replace("localhost:8080", envoy).replace("--host localhost --port 8080", f"--host {host} --port {port}")
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", own],
        capture_output=True,
        text=True,
        timeout=PASTE_SECONDS,
        check=False,
        env={**os.environ, **(environment or {})},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
