"""The platform, a page served on loopback, and a browser to open it with. `make test-web` builds what is needed."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import pytest

import oofgg
from pkg.embedded import Platform
from tests.e2e.conftest import running_platform
from tests.web.browser import ROOT, Browser, chromium

BUILT = ROOT / "build" / "web"
PAGE = "rock-paper-scissors"
# Names that lead to loopback in the browser of these tests: one that the platform allows, and one that it does not.
FRIEND = "friend.example"
STRANGER = "stranger.example"
TOKEN_SECONDS = 4


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@dataclass(frozen=True)
class Site:
    """The example page on a web server."""

    port: int

    def origin(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}"

    def url(self, platform: str, game_id: str, host: str = "127.0.0.1", **more: str) -> str:
        """The page, told where the platform is."""
        address = platform if "://" in platform else f"http://{platform}"
        return f"{self.origin(host)}/?{urlencode({'platform': address, 'game': game_id, **more})}"


@pytest.fixture(scope="session")
def built() -> None:
    """What `make web` builds."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js")
    if not (BUILT / PAGE / "main.js").is_file():
        pytest.fail("the examples are not built: run `make test-web`")


@pytest.fixture(scope="session")
def site(built: None) -> Iterator[Site]:
    handler = functools.partial(_Quiet, directory=str(BUILT / PAGE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Site(server.server_port)
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="session")
def platform(site: Site) -> Iterator[Platform]:
    """A platform whose tokens expire while one looks, and whose streams want frequent signs of life."""
    environment = {"OOFGG_ACCESS_TOKEN_SECONDS": str(TOKEN_SECONDS), "OOFGG_GAME_HEARTBEAT_SECONDS": "3"}
    with running_platform(environment, (site.origin(FRIEND),)) as started:
        yield started


@pytest.fixture(scope="session")
def envoy(platform: Platform) -> str:
    return platform.endpoints.envoy


@pytest.fixture
async def studio(envoy: str) -> AsyncIterator[oofgg.Client]:
    """A developer with a new game, whose console it is."""
    name = f"studio-{os.urandom(4).hex()}"
    async with oofgg.Client(envoy) as client:
        await client.register(name, f"{name}@example.org", "correct horse")
        await client.become_developer()
        client.game = (await client.games.create("Rock, paper, scissors")).game_id
        yield client


@pytest.fixture
def game_id(studio: oofgg.Client) -> str:
    """Its game."""
    return studio.game


@pytest.fixture
async def browser(built: None) -> AsyncIterator[Browser]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium")
    async with chromium(program, f"MAP {FRIEND} 127.0.0.1, MAP {STRANGER} 127.0.0.1") as started:
        yield started
