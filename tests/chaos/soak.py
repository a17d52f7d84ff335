"""`python -m tests.chaos.soak --minutes 30 --seed N`: faults in a random order while bots play, and no end of it.

Ends with 0 when every promise held and no process grew, with 1 when not, with 3 when it could not go on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import psutil

from tests.chaos.bots import Bots, Outcome
from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.memory import MIB, Growth, Memory
from tests.chaos.proxy import Proxy

_SAMPLE_SECONDS: Final = 2.0
_VERDICT_SECONDS: Final = 180.0
_FIRST_FAULT_SECONDS: Final = 5.0
# Between two faults: enough for all of it to settle, and to tell what has caused what.
_QUIET_SECONDS: Final = (4.0, 12.0)
_PLAYERS: Final = (
    "--players",
    "24",
    "--rate",
    "5",
    "--droppers",
    "3",
    "--slow",
    "2",
    "--spectators",
    "3",
    "--reconnect-for",
    "60",
)


def main(arguments: list[str]) -> int:
    """Runs it and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long bots play (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="repeats the order of the faults; random otherwise")
    told = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 32) if told.seed is None else told.seed
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {line}", flush=True)

    say(f"soaking for {told.minutes:g} minutes, seed {seed}")
    try:
        with Cluster() as cluster, tempfile.TemporaryDirectory(prefix="oofgg-soak-") as directory:
            say("the cluster is up")
            soak = Soak(cluster, Path(directory), told.minutes * 60, seed, say)
            outcome = asyncio.run(soak.run())
            grown = soak.memory.judge()
    except KeyboardInterrupt:
        return 130
    except AssertionError as error:
        say(f"could not go on: {error}")
        return 3
    return verdict(outcome, grown)


class Soak:
    """One run."""

    def __init__(
        self, cluster: Cluster, directory: Path, seconds: float, seed: int, say: Callable[[str], None]
    ) -> None:
        self.memory = Memory()
        self._cluster = cluster
        self._report = directory / "report.json"
        self._seconds = seconds
        self._seed = seed
        self._say = say

    async def run(self) -> Outcome:
        """Plays and strikes until the time is over; returns the bots' verdict."""
        longest = max(fault.outage for fault in FAULTS)
        arguments = (
            *_PLAYERS,
            "--seconds",
            str(self._seconds),
            "--seed",
            str(self._seed),
            "--max-outage",
            str(longest),
        )
        async with Proxy(self._cluster.address) as proxy:
            bots = await Bots.start(proxy.address, self._report, arguments)
            try:
                await bots.playing()
                async with self._sampling(bots):
                    await self._strike(proxy, bots)
                    outcome = await bots.end(self._seconds + _VERDICT_SECONDS)
            finally:
                await bots.close()
        self._say(f"the bots: {outcome.figures}")
        return outcome

    async def _strike(self, proxy: Proxy, bots: Bots) -> None:
        loop = asyncio.get_running_loop()
        chance = random.Random(self._seed)
        deadline = loop.time() + self._seconds
        await asyncio.sleep(_FIRST_FAULT_SECONDS)
        for fault in endless(chance):
            if loop.time() + fault.lasts > deadline or bots.ended:
                return
            began = loop.time()
            did = await fault.strike(self._cluster, proxy)
            self._say(f"{fault.name}: {did}, whole after {loop.time() - began:.1f} s  |  {bots.progress}")
            await asyncio.sleep(min(chance.uniform(*_QUIET_SECONDS), max(0.0, deadline - loop.time())))

    @contextlib.asynccontextmanager
    async def _sampling(self, bots: Bots) -> AsyncIterator[None]:
        async def sample() -> None:
            loop = asyncio.get_running_loop()
            while True:
                with contextlib.suppress(psutil.NoSuchProcess):
                    processes = {**self._cluster.processes(), "bots": psutil.Process(bots.pid)}
                    await asyncio.to_thread(self.memory.sample, loop.time(), processes)
                await asyncio.sleep(_SAMPLE_SECONDS)

        sampling = asyncio.create_task(sample())
        try:
            yield
        finally:
            sampling.cancel()
            (ended,) = await asyncio.gather(sampling, return_exceptions=True)
            if isinstance(ended, Exception):
                raise ended


def endless(chance: random.Random) -> Iterator[Fault]:
    """Faults, each as often as any other, in an order of chance."""
    while True:
        deck = list(FAULTS)
        chance.shuffle(deck)
        yield from deck


def verdict(outcome: Outcome, grown: list[Growth]) -> int:
    """Prints the table and the verdict; returns the exit code."""
    print(f"\n  {'process':<10} {'pid':>8} {'watched':>8} {'first':>9} {'last':>9} {'most':>9} {'allowed':>9}")
    for each in grown:
        sizes = "".join(f"{size / MIB:>6.1f} MiB" for size in (each.first, each.last, each.most, each.allowed))
        word = "GROWS" if each.grows else "" if each.judged else "too short to tell"
        print(f"  {each.name:<10} {each.pid:>8} {each.seconds:>6.0f} s {sizes}  {word}")
    growing = [each.name for each in grown if each.grows]
    if growing:
        print(f"\nmemory grows: {', '.join(growing)}")
    if outcome.exit_code:
        print(f"\nthe bots ended with {outcome.exit_code}:\n{outcome.output}")
    if growing or outcome.exit_code:
        return 1
    print("\nEvery promise held, and nothing grew.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
