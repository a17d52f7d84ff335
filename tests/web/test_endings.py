"""The browser package: guests, lists of rooms, the clock, kicking, leaving; in Node, through Envoy."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from typing import Any

import pytest

from tests.web.browser import ROOT
from tests.web.test_browser import MATCH_SECONDS

EXPECTED: dict[str, list[Any]] = {
    # A list shows what is in each room.
    "rooms": [[True, 1, 3]],
    # Nothing is known before the first answer; then the clocks of one machine agree.
    "clock": [True, True, False],
    # Who was kicked is told why, stays out, and has nothing to give up or to say any more.
    "kicked": ["good night", "KICKED", False, False],
    # A page that was replaced does not throw the new one out.
    "replaced": ["REPLACED", False, "still here", True, False],
    # A result can name a winner who has left.
    "departed": [2, [1, 2]],
    # A sender that is over its budget is told.
    "throttled": [True],
}


@pytest.mark.parametrize("scene", EXPECTED)
async def test_a_guest_on_the_browser_package_sees_what_its_guide_says(
    built: None, envoy: str, game_id: str, scene: str
) -> None:
    node = await asyncio.create_subprocess_exec(
        "node", ROOT / "tests/web/endings.js", ROOT / "sdk/web/dist/index.js", f"http://{envoy}", game_id, scene,
        stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(MATCH_SECONDS):
            out, err = await node.communicate()
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert node.returncode == 0, err.decode()
    assert json.loads(out) == EXPECTED[scene]
