"""Players as a game has them, on the SDK: `python -m bench.clients`, a process of its own.

The first line of standard input is a `Job`. The process answers `ready` once everybody plays and hears its session, and
then, for each further line `{"since": {session id: moment}}`, when each player had the first event that was sent after
that moment. Moments are seconds of the machine's monotonic clock. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import oofgg
from bench.generator import ROOT, BenchError

_READY_SECONDS = 60.0
_SEEN_SECONDS = 60.0
_END_SECONDS = 20.0
_LINE_BYTES = 1024 * 1024
_POLL_SECONDS = 0.01
# Events that a player remembers: more than come in the time that is waited for one.
_REMEMBERED = 20_000
_STAMP = struct.Struct(">d")


@dataclass(frozen=True, slots=True)
class Seat:
    """A session, and the device of a guest that has a seat in it."""

    session_id: str
    device_id: str


@dataclass(frozen=True, slots=True)
class Job:
    """Who plays where. Everybody sends one reliable command at the rate."""

    target: str
    game_id: str
    hertz: float
    seats: Sequence[Seat]


class Clients:
    """The process, from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def seen(self, since: Mapping[str, float]) -> list[float]:
        """When each player had a first event that was sent after the moment of its session.

        Waits for the last one; raises BenchError when it does not come.
        """
        self.tell({"since": dict(since)})
        return [float(moment) for moment in await self.answer("seen", _SEEN_SECONDS)]

    def tell(self, line: object) -> None:
        """Sends a line."""
        if self._process.stdin is None:
            raise AssertionError("the clients were started with a pipe")
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def answer(self, event: str, seconds: float) -> list[float]:
        """The answer, which has to be this one."""
        if self._process.stdout is None:
            raise AssertionError("the clients were started with a pipe")
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise BenchError(f"the clients did not say {event!r} within {seconds:.0f} s") from error
        answer = json.loads(line or b'{"event": "failed", "reason": "they ended"}')
        if answer["event"] != event:
            raise BenchError(f"the clients: {answer.get('reason', answer)}")
        moments: list[float] = answer.get("moments", [])
        return moments


@asynccontextmanager
async def playing(job: Job) -> AsyncIterator[Clients]:
    """Clients that all play, ended when left. Raises BenchError when they do not come to it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.clients", cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_BYTES,
    )  # fmt: skip
    try:
        clients = Clients(process)
        clients.tell(asdict(job))
        await clients.answer("ready", _READY_SECONDS)
        yield clients
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Player:
    """One client on its own connection."""

    def __init__(self, job: Job, seat: Seat) -> None:
        self.session_id = seat.session_id
        self._job = job
        self._device_id = seat.device_id
        self._seen: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)

    async def play(self) -> None:
        """Plays until cancelled."""
        async with oofgg.Client(self._job.target, game=self._job.game_id) as client:
            await client.login_guest(self._device_id, existing_only=True)
            async with client.play(self.session_id, after_seq=None) as session, asyncio.TaskGroup() as group:
                group.create_task(self._send(session))
                async for event in session:
                    if isinstance(event, oofgg.Message):
                        self.heard(_STAMP.unpack(event.data)[0], time.monotonic())

    def heard(self, sent: float, came: float) -> None:
        """An event came, and says when it was sent."""
        self._seen.append((sent, came))

    def first_after(self, moment: float) -> float | None:
        """When the first event came that was sent after a moment."""
        return next((came for sent, came in self._seen if sent > moment), None)

    async def _send(self, session: oofgg.PlaySession) -> None:
        period = 1 / self._job.hertz
        due = time.monotonic() + random.random() * period  # players do not move in step
        while True:
            await asyncio.sleep(due - time.monotonic())
            await session.send(_STAMP.pack(time.monotonic()))
            due = max(due + period, time.monotonic() - period)


async def firsts(players: Sequence[Player], since: Mapping[str, float]) -> list[float]:
    """What `Clients.seen` returns."""
    moments: dict[Player, float] = {}
    while len(moments) < len(players):
        for player in players:
            if player not in moments and (came := player.first_after(since[player.session_id])) is not None:
                moments[player] = came
        await asyncio.sleep(_POLL_SECONDS)
    return list(moments.values())


async def serve(job: Job, lines: asyncio.StreamReader) -> None:
    """Plays and answers until there are no more lines."""
    players = [Player(job, seat) for seat in job.seats]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(player.play()) for player in players]
        await firsts(players, {player.session_id: 0.0 for player in players})
        _say("ready", [])
        while line := await lines.readline():
            _say("seen", await firsts(players, json.loads(line)["since"]))
        for task in tasks:
            task.cancel()


async def _main() -> None:
    lines = asyncio.StreamReader(limit=_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    told = json.loads(await lines.readline())
    told["seats"] = [Seat(**seat) for seat in told["seats"]]
    try:
        await serve(Job(**told), lines)
    except* oofgg.OofggError as failed:
        print(json.dumps({"event": "failed", "reason": repr(failed.exceptions[0])}), flush=True)


def _say(event: str, moments: list[float]) -> None:
    print(json.dumps({"event": event, "moments": moments}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
