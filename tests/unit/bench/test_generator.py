"""The generator of load where it cannot be built. Its own tests need Go: tests/bench."""

from __future__ import annotations

import os

import pytest

from bench.generator import BenchError, build


async def test_without_go_it_tells_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "")
    with pytest.raises(BenchError, match="Install Go"):
        await build()
