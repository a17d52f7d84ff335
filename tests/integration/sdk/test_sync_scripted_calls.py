"""Calls of the blocking SDK, against a platform that fails on command."""

from __future__ import annotations

import asyncio
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from tests.integration.sdk.games import PATIENCE, frames, in_a_game, loop_threads, quiet
from tests.integration.sdk.script import SESSION, Platform

pytestmark = pytest.mark.usefixtures("nothing_remains")


class TestCalls:
    async def test_a_failure_is_raised_where_the_call_was_made(self, platform: Platform) -> None:
        platform.games.failures = [(grpc.StatusCode.ALREADY_EXISTS, "GAME_NAME_TAKEN")]

        def game(client: oofgg.sync.Client) -> None:
            with pytest.raises(errors.AlreadyExists) as failed:
                client.games.create("Duel")
            assert failed.value.reason is oofgg.Reason.GAME_NAME_TAKEN
            lines = [frame.line for frame in traceback.extract_tb(failed.value.__traceback__)]
            assert lines[0] == 'client.games.create("Duel")', "where the game called"
            assert any("await self._caller.call" in (line or "") for line in lines), "and what failed"
            assert client.games.create("Duel").game_id == "g1"

        await in_a_game(platform, game)

    async def test_a_login_that_fails(self) -> None:
        def game() -> None:
            with (
                oofgg.sync.Client("127.0.0.1:1", timeout=0.3) as client,
                pytest.raises(errors.Unavailable) as failed,
            ):
                client.login("ada", "secret")
            assert "test_sync_scripted_calls" in "".join(traceback.format_exception(failed.value))

        await asyncio.to_thread(game)

    async def test_a_client_that_cannot_open_leaves_nothing(self) -> None:
        def game() -> None:
            client = oofgg.sync.Client("127.0.0.1:1", api_key="oofgg_key", timeout=0.3)
            with pytest.raises(errors.Unavailable):
                client.__enter__()
            assert loop_threads() == []

        await asyncio.to_thread(game)

    async def test_pages_are_fetched_as_they_are_reached(self, platform: Platform) -> None:
        def game(client: oofgg.sync.Client) -> list[str]:
            first = next(client.games.list())  # the rest is never asked for
            return [first.game_id, *(game.game_id for game in client.games.list())]

        assert await in_a_game(platform, game) == ["0", *(str(number) for number in range(9))]

    async def test_what_a_game_raises_leaves_the_block(self, platform: Platform) -> None:
        def game(client: oofgg.sync.Client) -> None:
            with client.play(SESSION) as session:
                session.send("never acknowledged, and not waited for")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await in_a_game(platform, game, quiet)

    async def test_use_before_and_after(self, platform: Platform) -> None:
        client = oofgg.sync.Client(platform.target)

        def game() -> None:
            with pytest.raises(RuntimeError, match="use `with "):
                client.login("ada", "secret")
            with pytest.raises(RuntimeError, match="use `with "):
                client.play(SESSION)
            client.close()
            for _ in range(2):  # a closed client can be opened again
                with client:
                    client.login("ada", "secret")
                    assert len(list(client.games.list())) == 9
                    with pytest.raises(RuntimeError, match="open already"):
                        client.__enter__()
                client.close()
                for call in (client.account, lambda: next(client.games.list()), lambda: client.play(SESSION)):
                    with pytest.raises(errors.Cancelled, match="closed"):
                        call()

        await asyncio.to_thread(game)

    async def test_two_clients_do_not_disturb_each_other(self, platform: Platform) -> None:
        platform.sessions.scripts = [quiet]

        def game() -> None:
            with oofgg.sync.Client(platform.target) as ada:
                ada.login("ada", "secret")
                with oofgg.sync.Client(platform.target) as bob, ada.play(SESSION) as session:
                    bob.login("bob", "secret")
                    assert len(loop_threads()) == 1
                    bob.close()
                    assert session.poll() == []
                    assert session.connected
                assert len(list(ada.games.list())) == 9
                assert len(loop_threads()) == 1

        await asyncio.to_thread(game)

    async def test_many_threads_may_call(self, platform: Platform) -> None:
        def game(client: oofgg.sync.Client) -> list[int]:
            with ThreadPoolExecutor(8) as pool:
                return list(pool.map(lambda _: len(list(client.games.list())), range(40)))

        assert await in_a_game(platform, game) == [9] * 40

    async def test_clients_come_and_go_in_many_threads(self, platform: Platform) -> None:
        def game(number: int) -> str:
            with oofgg.sync.Client(platform.target) as client:
                return client.login(f"player-{number}", "secret").user_id

        with ThreadPoolExecutor(8) as pool:
            loop = asyncio.get_running_loop()
            found = await asyncio.gather(*(loop.run_in_executor(pool, game, number) for number in range(40)))
        assert found == ["u1"] * 40

    async def test_a_call_ends_when_another_thread_closes(self, platform: Platform) -> None:
        platform.games.sleep = 60

        def game(client: oofgg.sync.Client) -> None:
            def close_once_it_waits() -> None:
                for _ in frames():
                    if platform.games.created:
                        break
                client.close()

            closing = threading.Thread(target=close_once_it_waits)
            closing.start()
            with pytest.raises(errors.Cancelled, match="closed"):
                client.games.create("Duel")
            closing.join(PATIENCE)

        await in_a_game(platform, game)
