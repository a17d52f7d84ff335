"""What a stream bears, and what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from oofgg.v1 import auth_pb2
from oofgg.v1 import session_pb2 as pb
from pkg.errors import Reason, Unavailable
from tests.integration.calls import eventually, reason_of
from tests.integration.conftest import StartServices
from tests.integration.game.conftest import SERVICES
from tests.integration.game.players import WITHIN, Arena, say

Build = Callable[..., Any]


@pytest.fixture
def with_settings(start_services: StartServices, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds an arena with settings of live sessions, by name."""

    async def build(**settings: float) -> Arena:
        for name, value in settings.items():
            monkeypatch.setenv(f"OOFGG_GAME_{name.upper()}", str(value))
        return await Arena.build(await start_services(SERVICES))

    return build


async def drain(call: Any, events: list[int]) -> None:
    """Reads a stream to its end and notes how many events each response had."""
    while (response := await call.read()) is not grpc.aio.EOF:
        events.append(len(response.events))


async def test_a_receiver_that_never_acknowledges_costs_only_itself(with_settings: Build) -> None:
    arena = await with_settings(behind_bytes=500_000)
    ada, bob, session_id = await arena.duel(flush_window_ms=0)
    async with (
        arena.play(ada, session_id) as one,
        arena.play(bob, session_id, acknowledge=False) as stuck,
    ):
        sent = 0
        while not (stuck._task and stuck._task.done()):
            sent += 1
            assert sent < 200, "the stuck receiver was never closed"
            await one.send(say(sent, "x" * 8_000))
            began = time.monotonic()
            await one.kept(sent)
            assert time.monotonic() - began < 1.0, "the others waited"
        error = await stuck.ended()
        assert error is not None
        assert error.reason is Reason.SLOW_CONSUMER
        assert sum(event.ByteSize() for event in stuck.events) <= 64 * 1024
        async with arena.play(bob, session_id, after=stuck.last) as again:
            await again.until(lambda: len(again.messages) + len(stuck.messages) == sent)
        await one.until(lambda: len(one.messages) == sent)


async def test_a_receiver_that_never_reads_costs_only_itself(with_settings: Build) -> None:
    arena = await with_settings(bytes_per_second=10_000_000, session_bytes_per_second=10_000_000)
    ada, bob, session_id = await arena.duel(flush_window_ms=0)
    call = arena.sessions.Play(metadata=bob)
    await call.write(pb.PlayRequest(open=pb.StreamOpen(session_id=session_id)))
    async with arena.play(ada, session_id) as one:
        for number in range(1, 401):
            await one.send(say(number, "x" * 8_000))
            await one.kept(number - 8)
        await one.until(lambda: len(one.messages) == 400)
        received: list[int] = []
        assert await reason_of(drain(call, received)) is Reason.SLOW_CONSUMER
        assert 0 < sum(received) < 20


async def test_a_receiver_too_old_for_the_log_gets_a_snapshot(with_settings: Build) -> None:
    arena = await with_settings(bytes_per_second=10_000_000)
    ada, bob, session_id = await arena.duel(flush_window_ms=0)
    async with arena.play(bob, session_id) as two:
        pass
    async with arena.play(ada, session_id) as one:
        for number in range(1, 81):
            await one.send(say(number, "x" * 60_000))
            await one.kept(number - 2)
        await one.until(lambda: one.acked_command == 80)
        async with arena.play(bob, session_id, after=two.last) as again:
            await again.until(lambda: bool(again.events))
            reset = again.events[0]
            assert [seat.username for seat in reset.log_reset.session.seats] == ["ada", "bob"]
            assert reset.seq == again.opened.head_seq
            await one.send(say(81, "on we go"))
            await again.until(lambda: again.messages == [(1, b"on we go")])


