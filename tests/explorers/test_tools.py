"""What the how-to shows for people who explore the platform by hand, through Envoy, as it stands."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Callable, Mapping

from tests.e2e.recipes import ROOT, pasted, section

PAGE = "docs/how-to/explore-by-hand.md"
WithTools = Callable[..., Mapping[str, str]]
REPL_SECONDS = 30.0
ENTERS = 20
ENTER_SECONDS = 2.0


def account() -> str:
    """An account, and its token in TOKEN: every other section builds on this one."""
    return section(PAGE, "JSON with curl")


def test_grpcurl_lists_describes_logs_in_and_calls(envoy: str, with_tools: WithTools) -> None:
    seen = pasted(account() + section(PAGE, "gRPC with grpcurl"), envoy, with_tools("curl", "grpcurl"))
    for told in (
        "oofgg.v1.AccountService\noofgg.v1.AuthService\noofgg.v1.ClassicService\noofgg.v1.GameService\n",
        "rpc Play ( stream .oofgg.v1.PlayRequest ) returns ( stream .oofgg.v1.PlayResponse )",
        '"accessToken": "',
        '"username": "grace-',
    ):
        assert told in seen, told


def test_evans_lists_describes_logs_in_and_calls(envoy: str, with_tools: WithTools) -> None:
    seen = pasted(account() + section(PAGE, "gRPC with evans"), envoy, with_tools("curl", "evans"))
    for told in (
        "oofgg.v1.AccountService\noofgg.v1.AuthService\noofgg.v1.ClassicService\noofgg.v1.GameService\n",
        "oofgg.v1.SessionService.Play\n",
        "message JoinRequest {",
        '"accessToken": "',
        '"username": "grace-',
    ):
        assert told in seen, told


def test_play_by_hand_with_grpcurl(envoy: str, with_tools: WithTools) -> None:
    seen = pasted(account() + section(PAGE, "Playing by hand"), envoy, with_tools("curl", "grpcurl"))
    for told in ('"headSeq": ', "aGVsbG8=", "RESULT_STATE_AGREED", '"score": "7"'):
        assert told in seen, told


def test_play_by_hand_with_evans(envoy: str, with_tools: WithTools) -> None:
    told = section(PAGE, "Playing by hand").replace(
        "| rpc SessionService/Play @", "| evans cli call oofgg.v1.SessionService.Play"
    )
    own = section(PAGE, "gRPC with evans").splitlines()[0]
    assert own.startswith("evans() {")
    seen = pasted("\n".join([account(), own, told]), envoy, with_tools("curl", "grpcurl", "evans"))
    assert '"headSeq": ' in seen
    assert '"payload": "aGVsbG8="' in seen


def test_without_reflection_the_committed_description_will_do(envoy: str, with_tools: WithTools) -> None:
    seen = pasted(account() + section(PAGE, "Without reflection"), envoy, with_tools("curl", "grpcurl"))
    assert '"username": "grace-' in seen
    assert "session.proto\n" in seen
    alone = "grpcurl -import-path build/protos -proto oofgg/v1/session.proto describe oofgg.v1.SessionService"
    assert "rpc Play (" in pasted(alone, envoy, with_tools("grpcurl"))


def test_what_is_refused_says_why(envoy: str, with_tools: WithTools) -> None:
    refused = "grpcurl -plaintext localhost:8080 oofgg.v1.AuthService/GetAccount 2>&1 || true"
    seen = pasted(refused, envoy, with_tools("grpcurl"))
    assert "Code: Unauthenticated" in seen
    assert '"reason": "TOKEN_MISSING"' in seen


def typed_lines() -> list[str]:
    """The lines for evans' prompt."""
    found = re.search(r"```text\n(.*?)```", (ROOT / PAGE).read_text(), re.DOTALL)
    assert found is not None
    return found[1].splitlines()


class Terminal:
    """A program at a terminal of its own, as a person uses it."""

    def __init__(self, command: str, environment: Mapping[str, str]) -> None:
        # `script` makes the terminal; evans opens /dev/tty itself.
        self._process = subprocess.Popen(
            ["script", "--quiet", "--return", "--command", f"stty cols 120 rows 40; {command}", "/dev/null"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
            env={**os.environ, **environment, "TERM": "xterm"},
        )  # fmt: skip
        self._seen = ""

    def shows(self, pattern: str, seconds: float = REPL_SECONDS) -> bool:
        """Whether text comes, after what was waited for before."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self._seen)):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return False
            read = os.read(self._process.stdout.fileno(), 1 << 16)
            assert read, f"the program has ended: {self._seen}"
            self._seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read.decode(errors="replace"))
        self._seen = self._seen[found.end() :]
        return True

    def enter(self, line: str, answer: str) -> None:
        """Types a line, and presses Enter until the answer shows: the first may come before the prompt listens."""
        self._write(line.encode())
        self.shows(re.escape(line))
        for _ in range(ENTERS):
            self._write(b"\r")
            if self.shows(answer, ENTER_SECONDS):
                return
        raise AssertionError(f"{line!r} was not answered by {answer!r}, but: {self._seen}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)


def test_evans_at_its_prompt(envoy: str, with_tools: WithTools) -> None:
    environment = with_tools("curl", "evans", "script")
    seen = pasted(account() + '\necho "token $TOKEN"', envoy, environment)
    token = re.search(r"token (\S+)", seen)
    assert token is not None
    host, _, port = envoy.rpartition(":")
    terminal = Terminal(
        f"evans --host {host} --port {port} --reflection --header 'authorization=Bearer {token[1]}' repl", environment
    )
    try:
        assert terminal.shows(re.escape(f"oofgg.v1@{envoy}> "))
        service, call = typed_lines()
        terminal.enter(service, re.escape(f"oofgg.v1.AuthService@{envoy}> "))
        terminal.enter(call, r'"username": "grace-')
    finally:
        terminal.close()
