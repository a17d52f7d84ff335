"""A real Chromium, told what to do by JSON lines; see driver.js."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 45.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Call:
    """A call that a page made, as the browser saw it."""

    rpc: str
    grpc_status: str | None
    """Only when it came before the body, as a refusal does."""
    state: str
    """`open`, `finished`, or `failed: …`."""


class Page:
    """One page in a context of its own. Methods are those of Playwright's Page."""

    def __init__(self, browser: Browser, name: str) -> None:
        self._browser = browser
        self._name = name

    async def do(self, method: str, *args: object) -> Any:
        return await self._browser.command(self._name, method, *args)

    async def shows(self, selector: str, text: str) -> None:
        """Waits until an element that is visible holds this text."""
        try:
            await self.do("waitForSelector", f"{selector}:visible:has-text({json.dumps(text)})")
        except BrowserError as error:
            body = await self.do("innerText", "body")
            raise AssertionError(
                f"{selector} never showed {text!r}; the page:\n{body}\n{await self.console()}"
            ) from error

    async def text(self, selector: str) -> str:
        return str(await self.do("textContent", selector) or "").strip()

    async def console(self) -> list[str]:
        log = await self.do("log")
        return list(log["console"])

    async def protocols(self, rpc: str) -> set[str]:
        """What the calls of an RPC were spoken over, such as `h2` or `http/1.1`."""
        log = await self.do("log")
        return {protocol for url, protocol in log["protocols"].items() if url.endswith(f"/{rpc}")}

    async def calls(self, rpc: str = "") -> list[Call]:
        """Its calls so far, in order; only those of one RPC if it is named."""
        log = await self.do("log")
        made = [
            Call(entry["url"].rpartition("/")[2], entry["grpcStatus"], entry["state"])
            for entry in log["requests"]
            if "/oofgg.v1." in entry["url"] and entry["method"] == "POST"
        ]
        return [call for call in made if rpc in ("", call.rpc)]


class BrowserError(Exception):
    """The browser could not do it."""


class Browser:
    """Chromium behind its driver. Commands run one after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self._pages = 0

    async def page(self) -> Page:
        self._pages += 1
        page = Page(self, str(self._pages))
        await page.do("open")
        return page

    async def command(self, page: str, method: str, *args: object) -> Any:
        """Raises BrowserError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn, asyncio.timeout(PATIENCE):
            self._process.stdin.write(json.dumps([page, method, args]).encode() + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        if not line:
            raise BrowserError("the browser has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer["value"]


@asynccontextmanager
async def chromium(program: str, resolver_rules: str) -> AsyncIterator[Browser]:
    """Chromium with data of its own."""
    directory = tempfile.mkdtemp(prefix="oofgg-chromium-")
    process = await asyncio.create_subprocess_exec(
        "node", ROOT / "tests/web/driver.js", ROOT / "sdk/web/package.json", program, directory, resolver_rules,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
        env={**os.environ, "TMPDIR": directory},
    )  # fmt: skip
    try:
        yield Browser(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        shutil.rmtree(directory, ignore_errors=True)