async def test_who_sends_too_much_is_read_more_slowly_and_nobody_else_is(with_settings: Build) -> None:
    arena = await with_settings(commands_per_second=100)
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as two:
        await one.send(*(say(n) for n in range(1, 190)))
        await one.send(*(say(n) for n in range(190, 300)))
        await one.send(say(300))
        await one.until(lambda: one.acked_command == 189)
        await two.send(say(1, "unharmed"))
        await two.until(lambda: two.acked_command == 1)
        assert one.acked_command == 189, "more than its burst waits"
        await one.until(lambda: one.acked_command == 300)
    assert [payload for seat, payload in one.messages if seat == 2] == [b"unharmed"]


async def test_a_flood_ends_the_stream_that_floods_and_coming_back_does_not_help(with_settings: Build) -> None:
    arena = await with_settings(commands_per_second=50)
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as two:
        await one.send(*(say(n) for n in range(1, 257)))
        error = await one.ended()
        assert error is not None
        assert error.reason is Reason.RATE_LIMITED
        assert error.retry_after
        with pytest.raises(Exception, match="more than a participant may") as again:
            await arena.play(ada, session_id).__aenter__()
        assert getattr(again.value, "reason", None) is Reason.RATE_LIMITED
        await two.send(say(1, "unharmed"))
        await two.until(lambda: two.acked_command == 1)


async def test_too_many_bytes_end_the_stream(with_settings: Build) -> None:
    arena = await with_settings(bytes_per_second=10_000)
    ada, _, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one:
        await one.send(say(1, "x" * 64_000), say(2, "x" * 64_000))
        error = await one.ended()
        assert error is not None
        assert error.reason is Reason.RATE_LIMITED


async def test_the_operator_can_allow_smaller_payloads_only(with_settings: Build) -> None:
    arena = await with_settings(payload_bytes=100)
    ada, _, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one:
        await one.send(say(1, "x" * 100))
        await one.kept(1)
        await one.send(say(2, "x" * 101))
        error = await one.ended()
        assert error is not None
        assert error.reason is Reason.INVALID_FIELD
        assert "100 bytes" in error.message


