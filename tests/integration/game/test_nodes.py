"""Several nodes: where a session is made, who takes it when its node dies or drains, and what its players see."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from oofgg.v1 import session_pb2 as pb
from oofgg.v1 import session_pb2_grpc
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error
from services.game.settings import GameSettings
from tests.integration.calls import eventually, reason_of
from tests.integration.conftest import RunningServices, StartServices
from tests.integration.game.players import WITHIN, Arena, Player, open_at_last, say
from tests.integration.game.test_faults import OwnerProcess


@dataclass
class Cluster:
    """`auth` and `catalog`, and nodes of `game` by name."""

    arena: Arena
    base: RunningServices
    start: StartServices
    nodes: dict[str, RunningServices]

    async def add(self, name: str) -> None:
        settings = self.base.settings
        self.nodes[name] = await self.start(
            ["game"],
            node=name,
            catalog_address=settings.grpc_address,
            auth_address=settings.grpc_address,
            jwks_url=settings.jwks_location(),
        )

    async def settled(self) -> None:
        """Waits until every node knows all others."""
        redis = self.base.host.redis

        async def known() -> bool:
            return int(await redis.hlen("game:owners")) >= len(self.nodes)

        await eventually(known)
        await asyncio.sleep(0.6)

    def at(self, name: str) -> Any:
        return session_pb2_grpc.SessionServiceStub(self.nodes[name].channel)

    async def new_owner(self, session_id: str) -> str:
        """The node that has taken a session of a dead one."""
        node = b""

        async def taken() -> bool:
            nonlocal node
            found: Any = await self.base.host.redis.hget(f"{{s:{session_id}}}", "node")
            node = found or b""
            return node.decode() in self.nodes

        await eventually(taken)
        return node.decode()

    async def create(self, who: Any, at: str, **fields: Any) -> pb.CreateSessionResponse:
        request = pb.CreateSessionRequest(game_id=self.arena.game.game_id, **fields)
        response: pb.CreateSessionResponse = await self.at(at).CreateSession(request, metadata=who, timeout=WITHIN)
        return response

    async def duel(self, **fields: Any) -> tuple[Any, Any, str, str]:
        """Two players in a session, and its node."""
        ada, bob = await self.arena.player("ada"), await self.arena.player("bob")
        made = await self.create(ada, next(iter(self.nodes)), **fields)
        for who in (ada, bob):
            request = pb.JoinRequest(session_id=made.session.session_id)
            await self.at(made.placement.node).Join(request, metadata=who, timeout=WITHIN)
        return ada, bob, made.session.session_id, made.placement.node


@pytest.fixture
async def cluster(start_services: StartServices) -> Cluster:
    base = await start_services(["auth", "catalog"])
    made = Cluster(await Arena.build(base), base, start_services, {})
    for name in ("a", "b", "c"):
        await made.add(name)
    await made.settled()
    return made


async def test_a_new_session_goes_to_the_node_with_the_fewest(cluster: Cluster) -> None:
    ada = await cluster.arena.player("ada")
    made = [await cluster.create(ada, "a") for _ in range(12)]
    placed = Counter(each.placement.node for each in made)
    # A load that is told while a session is on its way to a node may or may not count it.
    assert set(placed) == {"a", "b", "c"}
    assert max(placed.values()) - min(placed.values()) <= 2, placed
    for each in made[:6]:
        session_id, node = each.session.session_id, each.placement.node
        request = pb.JoinRequest(session_id=session_id)
        other = next(name for name in cluster.nodes if name != node)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cluster.at(other).Join(request, metadata=ada, timeout=WITHIN)
        error = from_rpc_error(caught.value)
        assert (error.reason, error.metadata["node"]) == (Reason.WRONG_NODE, node)
        joined = await cluster.at(node).Join(request, metadata=ada, timeout=WITHIN)
        assert joined.placement.node == node
        read = await cluster.at(other).GetSession(
            pb.GetSessionRequest(session_id=session_id), metadata=ada, timeout=WITHIN
        )
        assert read.placement.node == node


async def test_a_session_that_was_placed_elsewhere_ends_by_itself_although_nobody_asks_for_it(
    start_services: StartServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOFGG_GAME_ABANDONED_SECONDS", "1")
    base = await start_services(["auth", "catalog"])
    cluster = Cluster(await Arena.build(base), base, start_services, {})
    for name in ("a", "b"):
        await cluster.add(name)
    await cluster.settled()
    ada = await cluster.arena.player("ada")
    made = [await cluster.create(ada, "a") for _ in range(4)]
    assert {each.placement.node for each in made} == {"a", "b"}

    async def all_over() -> bool:
        read = [
            await cluster.at("a").GetSession(
                pb.GetSessionRequest(session_id=each.session.session_id), metadata=ada, timeout=WITHIN
            )
            for each in made
        ]
        return all(answer.session.end_reason == pb.END_REASON_ABANDONED for answer in read)

    await eventually(all_over, within=6)


async def test_a_node_that_drains_gives_its_sessions_away(cluster: Cluster) -> None:
    ada, bob, session_id, node = await cluster.duel(flush_window_ms=0)
    one, two = Player(cluster.at(node), ada, session_id), Player(cluster.at(node), bob, session_id)
    await one.__aenter__()
    await two.__aenter__()
    for number in range(1, 51):
        await one.send(say(number, str(number)))
    await one.until(lambda: one.acked_command >= 10)
    cluster.nodes[node].stop.set()
    errors = [await one.ended(), await two.ended()]
    for error in errors:
        assert error is not None
        assert error.reason is Reason.WRONG_NODE
    new = errors[0].metadata["node"] if errors[0] else ""
    assert new in cluster.nodes
    assert new != node
    began = time.monotonic()
    again = Player(cluster.at(new), ada, session_id, after=one.last)
    too = Player(cluster.at(new), bob, session_id, after=two.last)
    async with again, too:
        for number in range(one.acked_command + 1, 51):
            await again.send(say(number, str(number)))
        expected = [(1, str(number).encode()) for number in range(1, 51)]
        await too.until(lambda: len(two.messages + too.messages) == 50)
        await again.until(lambda: len(one.messages + again.messages) == 50)
        assert one.messages + again.messages == expected
        assert two.messages + too.messages == expected
        assert (2, "RECONNECTED") in again.presence + too.presence
    print(f"players go on {time.monotonic() - began:.2f} s after they were told")
    await cluster.nodes[node].end()


async def test_the_last_node_keeps_its_sessions_for_the_next(cluster: Cluster) -> None:
    for name in ("b", "c"):
        await cluster.nodes.pop(name).end()
    ada, _, session_id, node = await cluster.duel()
    assert node == "a"
    one = Player(cluster.at("a"), ada, session_id)
    await one.__aenter__()
    await one.send(say(1, "kept"))
    await one.kept(1)
    last = cluster.nodes.pop("a")
    last.stop.set()
    error = await one.ended()
    assert error is not None
    assert error.reason is Reason.SHUTTING_DOWN
    await last.end()
    await cluster.add("d")

    again = await open_at_last(lambda: Player(cluster.at("d"), ada, session_id, after=0), Reason.WRONG_NODE)
    await again.until(lambda: again.messages == [(1, b"kept")])
    await again.drop()


@asynccontextmanager
async def killable(cluster: Cluster, node: str) -> AsyncIterator[OwnerProcess]:
    owner = OwnerProcess(cluster.base)
    await owner.start(node=node)
    try:
        yield owner
    finally:
        await owner.kill()


async def on(cluster: Cluster, node: str, who: Any, count: int, **fields: Any) -> list[str]:
    """Sessions of a node."""
    made: list[pb.CreateSessionResponse] = []

    async def placed() -> bool:
        made.append(await cluster.create(who, "a", **fields))
        return sum(each.placement.node == node for each in made) >= count

    await eventually(placed, within=10)
    return [each.session.session_id for each in made if each.placement.node == node]


async def test_sessions_of_a_killed_node_are_taken_before_anyone_asks(cluster: Cluster) -> None:
    async with killable(cluster, "doomed") as owner:
        ada = await cluster.arena.player("ada")
        theirs = await on(cluster, "doomed", ada, 3)
        for session_id in theirs:
            await owner.sessions.Join(pb.JoinRequest(session_id=session_id), metadata=ada, timeout=WITHIN)
        await owner.kill()
        began = time.monotonic()
        for session_id in theirs:
            assert await cluster.new_owner(session_id) in "abc"
        print(f"taken over {time.monotonic() - began:.2f} s after the death")


async def test_who_has_seen_what_is_lost_begins_again_and_nobody_else(cluster: Cluster) -> None:
    """The owner dies, and Redis comes back without the newest: the worst that can happen."""
    redis = cluster.base.host.redis
    ada, bob = await cluster.arena.player("ada"), await cluster.arena.player("bob")
    async with killable(cluster, "doomed") as owner:
        (session_id,) = await on(cluster, "doomed", ada, 1, flush_window_ms=0)
        for who in (ada, bob):
            await owner.sessions.Join(pb.JoinRequest(session_id=session_id), metadata=who, timeout=WITHIN)
        keys = [f"{{s:{session_id}}}", f"{{s:{session_id}}}:log"]
        one, two = Player(owner.sessions, ada, session_id), Player(owner.sessions, bob, session_id)
        await one.__aenter__()
        await two.__aenter__()
        await one.send(say(1, "kept"))
        await two.until(lambda: len(two.messages) == 1)
        await two.drop()
        await one.until(lambda: (2, "DISCONNECTED") in one.presence)
        kept = [await redis.dump(key) for key in keys]
        await one.send(say(2, "lost"), say(3, "lost too"))
        await one.until(lambda: len(one.messages) == 3)
        owner.send(signal.SIGSTOP)
        for key, value in zip(keys, kept, strict=True):
            assert value is not None
            await redis.restore(key, 0, value, replace=True)
        await owner.kill()
    await one.drop()
    assert one.last is not None
    new = await cluster.new_owner(session_id)
    bob_again = await Player(cluster.at(new), bob, session_id, after=two.last, epoch=two.opened.epoch).__aenter__()
    await bob_again.send(*(say(number, "new") for number in range(1, 6)))
    await bob_again.kept(5)
    assert not any(event.HasField("log_reset") for event in bob_again.events)
    assert (bob_again.last or 0) >= one.last, "by its number alone, nobody could tell"
    async with Player(cluster.at(new), ada, session_id, after=one.last, epoch=one.opened.epoch) as again:
        await again.until(lambda: any(event.HasField("log_reset") for event in again.events))
        assert again.opened.epoch > one.opened.epoch
    await bob_again.drop()


async def test_a_player_has_as_many_seats_and_streams_as_allowed(
    start_services: StartServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PLAYER_SESSIONS", "PLAYER_UNOPENED_STREAMS", "PLAYER_STREAMS"):
        monkeypatch.setenv(f"OOFGG_GAME_{name}", "2")
    assert GameSettings().player_streams == 2
    arena = await Arena.build(await start_services(["auth", "catalog", "game"]))
    ada, bob = await arena.player("ada"), await arena.player("bob")
    sessions = [(await arena.create(bob)).session_id for _ in range(3)]
    for session_id in sessions[:2]:
        await arena.join(ada, session_id)
    await arena.join(ada, sessions[1])
    refused = arena.sessions.Join(pb.JoinRequest(session_id=sessions[2]), metadata=ada, timeout=WITHIN)
    assert await reason_of(refused) is Reason.QUOTA_EXCEEDED
    await arena.sessions.Leave(pb.LeaveRequest(session_id=sessions[0]), metadata=ada, timeout=WITHIN)
    await arena.join(ada, sessions[2])

    silent = [arena.sessions.Play(metadata=ada) for _ in range(2)]
    await asyncio.sleep(0.3)
    late = arena.play(ada, sessions[1])
    with pytest.raises(Exception, match="streams") as caught:
        await late.__aenter__()
    assert getattr(caught.value, "reason", None) is Reason.QUOTA_EXCEEDED
    await late.drop()
    async with arena.play(bob, await seat(arena, bob, sessions[0])):
        pass  # others are not affected
    for call in silent:
        call.cancel()


async def seat(arena: Arena, who: Any, session_id: str) -> str:
    await arena.join(who, session_id)
    return session_id
