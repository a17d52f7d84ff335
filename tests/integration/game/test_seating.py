"""Sessions and seats for players whom another service has chosen."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from oofgg.v1 import session_pb2 as public
from pkg.errors import OofggError, Reason, backend_unavailable
from pkg.ids import new_id
from pkg.internal.v1 import session_pb2 as pb
from pkg.internal.v1 import session_pb2_grpc
from pkg.rpc.status import from_rpc_error
from services.game.nodes.claims import Claims
from tests.integration.calls import bearer, eventually, reason_of, register
from tests.integration.conftest import RunningServices, StartServices
from tests.integration.game.conftest import SERVICES
from tests.integration.game.players import WITHIN, Arena, Metadata, Player, say
from tests.integration.game.test_faults import Backend, backend  # noqa: F401
from tests.integration.game.test_nodes import Cluster, cluster, killable  # noqa: F401


@dataclass(frozen=True)
class Account:
    """A player of the game."""

    user_id: str
    who: Metadata

    def seat(self, team: int = 0) -> pb.SeatedPlayer:
        return pb.SeatedPlayer(user_id=self.user_id, username=f"name of {self.user_id[-4:]}", team=team)


async def accounts(arena: Arena, *names: str) -> list[Account]:
    found = []
    for name in names:
        registered = await register(arena.auth, name, game_id=arena.game.game_id)
        found.append(Account(registered.user_id, bearer(registered.access_token)))
    return found


class Seating:
    """SeatingService at one node, as another service calls it."""

    def __init__(self, running: RunningServices, channel: grpc.aio.Channel | None = None) -> None:
        self._stub: Any = session_pb2_grpc.SeatingServiceStub(channel or running.channel)
        self._tokens = running.host.service_tokens

    async def open(self, *sessions: pb.NewSession) -> list[pb.OpenedSession]:
        request = pb.OpenSessionsRequest(sessions=sessions)
        return list((await self._stub.OpenSessions(request, **self._options)).sessions)

    async def take(self, session_id: str, *players: pb.SeatedPlayer) -> pb.TakeSeatsResponse:
        request = pb.TakeSeatsRequest(session_id=session_id, players=players)
        response: pb.TakeSeatsResponse = await self._stub.TakeSeats(request, **self._options)
        return response

    async def roster(self, session_id: str) -> pb.GetRosterResponse:
        request = pb.GetRosterRequest(session_id=session_id)
        response: pb.GetRosterResponse = await self._stub.GetRoster(request, **self._options)
        return response

    @property
    def _options(self) -> dict[str, Any]:
        return {"metadata": bearer(self._tokens.issue()), "timeout": WITHIN}


def a_session(arena: Arena, *players: pb.SeatedPlayer, session_id: str = "", **fields: Any) -> pb.NewSession:
    return pb.NewSession(
        session_id=session_id or new_id(), game_id=arena.game.game_id, players=players, flush_window_ms=20, **fields
    )


async def refusal(call: Any) -> OofggError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_players_of_an_opened_session_play_without_joining(arena: Arena) -> None:
    seating = Seating(arena.running)
    ada, bob = await accounts(arena, "ada", "bob")
    new = a_session(
        arena, ada.seat(2), bob.seat(1), queue="duel", label="ranked", attributes={"map": "dust"}, max_spectators=3
    )
    (opened,) = await seating.open(new)
    assert (opened.session_id, opened.node, opened.refusal) == (new.session_id, arena.running.host.node, "")
    assert 50 < opened.join_deadline_time.seconds - time.time() <= 61
    session = await arena.read(ada.who, new.session_id)
    assert session.state == public.SESSION_STATE_STARTED
    assert [(seat.seat, seat.user_id, seat.team) for seat in session.seats] == [
        (1, ada.user_id, 2),
        (2, bob.user_id, 1),
    ]
    assert (session.label, dict(session.attributes), session.queue) == ("ranked", {"map": "dust"}, "duel")
    assert (session.min_seats, session.max_seats, session.max_spectators) == (2, 2, 3)
    assert session.creator_user_id == ada.user_id
    async with arena.play(ada.who, new.session_id, after=0) as one, arena.play(bob.who, new.session_id) as two:
        assert (one.opened.seat, two.opened.seat) == (1, 2)
        await one.send(say(1, "hello"))
        await two.until(lambda: two.messages == [(1, b"hello")])
        await one.until(lambda: len(one.messages) == 1)
        assert one.presence[:2] == [(1, "JOINED"), (2, "JOINED")], "its log begins as that of any other session"
        assert [event.state.state for event in one.events if event.HasField("state")] == [
            public.SESSION_STATE_WAITING,
            public.SESSION_STATE_STARTED,
        ]
    finished = await arena.finish(await arena.server(), new.session_id, 1, 2)
    assert finished.state == public.RESULT_STATE_STATED


async def test_opening_again_changes_nothing_also_when_it_is_over(arena: Arena) -> None:
    seating = Seating(arena.running)
    ada, bob = await accounts(arena, "ada", "bob")
    new, other = (a_session(arena, ada.seat(), bob.seat(), label="first") for _ in range(2))
    (first,) = await seating.open(new)
    async with arena.play(ada.who, new.session_id) as one:
        changed = pb.NewSession.FromString(new.SerializeToString())
        changed.label = "second"
        again = await seating.open(other, changed, other)
        assert [each.session_id for each in again] == [other.session_id, new.session_id, other.session_id]
        assert (again[1].node, again[1].refusal) == (first.node, "")
        await one.send(say(1, "still here"))
        await one.kept(1)
    assert (await arena.read(ada.who, new.session_id)).label == "first"
    await arena.finish(await arena.server(), new.session_id, 1, 2)
    (over,) = await seating.open(new)
    assert (over.node, over.refusal) == (first.node, "")
    listed = await arena.sessions.ListSessions(
        public.ListSessionsRequest(game_id=arena.game.game_id), metadata=ada.who, timeout=WITHIN
    )
    assert [each.session_id for each in listed.sessions] == [other.session_id]


async def test_what_may_not_be_opened_is_told_and_does_not_keep_the_others_back(
    start_services: StartServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOFGG_GAME_PLAYER_SESSIONS", "2")
    arena = await Arena.build(await start_services(SERVICES, game_sessions=4))
    seating = Seating(arena.running)
    ada, bob, cyd, dee = await accounts(arena, "ada", "bob", "cyd", "dee")
    elsewhere = a_session(arena, ada.seat())
    elsewhere.game_id = new_id()
    old = a_session(arena, ada.seat(), session_id="018bcfe5-6800-7000-8000-000000000001")
    answers = await seating.open(
        elsewhere,
        old,
        a_session(arena, ada.seat(), bob.seat(), max_seats=1),
        a_session(arena, ada.seat(), bob.seat(), max_seats=512),
        a_session(arena, ada.seat(), ada.seat()),
        a_session(arena, ada.seat(), session_id="mine"),
        a_session(arena, ada.seat(), bob.seat()),
        a_session(arena, ada.seat(), cyd.seat()),
        a_session(arena, cyd.seat(), ada.seat()),
    )
    assert [each.refusal for each in answers] == [
        "GAME_NOT_FOUND",
        "SESSION_STATE",
        *["INVALID_FIELD"] * 4,
        "",
        "",
        "QUOTA_EXCEEDED",
    ]
    assert answers[-1].refused_user_id == ada.user_id
    assert "sessions" in answers[-1].refusal_message
    redis = arena.running.host.redis
    assert await redis.scard(f"game:player:{cyd.user_id}") == 1, "who sat beside has no seat in what was refused"

    beyond = [a_session(arena, dee.seat()) for _ in range(2)] + [a_session(arena, bob.seat())]
    answers = await seating.open(*beyond)
    assert [each.refusal for each in answers] == ["", "", "QUOTA_EXCEEDED"]
    assert not answers[-1].refused_user_id
    assert await redis.zcard(f"{{g:{arena.game.game_id}}}:*:") == 4
    refused = arena.sessions.CreateSession(
        public.CreateSessionRequest(game_id=arena.game.game_id), metadata=bob.who, timeout=WITHIN
    )
    assert await reason_of(refused) is Reason.QUOTA_EXCEEDED
    assert [each.refusal for each in await seating.open(*beyond[:2])] == ["", ""], "what is there is within the quota"


async def test_many_are_spread_over_the_nodes_and_asking_for_them_twice_at_once_makes_them_once(
    cluster: Cluster,  # noqa: F811
) -> None:
    arena = cluster.arena
    ada, bob = await accounts(arena, "ada", "bob")
    news = [a_session(arena, Account(new_id(), ()).seat(), Account(new_id(), ()).seat()) for _ in range(58)]
    news += [a_session(arena, ada.seat(), bob.seat()), a_session(arena, bob.seat())]
    one, other, again = await asyncio.gather(
        *(Seating(cluster.base, cluster.nodes[name].channel).open(*news) for name in ("a", "b", "a"))
    )
    nodes = [each.node for each in one]
    assert nodes == [each.node for each in other] == [each.node for each in again]
    assert set(nodes) == {"a", "b", "c"}
    for new, node in zip(news[-2:], nodes[-2:], strict=True):
        async with Player(cluster.at(node), bob.who, new.session_id, after=0) as player:
            await player.until(lambda at=player: (1, "JOINED") in at.presence)  # type: ignore[misc]
            assert [kind for _, kind in player.presence].count("JOINED") == len(new.players)

    async def every_node_has_its_own() -> bool:
        owned: list[Any] = [await cluster.base.host.redis.hget(f"{{s:{new.session_id}}}", "node") for new in news]
        return [node.decode() for node in owned] == nodes

    await eventually(every_node_has_its_own)


async def test_seats_of_those_who_do_not_come_are_free_again(
    start_services: StartServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOFGG_GAME_GRACE_SECONDS", "3")
    base = await start_services(["auth", "catalog"])
    cluster = Cluster(await Arena.build(base), base, start_services, {})  # noqa: F811
    for name in ("a", "b"):
        await cluster.add(name)
    await cluster.settled()
    arena = cluster.arena
    ada, bob, cyd = await accounts(arena, "ada", "bob", "cyd")
    seating = Seating(base, cluster.nodes["a"].channel)
    news = [a_session(arena, ada.seat(1), bob.seat(2)) for _ in range(4)]
    opened = await seating.open(*news)
    assert {each.node for each in opened} == {"a", "b"}
    new, node = news[0], opened[0].node
    async with Player(cluster.at(node), ada.who, new.session_id) as player:
        await player.until(lambda: (2, "LEFT") in player.presence)

        async def nobody_is_left() -> bool:
            return not any([(await seating.roster(each.session_id)).players for each in news[1:]])

        await eventually(nobody_is_left)
        there = Seating(base, cluster.nodes[node].channel)
        taken = await there.take(new.session_id, cyd.seat(2))
        assert taken.node == node
        await player.until(lambda: player.presence[-1] == (2, "JOINED"))
        async with Player(cluster.at(node), cyd.who, new.session_id) as late:
            assert late.opened.seat == 2


async def test_seats_are_taken_for_all_or_for_none_and_once(arena: Arena) -> None:
    seating = Seating(arena.running)
    ada, bob, cyd, dee = await accounts(arena, "ada", "bob", "cyd", "dee")
    new = a_session(arena, ada.seat(1), max_seats=3)
    await seating.open(new)
    session_id = new.session_id
    full = await refusal(seating.take(session_id, bob.seat(1), cyd.seat(2), dee.seat(2)))
    assert full.reason is Reason.SESSION_FULL
    assert [each.user_id for each in (await seating.roster(session_id)).players] == [ada.user_id]
    both = seating.take(session_id, bob.seat(2), cyd.seat(2)), seating.take(session_id, cyd.seat(2), bob.seat(2))
    answers = await asyncio.gather(*both, seating.take(session_id, ada.seat(9)))
    assert answers[0].join_deadline_time.seconds > time.time() + 50
    roster = await seating.roster(session_id)
    assert roster.players[0] == ada.seat(1)
    assert sorted(each.user_id for each in roster.players[1:]) == sorted([bob.user_id, cyd.user_id])
    assert all(each in (bob.seat(2), cyd.seat(2)) for each in roster.players[1:])
    assert (roster.game_id, roster.creator_user_id, roster.state) == (arena.game.game_id, ada.user_id, "STARTED")
    assert (roster.node, roster.max_seats) == (arena.running.host.node, 3)
    await arena.sessions.Leave(public.LeaveRequest(session_id=session_id), metadata=bob.who, timeout=WITHIN)
    (left,) = [seat.seat for seat in (await arena.read(ada.who, session_id)).seats if seat.user_id == cyd.user_id]
    await arena.sessions.Kick(public.KickRequest(session_id=session_id, seat=left), metadata=ada.who, timeout=WITHIN)
    kicked = await refusal(seating.take(session_id, bob.seat(), cyd.seat()))
    assert (kicked.reason, kicked.metadata["user_id"]) == (Reason.KICKED, cyd.user_id)
    await seating.take(session_id, dee.seat(2))
    await arena.finish(await arena.server(), session_id, 1, 2)
    over = await refusal(seating.take(session_id, bob.seat()))
    assert over.reason is Reason.SESSION_STATE
    missing = await refusal(seating.take(new_id(), bob.seat()))
    assert missing.reason is Reason.SESSION_NOT_FOUND
    assert (await refusal(seating.roster(new_id()))).reason is Reason.SESSION_NOT_FOUND


async def test_another_node_says_whom_to_ask_and_knows_who_is_in(cluster: Cluster) -> None:  # noqa: F811
    arena = cluster.arena
    ada, bob = await accounts(arena, "ada", "bob")
    new = a_session(arena, ada.seat(), max_seats=2)
    (opened,) = await Seating(cluster.base, cluster.nodes["a"].channel).open(new)
    other = Seating(cluster.base, cluster.nodes[next(name for name in cluster.nodes if name != opened.node)].channel)
    error = await refusal(other.take(new.session_id, bob.seat()))
    assert (error.reason, error.metadata["node"]) == (Reason.WRONG_NODE, opened.node)
    await Seating(cluster.base, cluster.nodes[opened.node].channel).take(new.session_id, bob.seat())
    assert [each.user_id for each in (await other.roster(new.session_id)).players] == [ada.user_id, bob.user_id]


async def test_a_node_that_dies_loses_no_seat(cluster: Cluster) -> None:  # noqa: F811
    arena = cluster.arena
    ada, bob = await accounts(arena, "ada", "bob")
    async with killable(cluster, "doomed") as owner:
        await asyncio.sleep(0.6)
        doomed = Seating(cluster.base, owner.channel)
        news = [a_session(arena, ada.seat(), bob.seat()) for _ in range(8)]
        opened = await doomed.open(*news)
        theirs = [each.session_id for each in opened if each.node == "doomed"]
        assert theirs
        owner.send(signal.SIGKILL)
    again = await Seating(cluster.base, cluster.nodes["b"].channel).open(*news)
    assert not any(each.refusal for each in again)
    node = await cluster.new_owner(theirs[0])
    async with Player(cluster.at(node), ada.who, theirs[0], after=0) as player:
        await player.until(lambda: "CONNECTED" in [kind for _, kind in player.presence])
        assert player.presence[:2] == [(1, "JOINED"), (2, "JOINED")]
        assert len(player.opened.session.seats) == 2


async def test_who_asks_again_makes_up_for_a_creator_that_could_not_tell_the_nodes(
    start_services: StartServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOFGG_GAME_GRACE_SECONDS", "1")
    base = await start_services(["auth", "catalog"])
    cluster = Cluster(await Arena.build(base), base, start_services, {})  # noqa: F811
    for name in ("a", "b"):
        await cluster.add(name)
    await cluster.settled()
    seating = Seating(base, cluster.nodes["a"].channel)
    news = [a_session(cluster.arena, Account(new_id(), ()).seat()) for _ in range(4)]

    async def nothing(*_: object) -> None:
        raise backend_unavailable("Redis")

    with monkeypatch.context() as patched:
        patched.setattr(Claims, "give", nothing)
        assert (await refusal(seating.open(*news))).reason is Reason.BACKEND_UNAVAILABLE
    opened = await seating.open(*news)
    assert {each.node for each in opened} == {"a", "b"}

    async def nobody_came() -> bool:
        return not any([(await seating.roster(each.session_id)).players for each in news])

    await eventually(nobody_came)


async def test_without_redis_nothing_is_opened_and_afterwards_it_is_once(
    start_services: StartServices,
    backend: Callable[[str], Backend],  # noqa: F811
) -> None:
    valkey = await asyncio.to_thread(backend, "valkey")
    arena = await Arena.build(await start_services(SERVICES, redis_url=valkey.platform.endpoints.redis_url))
    ada, bob, cyd = await accounts(arena, "ada", "bob", "cyd")
    seating = Seating(arena.running)
    news = [a_session(arena, ada.seat(), bob.seat(), max_seats=3) for _ in range(3)]
    await seating.open(news[0])
    await asyncio.to_thread(valkey.take_away)
    away = await refusal(seating.open(*news))
    assert away.reason is Reason.BACKEND_UNAVAILABLE
    taken = await refusal(seating.take(news[0].session_id, cyd.seat()))
    assert taken.reason is Reason.BACKEND_UNAVAILABLE
    await asyncio.to_thread(valkey.bring_back)

    async def opened() -> bool:
        try:
            return not any(each.refusal for each in await seating.open(*news))
        except grpc.aio.AioRpcError:
            return False

    await eventually(opened, within=10)
    assert (await arena.read(ada.who, news[2].session_id)).state == public.SESSION_STATE_STARTED


async def test_it_is_for_services_only(arena: Arena) -> None:
    stub: Any = session_pb2_grpc.SeatingServiceStub(arena.running.channel)
    (ada,) = await accounts(arena, "ada")
    for who in ((), ada.who, await arena.server()):
        call = stub.GetRoster(pb.GetRosterRequest(session_id=new_id()), metadata=who, timeout=WITHIN)
        assert await reason_of(call) in (Reason.TOKEN_INVALID, Reason.TOKEN_MISSING)
