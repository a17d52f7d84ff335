"""`forking.py TARGET KIND` opens a client, forks, and says what its child meets. A child has ten seconds."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable

import oofgg
import oofgg.sync

CHILD_SECONDS = 10.0


def say(what: str, work: Callable[[], object]) -> None:
    began = time.monotonic()
    try:
        outcome = f"works: {work()}"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    slow = " (slow)" if time.monotonic() - began > 3.0 else ""
    print(f"{what}: {outcome}{slow}", flush=True)


def in_a_child(work: Callable[[], None], end: Callable[[int], object] = sys.exit) -> None:
    """Forks; the child does its work and ends as programs end, or as those of multiprocessing do (`os._exit`)."""
    child = os.fork()
    if child == 0:
        work()
        end(0)
    deadline = time.monotonic() + CHILD_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            print(f"child: {os.waitstatus_to_exitcode(status)}", flush=True)
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("child: hangs", flush=True)


def new_blocking(target: str) -> str:
    with oofgg.sync.Client(target) as client:
        return client.login("ada", "secret").user_id


async def new_waiting(target: str) -> str:
    async with oofgg.Client(target) as client:
        return (await client.login("ada", "secret")).user_id


def news(target: str) -> None:
    say("new blocking", lambda: new_blocking(target))
    say("new waiting", lambda: asyncio.run(new_waiting(target)))


def blocking(target: str) -> None:
    with oofgg.sync.Client(target) as client:
        client.login("ada", "secret")
        with client.play("s1") as session:

            def child() -> None:
                say("old", client.account)
                say("send", lambda: session.send("x"))
                say("poll", session.poll)
                say("exit", session.close)
                say("close", client.close)
                news(target)

            in_a_child(child)
        say("parent", lambda: client.account().user_id)


def waiting(target: str) -> None:
    async def main() -> None:
        async with oofgg.Client(target) as client:
            await client.login("ada", "secret")
            async with client.play("s1") as session:

                def step(work: Callable[[], object]) -> Callable[[], object]:
                    """Runs a coroutine as far as it goes without an event loop: a forked process has none."""

                    def run() -> object:
                        return work().send(None)  # type: ignore[attr-defined]

                    return run

                def child() -> None:
                    say("old", step(client.account))
                    say("send", step(lambda: session.send("x")))
                    say("iterate", step(lambda: anext(session)))
                    say("close", lambda: asyncio.run(client.close()))
                    news(target)

                in_a_child(child, os._exit)
            say("parent", lambda: "open")
            await client.account()

    asyncio.run(main())


def before(target: str) -> None:
    """The first client is opened in the child."""
    in_a_child(lambda: news(target))
    say("parent", lambda: new_blocking(target))


def after(target: str) -> None:
    """The parent's client was closed before."""
    new_blocking(target)
    in_a_child(lambda: news(target))


if __name__ == "__main__":
    {"blocking": blocking, "waiting": waiting, "before": before, "after": after}[sys.argv[2]](sys.argv[1])
