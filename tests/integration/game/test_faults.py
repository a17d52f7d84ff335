"""Processes and backends that die while people play."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest

from oofgg.v1 import session_pb2 as pb
from oofgg.v1 import session_pb2_grpc
from pkg.embedded import Options, Platform
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error
from pkg.testing.addresses import reserve_address
from pkg.testing.directories import data_directory
from services.game.codec import split_pieces
from tests.integration.calls import eventually, reason_of
from tests.integration.conftest import RunningServices, StartServices
from tests.integration.game.conftest import SERVICES
from tests.integration.game.players import WITHIN, Arena, Player, open_at_last, result, say


class Backend:
    """A backend of the test's own, that can be taken away and brought back with its data."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.directory = data_directory()
        self.bring_back()

    def bring_back(self) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.endswith(("_URL", "_BOOTSTRAP"))}
        self.platform = Platform(Options(self.directory, backends=(self._name,), environment=environment))
        self.platform.start()

    def take_away(self) -> None:
        self.platform.stop()

    def lose_everything(self) -> None:
        """Stops and forgets all data."""
        self.take_away()
        for path in self.directory.rglob("*"):
            if path.is_file() and ("aof" in path.name or path.suffix == ".rdb"):
                path.unlink()


@pytest.fixture
def backend() -> Iterator[Callable[[str], Backend]]:
    made: list[Backend] = []

    def make(name: str) -> Backend:
        made.append(Backend(name))
        return made[-1]

    yield make
    for one in made:
        one.take_away()
        shutil.rmtree(one.directory, ignore_errors=True)


@dataclass
class OwnerProcess:
    """`game` in a process that can be killed; `auth` and `catalog` stay."""

    base: RunningServices
    address: str = field(default_factory=reserve_address)
    process: subprocess.Popen[bytes] | None = None
    channel: grpc.aio.Channel | None = None

    async def start(self, node: str = "owner") -> None:
        settings = self.base.settings
        environment = {
            **os.environ,
            "OOFGG_NODE": node,
            "OOFGG_ENVIRONMENT": "development",
            "OOFGG_POSTGRES_URL": settings.postgres_url,
            "OOFGG_REDIS_URL": settings.redis_url,
            "OOFGG_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "OOFGG_GRPC_ADDRESS": self.address,
            "OOFGG_OPS_ADDRESS": reserve_address(),
            "OOFGG_CATALOG_ADDRESS": settings.grpc_address,
            "OOFGG_AUTH_ADDRESS": settings.grpc_address,
            "OOFGG_JWKS_URL": settings.jwks_location(),
            "OOFGG_MASTER_KEY": settings.master_key_text(),
            "OOFGG_SERVICE_SECRET": settings.service_secret_text(),
        }
        command = [sys.executable, "-m", "tests.integration.game.owner_process"]
        root = Path(__file__).parents[3]
        self.process = await asyncio.to_thread(subprocess.Popen, command, cwd=root, env=environment)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200)]
        self.channel = grpc.aio.insecure_channel(self.address, options=options)
        async with asyncio.timeout(20):
            await self.channel.channel_ready()

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            await asyncio.to_thread(self.process.wait, 10)
        if self.channel is not None:
            await self.channel.close()

    @property
    def sessions(self) -> Any:
        assert self.channel is not None
        return session_pb2_grpc.SessionServiceStub(self.channel)


@pytest.fixture
async def owner(start_services: StartServices) -> AsyncIterator[OwnerProcess]:
    owner = OwnerProcess(await start_services(["auth", "catalog"]))
    await owner.start()
    yield owner
    await owner.kill()


