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
# What a browser has, and the way a shell starts an example.
BROWSER = "globalThis.sessionStorage = { getItem: () => null, setItem: () => {}, removeItem: () => {} };"
FIRST = "await main(...process.argv.slice(2));"
DUEL = """
const [platform, game, username, password] = process.argv.slice(2);
const client = new Client(platform, { game });
await client.login(username, password);
const session = await duel(client);
console.log(`playing ${session.info.sessionId}`);
await session.close();
process.exit(0); // the ticket is watched on
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


def bundled(directory: Path, example: str, start: str) -> Path:
    """An example as a program for Node."""
    (directory / "example.ts").write_text(example + BROWSER + start)
    bundle: list[str | Path] = [
        WEB / "node_modules/.bin/esbuild", "example.ts", "--bundle", "--platform=node", "--format=esm",
        f"--alias:@oofgg/web={WEB / 'dist/index.js'}", "--outfile=example.mjs", "--log-level=warning",
    ]  # fmt: skip
    subprocess.run(bundle, cwd=directory, timeout=60, check=True)
    return directory / "example.mjs"


async def ran(program: Path, *arguments: str) -> list[str]:
    """The lines that a program prints which ends as it should."""
    node = await asyncio.create_subprocess_exec("node", program, *arguments, stdout=PIPE, stderr=PIPE)
    try:
        out, err = await node.communicate()
    finally:
        if node.returncode is None:
            node.kill()
            await node.wait()
    assert (node.returncode, err.decode()) == (0, "")
    return out.decode().splitlines()


async def test_two_copies_of_the_first_example_agree_on_the_result(
    built: None, tmp_path: Path, envoy: str, game_id: str
) -> None:
    program = bundled(tmp_path, BLOCKS[0], FIRST)
    async with (
        asyncio.timeout(MATCH_SECONDS),
        oofgg.Client(envoy, game=game_id) as ada,
        oofgg.Client(envoy, game=game_id) as bob,
    ):
        names = [await register(ada, "ada"), await register(bob, "bob")]
        session = await bob.sessions.create(min_seats=2, max_seats=2)
        told = (f"http://{envoy}", game_id)
        said = await asyncio.gather(*(ran(program, *told, name, PASSWORD, session.session_id) for name in names))
        assert (await bob.sessions.get(session.session_id)).result_state is oofgg.ResultState.AGREED
    assert all(lines[-1] == "the result is AGREED" for lines in said), said
    rolls = [[line for line in lines if line.startswith("seat ")] for lines in said]
    assert rolls[0] == rolls[1]
    assert len(rolls[0]) == 2


async def test_two_copies_of_the_matchmaking_example_meet_in_one_session(
    built: None, tmp_path: Path, envoy: str, studio: oofgg.Client, game_id: str
) -> None:
    await studio.queues.create(oofgg.Queue("duel", acceptance_seconds=20))
    program = bundled(tmp_path, BLOCKS[1], DUEL)
    async with (
        asyncio.timeout(MATCH_SECONDS),
        oofgg.Client(envoy, game=game_id) as ada,
        oofgg.Client(envoy, game=game_id) as bob,
    ):
        names = [await register(ada, "ada"), await register(bob, "bob")]
        said = await asyncio.gather(*(ran(program, f"http://{envoy}", game_id, name, PASSWORD) for name in names))
    assert said[0][-1].startswith("playing ")
    assert said[0][-1] == said[1][-1]
    assert all("PROPOSED []" in lines for lines in said)
