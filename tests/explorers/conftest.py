"""The platform, and the tools that people explore it with. `make test-explorers` builds them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pkg.embedded import Platform
from tests.e2e.conftest import running_platform
from tests.e2e.recipes import ROOT

BUILT = ROOT / "build" / "tools"


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    with running_platform() as started:
        yield started


@pytest.fixture(scope="session")
def envoy(platform: Platform) -> str:
    return platform.endpoints.envoy


@pytest.fixture
def with_tools(tmp_path: Path) -> Callable[..., Mapping[str, str]]:
    """Returns the environment in which the named tools can be called, or skips."""
    path = f"{BUILT}{os.pathsep}{os.environ['PATH']}"

    def named(*tools: str) -> Mapping[str, str]:
        for tool in tools:
            if shutil.which(tool, path=path) is None:
                missing = BUILT / f"{tool}.missing"
                why = missing.read_text().partition(": ")[2].strip() if missing.is_file() else "run `make explorers`"
                pytest.skip(f"there is no {tool}: {why}")
        return {"PATH": path, "HOME": str(tmp_path)}  # evans writes its settings there

    return named