async def test_a_killed_owner_loses_nothing_anyone_has_seen(owner: OwnerProcess) -> None:
    arena = await Arena.build(owner.base)
    arena.sessions = owner.sessions
    ada, bob, session_id = await arena.duel(flush_window_ms=0)
    one, two = arena.play(ada, session_id), arena.play(bob, session_id)
    await one.__aenter__()
    await two.__aenter__()
    for number in range(1, 301):
        await one.send(say(number, str(number)))
    await one.until(lambda: one.acked_command >= 50)
    await owner.kill()
    await one.ended()
    await two.ended()
    acknowledged, seen = one.acked_command, one.messages + two.messages
    assert acknowledged < 301
    for player in (one, two):
        await player.drop()

    began = time.monotonic()
    await owner.start()
    arena.sessions = owner.sessions
    async with arena.play(ada, session_id, after=one.last) as again, arena.play(bob, session_id, after=two.last) as too:
        recovery = time.monotonic() - began
        assert again.opened.command >= acknowledged, "what was acknowledged is there"
        for number in range(acknowledged + 1, 301):
            await again.send(say(number, str(number)))
        await again.until(lambda: again.acked_command == 300)
        expected = [(1, str(number).encode()) for number in range(1, 301)]
        await again.until(lambda: len(one.messages + again.messages) == 300)
        await too.until(lambda: len(two.messages + too.messages) == 300)
        assert one.messages + again.messages == expected
        assert two.messages + too.messages == expected
        assert set(seen) <= set(expected)
        assert (2, "DISCONNECTED") in again.presence
    assert recovery < 5, "most of it is the start of a Python process"