async def test_a_flood_of_large_commands_throws_nobody_out(with_settings: Build) -> None:
    """With the bounds as they are shipped: what one may send, all others can take."""
    arena = await with_settings()
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as flood, arena.play(bob, session_id) as other:

        async def send() -> None:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                for number in range(1, 400):
                    await flood.send(say(number, "x" * 60_000))

        sending = asyncio.create_task(send())
        for number in range(1, 31):
            await other.send(say(number))
            await other.kept(number)
            await asyncio.sleep(0.1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert flood.acked_command < 100, "it was read no faster than it may send"


async def test_heartbeats_go_both_ways_and_find_the_dead(with_settings: Build) -> None:
    arena = await with_settings(heartbeat_seconds=0.5)
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as silent:
        assert one.opened.heartbeat_ms == 500
        until = time.monotonic() + 2.5
        nonce = 0
        while time.monotonic() < until:
            nonce += 1
            await one.send(heartbeat=pb.Heartbeat(nonce=nonce))
            await asyncio.sleep(0.2)
        error = await silent.ended(within=0.1)
        assert error is not None
        assert error.reason is Reason.DEADLINE
        assert silent.heartbeats >= 1
        assert one.heartbeats >= nonce - 1, "each heartbeat is answered"
        await one.until(lambda: (2, "DISCONNECTED") in one.presence)


async def test_a_quiet_watcher_lives_as_long_as_it_acknowledges(with_settings: Build) -> None:
    arena = await with_settings(heartbeat_seconds=0.4)
    ada, bob, session_id = await arena.duel()
    watch = arena.sessions.Watch(pb.WatchRequest(open=pb.StreamOpen(session_id=session_id)), metadata=ada)
    dead = arena.sessions.Watch(pb.WatchRequest(open=pb.StreamOpen(session_id=session_id)), metadata=bob)
    until = time.monotonic() + 2.0
    beats = 0
    while time.monotonic() < until:
        response = await asyncio.wait_for(watch.read(), 2.0)
        beats += response.HasField("heartbeat")
        if response.flush:
            request = pb.SendRequest(session_id=session_id, ack_flush=response.flush)
            await arena.sessions.Send(request, metadata=ada, timeout=WITHIN)
    assert beats >= 2
    assert await reason_of(drain(dead, [])) is Reason.DEADLINE
    watch.cancel()


async def test_a_seat_is_given_up_after_the_grace_period(with_settings: Build) -> None:
    arena = await with_settings(grace_seconds=1)
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one:
        async with arena.play(bob, session_id) as two:
            pass
        async with arena.play(bob, session_id, after=two.last):
            await asyncio.sleep(1.2)
            assert (2, "LEFT") not in one.presence, "who came back keeps the seat"
        await one.until(lambda: (2, "LEFT") in one.presence)
        assert [change for seat, change in one.presence if seat == 2] == [
            "CONNECTED", "DISCONNECTED", "RECONNECTED", "DISCONNECTED", "LEFT",
        ]  # fmt: skip


async def test_an_abandoned_session_ends_and_leaves_redis(with_settings: Build) -> None:
    arena = await with_settings(abandoned_seconds=0.5, ended_seconds=1.5)
    ada = await arena.player("ada")
    session = await arena.create(ada)

    async def deleted() -> bool:
        return bool((await arena.read(ada, session.session_id)).state == pb.SESSION_STATE_DELETED)

    await eventually(deleted)
    redis = arena.running.host.redis

    async def gone() -> bool:
        return not [key async for key in redis.scan_iter(f"{{s:{session.session_id}}}*")]

    await eventually(gone)
    assert not [key async for key in redis.scan_iter("{g:*")]
    assert not await redis.exists("game:live")


async def test_a_revoked_login_closes_its_streams(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as two:
        await arena.auth.Logout(auth_pb2.LogoutRequest(), metadata=ada, timeout=WITHIN)
        error = await one.ended(within=2.0)
        assert error is not None
        assert error.reason is Reason.TOKEN_REVOKED
        await two.send(say(1))
        await two.until(lambda: two.acked_command == 1)


async def test_a_draining_node_sends_everybody_elsewhere(arena: Arena) -> None:
    ada, _, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one:
        arena.running.host.draining.set()
        error = await one.ended()
        assert error is not None
        assert error.reason is Reason.SHUTTING_DOWN
    with pytest.raises(Exception, match="shutting down"):
        await arena.play(ada, session_id).__aenter__()


async def test_half_closing_ends_the_stream_well(arena: Arena) -> None:
    ada, _, session_id = await arena.duel()
    call = arena.sessions.Play(metadata=ada, timeout=WITHIN)
    await call.write(pb.PlayRequest(open=pb.StreamOpen(session_id=session_id), commands=[say(1)]))
    await call.done_writing()
    responses = [response async for response in call]
    assert responses[0].opened.seat == 1


async def test_a_flood_without_commands_is_read_slowly_too(with_settings: Build) -> None:
    arena = await with_settings(commands_per_second=10)
    ada, bob, session_id = await arena.duel()
    async with arena.play(ada, session_id) as one, arena.play(bob, session_id) as two:
        for nonce in range(1, 601):
            await one.send(heartbeat=pb.Heartbeat(nonce=nonce))
        await two.send(say(1))
        await two.kept(1)
        assert one.heartbeats < 600


async def test_a_session_that_redis_refuses_holds_up_no_other(arena: Arena) -> None:
    """Its log is something else by now, as after a mistake of an operator; the others are kept as usual."""
    ada, bob, bad = await arena.duel(flush_window_ms=0)
    good = (await arena.create(ada, flush_window_ms=0)).session_id
    for player in (ada, bob):
        await arena.join(player, good)
    redis: Any = arena.running.host.redis
    await redis.delete(f"{{s:{bad}}}:log")
    await redis.set(f"{{s:{bad}}}:log", "not a log")
    async with arena.play(ada, good) as whole:
        for number in range(1, 21):
            if number % 5 == 1:
                with pytest.raises(Unavailable):
                    async with arena.play(ada, bad):
                        pass
            await whole.send(say(number, f"kept {number}"))
            await whole.kept(number)
