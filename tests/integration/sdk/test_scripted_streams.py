"""Streams of the SDK, against a platform that fails on command."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

import oofgg
from oofgg import errors
from oofgg.v1 import session_pb2
from tests.integration.sdk.script import SESSION, Platform, Script, StreamScript, finished, message, texts


async def everything(client: oofgg.Client, platform: Platform, *scripts: Script) -> list[oofgg.Event]:
    """All events of a session that follows these scripts to its end."""
    platform.sessions.scripts = list(scripts)
    async with asyncio.timeout(15), client.play(SESSION) as session:
        return [event async for event in session]


class TestStreams:
    async def test_a_broken_stream_goes_on_where_it_was(self, platform: Platform, client: oofgg.Client) -> None:
        async def first(stream: StreamScript) -> None:
            await stream.accept()
            assert stream.opening.after_seq == 0
            assert stream.headers["x-oofgg-node"] == "n1"
            await stream.tell(message(1, "a"), message(2, "b"))
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")

        async def second(stream: StreamScript) -> None:
            await stream.accept(head=2)
            assert stream.opening.after_seq == 2
            assert "x-oofgg-node" not in stream.headers, "the node may be gone: any will do"
            await stream.tell(message(2, "b"), message(3, "c"), finished(4))

        assert texts(await everything(client, platform, first, second)) == ["a", "b", "c"]

    @pytest.mark.parametrize("after", [0, 1], ids=["nothing", "one"])
    async def test_commands_are_sent_again_unless_they_arrived(
        self, platform: Platform, client: oofgg.Client, after: int
    ) -> None:
        numbers: list[list[int]] = []

        async def first(stream: StreamScript) -> None:
            await stream.accept()
            numbers.append([command.number for command in await stream.read_commands(3)])
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")

        async def second(stream: StreamScript) -> None:
            await stream.accept(command=after)
            numbers.append([command.number for command in await stream.read_commands(3 - after)])
            await stream.tell(ack=3)
            await stream.stay()

        platform.sessions.scripts = [first, second]
        async with asyncio.timeout(10), client.play(SESSION) as session:
            for text in "abc":
                await session.send(text)
            await session.flush()
        assert numbers == [[1, 2, 3], list(range(after + 1, 4))]

    async def test_send_waits_when_too_much_is_under_way(self, platform: Platform, client: oofgg.Client) -> None:
        gate = asyncio.Event()

        async def script(stream: StreamScript) -> None:
            await stream.accept()
            await gate.wait()
            await stream.tell(ack=256)
            await stream.read_commands(257)
            await stream.tell(ack=257)
            await stream.stay()

        platform.sessions.scripts = [script]
        async with asyncio.timeout(10), client.play(SESSION) as session:
            for _ in range(256):
                await session.send("x")
            waiting = asyncio.create_task(session.send("y"))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            gate.set()
            await waiting
            await session.flush()

    async def test_leaving_the_block_waits_for_what_was_sent(self, platform: Platform, client: oofgg.Client) -> None:
        arrived: list[str] = []

        async def script(stream: StreamScript) -> None:
            await stream.accept()
            arrived.extend(command.payload.decode() for command in await stream.read_commands(1))
            await stream.tell(ack=1)
            await stream.stay()

        platform.sessions.scripts = [script]
        async with client.play(SESSION) as session:
            await session.send("last words")
        assert arrived == ["last words"]

    async def test_flushes_are_acknowledged_as_events_are_taken(self, platform: Platform, client: oofgg.Client) -> None:
        acks: list[int] = []

        async def script(stream: StreamScript) -> None:
            await stream.accept()
            await stream.tell(message(1, "x" * 30_000), flush=1)
            acks.append(await stream.read_ack())
            await stream.tell(message(2), flush=2)
            await stream.tell(message(3), flush=3)
            acks.append(await stream.read_ack())
            await stream.tell(finished(4))

        await everything(client, platform, script)
        assert acks == [1, 3]

    async def test_who_does_not_take_events_does_not_acknowledge(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        requests: list[session_pb2.PlayRequest] = []

        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=4_000)
            await stream.tell(message(1), flush=1)
            requests.extend([await stream.read(), await stream.read()])
            await stream.tell(finished(2))

        platform.sessions.scripts = [script]
        async with asyncio.timeout(10), client.play(SESSION) as session:
            while not requests:
                await asyncio.sleep(0.01)
            assert [request.ack_flush for request in requests] == [0, 0]
            assert all(request.HasField("heartbeat") for request in requests), "but it is still there"
            assert len([event async for event in session]) == 2

    async def test_streams_that_break_do_not_pile_up_what_nobody_takes(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        """A reader that stands still is closed as too slow, again and again, and each stream brings a window."""

        async def too_slow(stream: StreamScript) -> None:
            await stream.accept()
            following = stream.opening.after_seq + 1
            if following > 5:
                await stream.tell(finished(following))
            else:
                await stream.tell(message(following, "x" * 30_000), flush=1)
                await stream.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")

        platform.sessions.scripts = [too_slow]
        async with asyncio.timeout(30), client.play(SESSION) as session:
            while len(platform.sessions.streams) < 3:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)  # long enough for the next attempts
            assert len(platform.sessions.streams) == 3
            assert len([event async for event in session]) == 6, "and it goes on when they are taken"

    async def test_heartbeats_are_answered_and_measured(self, platform: Platform, client: oofgg.Client) -> None:
        answers: list[int] = []
        ahead = 1_000_000.0

        async def script(stream: StreamScript) -> None:
            await stream.accept()
            await stream.write(session_pb2.PlayResponse(heartbeat=session_pb2.Heartbeat(nonce=7)))
            own = False
            while not answers or not own:
                request = await stream.read()
                if request.heartbeat.reply:
                    answers.append(request.heartbeat.nonce)
                elif request.HasField("heartbeat"):
                    own = True
                    reply = session_pb2.Heartbeat(nonce=request.heartbeat.nonce, reply=True)
                    reply.send_time.FromNanoseconds(int((time.time() + ahead) * 1e9))
                    await stream.write(session_pb2.PlayResponse(heartbeat=reply))
            await stream.stay()

        platform.sessions.scripts = [script]
        async with asyncio.timeout(10), client.play(SESSION) as session:
            while session.latency is None or not answers:
                await asyncio.sleep(0.01)
            assert 0 <= session.latency < 10
            assert session.clock_offset == pytest.approx(ahead, abs=10)
        assert answers == [7]

    async def test_a_busy_stream_is_measured_too(self, platform: Platform, client: oofgg.Client) -> None:
        nonces: set[int] = set()

        async def script(stream: StreamScript) -> None:
            await stream.accept()
            while len(nonces) < 3:
                request = await stream.read()
                if request.HasField("heartbeat"):
                    nonces.add(request.heartbeat.nonce)
                    reply = session_pb2.Heartbeat(nonce=request.heartbeat.nonce, reply=True)
                    await stream.write(session_pb2.PlayResponse(heartbeat=reply))
            await stream.stay()

        platform.sessions.scripts = [script]
        async with asyncio.timeout(20), client.play(SESSION) as session:
            while len(nonces) < 3:
                await session.send("here", delivery=oofgg.Delivery.LATEST, key="position")
                await asyncio.sleep(0.02)

    async def test_a_silent_server_is_left(self, platform: Platform, client: oofgg.Client) -> None:
        async def silent(stream: StreamScript) -> None:
            await stream.accept()
            await stream.stay()

        async def second(stream: StreamScript) -> None:
            await stream.accept()
            await stream.tell(message(1, "here"), finished(2))

        began = time.monotonic()
        assert texts(await everything(client, platform, silent, second)) == ["here"]
        assert 0.6 < time.monotonic() - began < 5, "1.75 heartbeats of 0.4 s"
        silent_peer, second_peer = (stream.peer for stream in platform.sessions.streams)
        assert silent_peer != second_peer, "the network may be swallowing everything on that connection"

    async def test_other_streams_of_a_connection_that_is_left_may_end_by_themselves(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        gone = asyncio.Event()

        async def silent(stream: StreamScript) -> None:
            await stream.accept()
            await stream.stay()
            gone.set()

        async def other(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=60_000)
            await gone.wait()
            await stream.tell(message(1, "still here"), finished(2))

        async def second(stream: StreamScript) -> None:
            await stream.accept()
            await stream.tell(finished(1))

        platform.sessions.scripts = [other, silent, second]
        async with client.play(SESSION) as first, client.play(SESSION) as session:
            assert [event async for event in session]
            assert texts([event async for event in first]) == ["still here"]
        assert len(platform.sessions.streams) == 3

    async def test_the_right_node_is_asked(self, platform: Platform, client: oofgg.Client) -> None:
        async def wrong(stream: StreamScript) -> None:
            await stream.read_opening()
            await stream.refuse(grpc.StatusCode.FAILED_PRECONDITION, "WRONG_NODE", node="n7")

        async def right(stream: StreamScript) -> None:
            assert stream.headers["x-oofgg-node"] == "n7"
            await stream.accept()
            await stream.tell(finished(1))

        assert len(await everything(client, platform, wrong, right)) == 1

    async def test_an_expired_token_is_renewed(self, platform: Platform, client: oofgg.Client) -> None:
        async def expired(stream: StreamScript) -> None:
            await stream.refuse(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")

        async def renewed(stream: StreamScript) -> None:
            assert stream.headers["authorization"] == "Bearer a2"
            await stream.accept()
            await stream.tell(finished(1))

        assert len(await everything(client, platform, expired, renewed)) == 1

    async def test_a_gap_is_asked_for_again(self, platform: Platform, client: oofgg.Client) -> None:
        async def gap(stream: StreamScript) -> None:
            await stream.accept()
            await stream.tell(message(1, "a"), message(3, "c"))
            await stream.stay()

        async def whole(stream: StreamScript) -> None:
            await stream.accept()
            missing = [
                message(seq, text) for seq, text in ((1, "a"), (2, "b"), (3, "c")) if seq > stream.opening.after_seq
            ]
            await stream.tell(*missing, finished(4))

        assert texts(await everything(client, platform, gap, whole)) == ["a", "b", "c"]

    async def test_a_log_that_is_gone_is_begun_again(self, platform: Platform, client: oofgg.Client) -> None:
        async def gone(stream: StreamScript) -> None:
            await stream.read_opening()
            await stream.refuse(grpc.StatusCode.OUT_OF_RANGE, "RESUME_TOO_OLD")

        async def current(stream: StreamScript) -> None:
            await stream.accept(head=70)
            assert not stream.opening.HasField("after_seq")
            await stream.tell(message(71, "now"), finished(72))

        assert texts(await everything(client, platform, gone, current)) == ["now"]

    async def test_a_stream_that_ends_without_a_reason_is_opened_again(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        async def ends(stream: StreamScript) -> None:
            await stream.accept()

        async def goes_on(stream: StreamScript) -> None:
            await stream.accept()
            await stream.tell(finished(1))

        assert len(await everything(client, platform, ends, goes_on)) == 1

    async def test_what_cannot_be_mended_is_raised_after_what_came_before(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        async def script(stream: StreamScript) -> None:
            await stream.accept()
            await stream.tell(message(1, "a"))
            await stream.refuse(grpc.StatusCode.ABORTED, "REPLACED")

        platform.sessions.scripts = [script]
        async with asyncio.timeout(10), client.play(SESSION) as session:
            assert texts([await anext(session)]) == ["a"]
            with pytest.raises(errors.Aborted):
                await anext(session)
            with pytest.raises(errors.Aborted):
                await session.send("x")

    async def test_the_reason_for_the_end_counts_even_when_its_trailers_are_lost(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        """Coming back after REPLACED would take the seat from whoever has it now."""

        async def script(stream: StreamScript) -> None:
            await stream.accept()
            await stream.refuse_and_lose_the_trailers(grpc.StatusCode.ABORTED, "REPLACED")

        platform.sessions.scripts = [script]
        async with asyncio.timeout(10), client.play(SESSION) as session:
            with pytest.raises(errors.Aborted) as caught:
                await anext(session)
        assert caught.value.reason is errors.Reason.REPLACED
        assert len(platform.sessions.streams) == 1

    async def test_a_stream_that_the_server_cancels_is_opened_again(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        async def cut(stream: StreamScript) -> None:
            await stream.accept()
            await stream.tell(message(1, "a"))
            await stream.context.abort(grpc.StatusCode.CANCELLED, "cut")

        async def whole(stream: StreamScript) -> None:
            await stream.accept(head=1)
            await stream.tell(message(2, "b"))
            await stream.stay()

        platform.sessions.scripts = [cut, whole]
        async with asyncio.timeout(10), client.play(SESSION) as session:
            assert texts([await anext(session), await anext(session)]) == ["a", "b"]
        assert len(platform.sessions.streams) == 2

    async def test_closing_the_client_ends_what_it_plays(self, platform: Platform, client: oofgg.Client) -> None:
        """grpc.aio tells the reader of it as if its task had been cancelled."""

        async def script(stream: StreamScript) -> None:
            await stream.accept()
            await stream.stay()

        platform.sessions.scripts = [script]
        async with asyncio.timeout(10):
            session = client.play(SESSION)
            await session.__aenter__()
            event = asyncio.create_task(anext(session))
            await asyncio.sleep(0.05)
            await client.__aexit__(None, None, None)
            with pytest.raises(errors.Cancelled):
                await event
            await session.__aexit__(None, None, None)

    async def test_leaving_while_it_plays_is_a_cancellation_like_any_other(
        self, platform: Platform, client: oofgg.Client
    ) -> None:
        async def script(stream: StreamScript) -> None:
            await stream.accept()
            await stream.stay()

        platform.sessions.scripts = [script]

        async def play() -> None:
            async with client.play(SESSION) as session:
                await anext(session)

        playing = asyncio.create_task(play())
        async with asyncio.timeout(10):
            while not platform.sessions.streams:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            playing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await playing

    async def test_patience_ends(self, platform: Platform, client: oofgg.Client) -> None:
        async def down(stream: StreamScript) -> None:
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")

        platform.sessions.scripts = [down]
        with pytest.raises(errors.Unavailable):
            async with asyncio.timeout(10), client.play(SESSION, reconnect_for=0.5):
                pytest.fail("it never opened")
        assert len(platform.sessions.streams) > 2

    async def test_a_session_is_played_once(self, platform: Platform, client: oofgg.Client) -> None:
        async def script(stream: StreamScript) -> None:
            await stream.accept()
            await stream.stay()

        platform.sessions.scripts = [script]
        playing = client.play(SESSION)
        with pytest.raises(RuntimeError):
            _ = playing.info
        async with playing as session:
            assert (session.session_id, session.seat, session.connected) == (SESSION, 1, True)
            with pytest.raises(RuntimeError):
                await playing.__aenter__()
        assert not session.connected
        with pytest.raises(errors.FailedPrecondition):
            await session.send("x")