async def test_a_killed_owner_drives_a_pending_result_on(owner: OwnerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = await Arena.build(owner.base)
    await owner.kill()
    monkeypatch.setenv("OOFGG_GAME_BALLOT_SECONDS", "2")
    await owner.start()
    arena.sessions = owner.sessions
    ada, _, session_id = await arena.duel()
    assert (await arena.finish(ada, session_id, 1, 2)).state == pb.RESULT_STATE_PENDING
    await owner.kill()
    await owner.start()
    arena.sessions = owner.sessions

    async def finished() -> bool:
        return (await arena.read(ada, session_id)).state == pb.SESSION_STATE_FINISHED

    # Nobody asks the owner for the session: its timer survived.
    await eventually(finished, within=10)
    assert (await arena.read(ada, session_id)).result == result(1, 2)


async def test_a_paused_owner_that_lost_its_session_can_write_nothing(owner: OwnerProcess) -> None:
    arena = await Arena.build(owner.base)
    arena.sessions = owner.sessions
    ada, bob, session_id = await arena.duel(flush_window_ms=0)
    one = arena.play(ada, session_id)
    await one.__aenter__()
    await one.send(say(1, "before"))
    await one.until(lambda: one.acked_command == 1)
    owner.send(signal.SIGSTOP)
    await one.send(say(2, "while it sleeps"))
    other = OwnerProcess(owner.base)
    try:
        await other.start(node="other")
        # The lease of the sleeping node has to run out first.
        late = await open_at_last(lambda: Player(other.sessions, bob, session_id), Reason.WRONG_NODE)
        await late.send(say(1, "meanwhile"))
        await late.until(lambda: late.acked_command == 1)
        owner.send(signal.SIGCONT)
        error = await one.ended()
        assert error is not None
        assert error.reason is Reason.WRONG_NODE
        assert error.metadata["node"] == "other"
        assert one.acked_command == 1
        assert one.messages == [(1, b"before")]
        async with Player(other.sessions, ada, session_id, after=one.last) as again:
            await again.send(say(2, "again"))
            await again.until(lambda: len(again.messages) == 2)
            assert again.messages == [(2, b"meanwhile"), (1, b"again")]
        await late.drop()
    finally:
        owner.send(signal.SIGCONT)
        await one.drop()
        await other.kill()


async def test_redis_away_refuses_reliable_commands_and_loses_none(
    start_services: StartServices, backend: Callable[[str], Backend]
) -> None:
    valkey = await asyncio.to_thread(backend, "valkey")
    arena = await Arena.build(await start_services(SERVICES, redis_url=valkey.platform.endpoints.redis_url))
    ada, bob, session_id = await arena.duel(flush_window_ms=0)
    one, two = arena.play(ada, session_id), arena.play(bob, session_id)
    await one.__aenter__()
    await two.__aenter__()
    await one.send(say(1, "1"))
    await two.until(lambda: len(two.messages) == 1)
    await asyncio.to_thread(valkey.take_away)

    await one.send(say(2, "2"))  # taken, and kept once Redis is back
    await one.send(say(3, "where?", pb.DELIVERY_CLASS_LATEST, key="pos"))
    await two.until(lambda: (1, b"where?") in two.messages)
    assert (1, b"2") not in two.messages, "nobody sees what is not kept"

    async def refused() -> bool:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await one.send(say(4, "4"))
        return one._task is not None and one._task.done()

    await eventually(refused, within=10)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await arena.join(await arena.player("eve"), session_id)
    assert from_rpc_error(caught.value).reason is Reason.BACKEND_UNAVAILABLE
    assert from_rpc_error(caught.value).retry_after is not None
    await asyncio.to_thread(valkey.bring_back)

    again = await open_at_last(lambda: arena.play(ada, session_id, after=one.last), Reason.BACKEND_UNAVAILABLE)
    await again.send(say(2, "2"), say(4, "4"))
    await again.until(lambda: again.acked_command == 4)
    await two.until(lambda: len(two.messages) == 4)
    assert [text for _, text in two.messages if text != b"where?"] == [b"1", b"2", b"4"]
    await again.drop()
    await two.drop()


async def test_redis_that_lost_its_data_gets_it_again_from_the_owner(
    start_services: StartServices, backend: Callable[[str], Backend]
) -> None:
    valkey = await asyncio.to_thread(backend, "valkey")
    arena = await Arena.build(await start_services(SERVICES, redis_url=valkey.platform.endpoints.redis_url))
    ada, bob, session_id = await arena.duel(flush_window_ms=0, label="kept")
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as two:
        await one.send(*(say(n, str(n)) for n in range(1, 101)))
        await two.until(lambda: len(two.messages) == 100)
        await asyncio.to_thread(valkey.lose_everything)
        await asyncio.to_thread(valkey.bring_back)
        redis = arena.running.host.redis
        assert not await redis.exists(f"{{s:{session_id}}}")
        await one.send(say(101, "101"))
        await one.until(lambda: one.acked_command == 101)
        await two.until(lambda: len(two.messages) == 101)
    session = await arena.read(ada, session_id)
    assert session.label == "kept"
    assert [seat.username for seat in session.seats] == ["ada", "bob"]
    entries: Any = await redis.xrange(f"{{s:{session_id}}}:log")
    kept = [piece for _, fields in entries for piece in split_pieces(fields[b"d"])]
    texts = [pb.PlayResponse.FromString(piece).events[0].message.payload for piece in kept]
    assert [text for text in texts if text] == [str(n).encode() for n in range(1, 102)]
    listed = await arena.sessions.ListSessions(
        pb.ListSessionsRequest(game_id=arena.game.game_id, label="kept"), metadata=ada, timeout=WITHIN
    )
    assert [session.session_id for session in listed.sessions] == [session_id]


async def test_postgres_away_delays_a_result_and_loses_none(
    start_services: StartServices, backend: Callable[[str], Backend]
) -> None:
    postgres = await asyncio.to_thread(backend, "postgres")
    url = postgres.platform.endpoints.postgres_url
    arena = await Arena.build(await start_services(SERVICES, postgres_url=url, migrate=True))
    ada, _, session_id = await arena.duel()
    server = await arena.server()
    async with arena.play(ada, session_id) as one:
        await asyncio.to_thread(postgres.take_away)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await arena.finish(server, session_id, 1, 2, request_id="finish")
        error = from_rpc_error(caught.value)
        assert error.reason is Reason.BACKEND_UNAVAILABLE
        assert error.retry_after is not None
        await one.send(say(1, "play goes on"))
        await one.until(lambda: len(one.messages) == 1)
        await asyncio.to_thread(postgres.bring_back)
        assert await one.ended() is None
        assert one.events[-1].state.state == pb.SESSION_STATE_FINISHED
    answer = await arena.finish(server, session_id, 1, 2, request_id="finish")
    assert (answer.state, answer.result) == (pb.RESULT_STATE_STATED, result(1, 2))
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("select count(*) from game.result") == 1
    assert await connection.fetchval("select count(*) from game.outbox") == 1
    await connection.close()
    other = pb.FinishRequest(session_id=session_id, result=result(2, 1), request_id="finish")
    assert await reason_of(arena.sessions.Finish(other, metadata=server, timeout=WITHIN)) is Reason.REQUEST_ID_REUSED
