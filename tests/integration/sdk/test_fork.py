"""A process that was forked: a client from before is refused at once, and nothing hangs or crashes."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.integration.sdk.games import quiet
from tests.integration.sdk.script import Platform

PROGRAM = Path(__file__).with_name("forking.py")
OLD = "RuntimeError: this client was opened in"
NEW = "RuntimeError: this process was forked from process"


async def said(platform: Platform, kind: str) -> dict[str, str]:
    """What the program says, by its subjects."""
    platform.sessions.scripts = [quiet]
    program = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, platform.target, kind, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(60):
        out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    return dict(line.split(": ", 1) for line in out.decode().splitlines())


@pytest.mark.parametrize("kind", ["blocking", "waiting"])
async def test_a_client_from_before_the_fork_is_refused_at_once_and_a_new_one_clearly(
    platform: Platform, kind: str
) -> None:
    told = await said(platform, kind)
    assert told.pop("parent").startswith("works: "), "the parent's client goes on"
    assert told.pop("child") == "0"
    for subject in {"close", "exit"} & set(told):
        assert told.pop(subject) == "works: None"
    for subject in ("new blocking", "new waiting"):
        assert told.pop(subject).startswith(NEW)
    assert told.keys() == ({"old", "send", "poll"} if kind == "blocking" else {"old", "send", "iterate"})
    assert all(answer.startswith(OLD) and not answer.endswith("(slow)") for answer in told.values()), told


async def test_a_process_that_was_forked_before_the_first_client_may_open_one(platform: Platform) -> None:
    told = await said(platform, "before")
    assert told == dict.fromkeys(("new blocking", "new waiting", "parent"), "works: u1") | {"child": "0"}


async def test_a_process_that_was_forked_after_the_last_client_was_closed_is_refused_clearly(
    platform: Platform,
) -> None:
    told = await said(platform, "after")
    assert told.pop("child") == "0"
    assert all(answer.startswith(NEW) for answer in told.values())
