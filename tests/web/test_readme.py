"""The examples of sdk/web/README.md: they type-check, and they run as they stand, on the package as it is built."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

import oofgg
from tests.e2e.matches import PASSWORD, register
from tests.web.browser import ROOT
from tests.web.test_browser import MATCH_SECONDS

WEB = ROOT / "sdk" / "web"
BLOCKS = re.findall(r"```ts\n(.*?)```", (WEB / "README.md").read_text(), re.DOTALL)
# What a browser has, and the way a shell starts it.
START = """
globalThis.sessionStorage = { getItem: () => null, setItem: () => {}, removeItem: () => {} };
await main(...process.argv.slice(2));
"""


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_an_example_type_checks(built: None, tmp_path: Path, block: int) -> None:
    (tmp_path / "example.ts").write_text(BLOCKS[block])
    (tmp_path / "package.json").write_text('{"type": "module"}')
    config = {
        "extends": str(WEB / "tsconfig.json"),
        "compilerOptions": {"paths": {"@oofgg/web": [str(WEB / "dist/index.d.ts")]}, "types": []},
        "include": ["example.ts"],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    done = subprocess.run(
        [WEB / "node_modules/.bin/tsc", "-p", tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


async def test_the_first_example_plays_a_match(built: None, tmp_path: Path, envoy: str, game_id: str) -> None:
    (tmp_path / "example.ts").write_text(BLOCKS[0] + START)
    bundle: list[str | Path] = [
        WEB / "node_modules/.bin/esbuild", "example.ts", "--bundle", "--platform=node", "--format=esm",
        f"--alias:@oofgg/web={WEB / 'dist/index.js'}", "--outfile=example.mjs", "--log-level=warning",
    ]  # fmt: skip
    subprocess.run(bundle, cwd=tmp_path, timeout=60, check=True)
    async with (
        asyncio.timeout(MATCH_SECONDS),
        oofgg.Client(envoy, game=game_id) as ada,
        oofgg.Client(envoy, game=game_id) as bob,
    ):
        name = await register(ada, "ada")
        await register(bob, "bob")
        session = await bob.sessions.create(min_seats=2, max_seats=2)
        node = await asyncio.create_subprocess_exec(
            "node", tmp_path / "example.mjs", f"http://{envoy}", game_id, name, PASSWORD, session.session_id,
            stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        try:
            async with bob.play(session) as playing:
                await playing.started()
                await playing.send({"move": "e5"})
                async for event in playing:
                    if isinstance(event, oofgg.Message) and event.seat != playing.seat:
                        assert event.json() == {"move": "e4"}
                        await playing.finish({event.seat: 1, playing.seat: 2})
                assert playing.info.result_state is oofgg.ResultState.AGREED
            out, err = await node.communicate()
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
    assert (node.returncode, out.decode(), err.decode()) == (0, "they play { move: 'e5' }\n", "")
