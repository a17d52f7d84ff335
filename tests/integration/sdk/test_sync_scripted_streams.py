"""Sessions of the blocking SDK, against a platform that fails on command: polled, sent to, closed."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from oofgg.v1 import session_pb2
from tests.integration.sdk.games import MINUTE, PATIENCE, frames, in_a_game, poll_to_the_end, quiet
from tests.integration.sdk.script import SESSION, Platform, StreamScript, finished, message, texts

pytestmark = pytest.mark.usefixtures("nothing_remains")


class TestPolling:
    async def test_a_broken_stream_goes_on_where_it_was(self, platform: Platform) -> None:
        async def first(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            await stream.tell(message(1, "a"), message(2, "b"))
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")

        async def second(stream: StreamScript) -> None:
            await stream.accept(head=2, heartbeat_ms=MINUTE)
            assert stream.opening.after_seq == 2
            assert [command.number for command in await stream.read_commands(2)] == [1, 2]
            await stream.tell(message(2, "b"), message(3, "c"), finished(4), ack=2)

        def game(client: oofgg.sync.Client) -> list[oofgg.Event]:
            with client.play(SESSION) as session:
                session.send("x")
                session.send("y")
                return poll_to_the_end(session)

        assert texts(await in_a_game(platform, game, first, second)) == ["a", "b", "c"]

    async def test_it_does_not_wait_and_wait_does(self, platform: Platform) -> None:
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            await gate.wait()
            await stream.tell(message(1, "a"), message(2, "b"))
            await stream.stay()

        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session:
                assert session.poll() == []
                assert session.wait(0.01) == []
                loop.call_soon_threadsafe(gate.set)
                assert texts(session.wait(PATIENCE)) == ["a", "b"]
                assert session.poll() == []
                assert (session.session_id, session.seat, list(session.seats)) == (SESSION, 1, [1])
                assert session.state is oofgg.SessionState.STARTED

        await in_a_game(platform, game, script)

    async def test_the_end_is_told_after_the_last_event(self, platform: Platform) -> None:
        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            await stream.tell(message(1, "a"), finished(2))

        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session:
                for _ in frames():
                    if session.state.over and not session.connected:
                        break
                assert not session.ended
                assert len(session.poll()) == 2
                assert session.ended
                for ask in (session.poll, lambda: session.wait(PATIENCE)):
                    with pytest.raises(errors.FailedPrecondition) as over:
                        ask()
                    assert over.value.reason is oofgg.Reason.SESSION_STATE
                assert session.send("x") is False
                assert session.leave() is False
            assert list(session) == []

        await in_a_game(platform, game, script)

    async def test_a_failure_is_told_after_the_last_event_and_does_not_grow(self, platform: Platform) -> None:
        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            await stream.tell(message(1, "a"))
            await stream.refuse(grpc.StatusCode.ABORTED, "REPLACED")

        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session:
                assert texts(session.wait(PATIENCE)) == ["a"]
                lengths = set()
                for _ in range(20):
                    with pytest.raises(errors.Aborted) as failed:
                        session.wait(PATIENCE)
                    assert failed.value.reason is oofgg.Reason.REPLACED
                    lengths.add(len(traceback.extract_tb(failed.value.__traceback__)))
                assert len(lengths) == 1
                assert not session.ended
                with pytest.raises(errors.Aborted):
                    session.send("x")
                with pytest.raises(errors.Aborted):
                    next(session)

        await in_a_game(platform, game, script)

    async def test_iterating_waits_and_ends(self, platform: Platform) -> None:
        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            for number in range(1, 4):
                await stream.tell(message(number, str(number)), flush=number)
                await stream.read_ack()
            await stream.tell(finished(4))

        def game(client: oofgg.sync.Client) -> list[oofgg.Event]:
            with client.play(SESSION) as session:
                return list(session)

        assert texts(await in_a_game(platform, game, script)) == ["1", "2", "3"]

    async def test_what_is_polled_is_acknowledged_and_nothing_else(self, platform: Platform) -> None:
        requests: list[session_pb2.PlayRequest] = []
        acks: list[int] = []

        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=2_000)
            await stream.tell(message(1), flush=1)
            requests.extend([await stream.read(), await stream.read()])
            acks.append(await stream.read_ack())
            await stream.tell(message(2), flush=2)
            acks.append(await stream.read_ack())
            await stream.tell(finished(3))

        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session:
                for _ in frames():
                    if len(requests) == 2:
                        break
                poll_to_the_end(session)

        await in_a_game(platform, game, script)
        assert all(request.HasField("heartbeat") and not request.ack_flush for request in requests), "not yet taken"
        assert acks == [1, 2]

    async def test_a_game_that_does_not_poll_stays_small_and_goes_on_when_it_does(self, platform: Platform) -> None:
        async def too_slow(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            following = stream.opening.after_seq + 1
            if following > 5:
                await stream.tell(finished(following))
            else:
                await stream.tell(message(following, "x" * 30_000), flush=1)
                await stream.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "SLOW_CONSUMER")

        def game(client: oofgg.sync.Client) -> int:
            with client.play(SESSION) as session:
                for _ in frames():
                    if len(platform.sessions.streams) >= 3:
                        break
                time.sleep(1)  # long enough for the next attempts
                assert len(platform.sessions.streams) == 3
                return len(poll_to_the_end(session))

        assert await in_a_game(platform, game, too_slow) == 6

    async def test_it_has_to_be_entered(self, platform: Platform) -> None:
        def game(client: oofgg.sync.Client) -> None:
            session = client.play(SESSION)
            session.close()
            for ask in (session.poll, lambda: session.wait(1), lambda: session.info, lambda: next(session)):
                with pytest.raises(RuntimeError, match="use `with "):
                    ask()
            with session:
                pass
            with pytest.raises(RuntimeError, match="again"):
                session.__enter__()

        await in_a_game(platform, game, quiet)


class TestSending:
    async def test_it_never_waits(self, platform: Platform) -> None:
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        arrived: list[str] = []

        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            await gate.wait()
            commands: list[session_pb2.Command] = []
            while not commands or commands[-1].payload != b"after":
                commands = await stream.read_commands(1)
                arrived.extend(command.payload.decode() for command in commands)
                await stream.tell(ack=commands[-1].number)
            await stream.stay()

        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session:
                for number in range(256):
                    session.send(number)
                with pytest.raises(errors.ResourceExhausted):
                    session.send("one too many")
                for _ in range(1000):
                    session.send("here", delivery=oofgg.Delivery.LATEST, key="position")
                with pytest.raises(errors.DeadlineExceeded):
                    session.flush(0.05)
                loop.call_soon_threadsafe(gate.set)
                session.flush(PATIENCE)
                session.send("after")
                session.flush(PATIENCE)
                with pytest.raises(ValueError, match="65536"):
                    session.send(b"x" * 65_537)
                with pytest.raises(TypeError):
                    session.send(object())

        await in_a_game(platform, game, script)
        reliable = [text for text in arrived if text != "here"]
        assert reliable == [*map(str, range(256)), "after"]
        assert "here" in arrived

    async def test_leaving_the_block_waits_for_what_was_sent(self, platform: Platform) -> None:
        arrived: list[str] = []

        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            arrived.extend(command.payload.decode() for command in await stream.read_commands(1))
            await stream.tell(ack=1)
            await stream.stay()

        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session:
                session.send("last words")
            with pytest.raises(errors.FailedPrecondition):
                session.send("x")

        await in_a_game(platform, game, script)
        assert arrived == ["last words"]

    async def test_many_threads_may_send(self, platform: Platform) -> None:
        arrived: list[tuple[int, str]] = []

        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            while len(arrived) < 400:
                commands = await stream.read_commands(1)
                arrived.extend((command.number, command.payload.decode()) for command in commands)
                await stream.tell(ack=arrived[-1][0])
            await stream.stay()

        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session, ThreadPoolExecutor(4) as pool:

                def pour(sender: int) -> None:
                    for number in range(100):
                        for _ in frames():
                            try:
                                session.send(f"{sender}-{number:03}")
                                break
                            except errors.ResourceExhausted:
                                session.flush(PATIENCE)

                list(pool.map(pour, range(4)))
                session.flush(PATIENCE)

        await in_a_game(platform, game, script)
        assert [number for number, _ in arrived] == list(range(1, 401))
        for sender in range(4):
            own = [text for _, text in arrived if text.startswith(f"{sender}-")]
            assert own == [f"{sender}-{number:03}" for number in range(100)]


class TestClosing:
    @pytest.mark.parametrize("waiting", ["poll", "wait", "iterate", "started"])
    @pytest.mark.parametrize("what", ["session", "client"])
    async def test_another_thread_may_close(self, platform: Platform, what: str, waiting: str) -> None:
        async def script(stream: StreamScript) -> None:
            await stream.accept(state=session_pb2.SESSION_STATE_WAITING, heartbeat_ms=MINUTE)
            await stream.stay()

        def game(client: oofgg.sync.Client) -> None:
            inside = threading.Event()

            def play(session: oofgg.sync.PlaySession) -> None:
                inside.set()
                if waiting == "poll":
                    for _ in frames():
                        session.poll()
                elif waiting == "wait":
                    while True:
                        session.wait(PATIENCE)
                elif waiting == "iterate":
                    next(session)
                else:
                    session.started()

            with client.play(SESSION) as session, ThreadPoolExecutor(1) as pool:
                playing = pool.submit(play, session)
                assert inside.wait(PATIENCE)
                (session if what == "session" else client).close()
                error = playing.exception(PATIENCE)
            if what == "client":
                assert isinstance(error, errors.Cancelled)
            else:
                assert isinstance(error, StopIteration if waiting == "iterate" else errors.FailedPrecondition)
            assert not session.connected

        await in_a_game(platform, game, script)

    async def test_what_came_before_is_still_handed_out(self, platform: Platform) -> None:
        async def script(stream: StreamScript) -> None:
            await stream.accept(heartbeat_ms=MINUTE)
            await stream.tell(message(1, "a"))
            await stream.stay()

        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION, after_seq=0) as session:
                session._inbox.wait(PATIENCE, lambda: False)
            assert texts(session.poll()) == ["a"]
            assert session.ended
            with pytest.raises(errors.FailedPrecondition):
                session.poll()

        await in_a_game(platform, game, script)

    async def test_a_loop_that_looks_before_it_polls_meets_no_error(self, platform: Platform) -> None:
        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session:
                looked = session.ended
                session.close()  # right between the look and the poll
                assert not looked
                assert session.poll() == []
                assert session.ended
                with pytest.raises(errors.FailedPrecondition):
                    session.poll()

        await in_a_game(platform, game, quiet)

    async def test_a_session_that_never_opens_is_given_up(self, platform: Platform) -> None:
        async def down(stream: StreamScript) -> None:
            await stream.read_opening()
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")

        def game(client: oofgg.sync.Client) -> None:
            with pytest.raises(errors.Unavailable):
                client.play(SESSION, reconnect_for=0.3).__enter__()

        await in_a_game(platform, game, down)
