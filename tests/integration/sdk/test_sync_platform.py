"""The blocking SDK against the real services, without Envoy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from tests.integration.sdk.stage import PASSWORD, Stage

PATIENCE = 60.0


def messages(session: oofgg.sync.PlaySession, count: int) -> list[oofgg.Message]:
    found: list[oofgg.Message] = []
    while len(found) < count:
        events = session.wait(PATIENCE)
        assert events, "nothing came in time"
        found += [event for event in events if isinstance(event, oofgg.Message)]
    return found


async def test_everything_but_playing(stage: Stage, random_name: Callable[[str], str]) -> None:
    name = random_name("eve")

    def program() -> None:
        with oofgg.sync.Client(stage.target) as console:
            with pytest.raises(errors.Unauthenticated):
                console.account()
            login = console.register(name, f"{name}@example.org", PASSWORD)
            assert console.login_info == login
            assert console.account().username == name
            assert console.become_developer().role is oofgg.Role.DEVELOPER
            token = console.metadata()[0][1].removeprefix("Bearer ")
            assert console.validate_token(token).user_id == login.user_id
            game = console.games.create("Duel", settings=oofgg.GameSettings(max_seats=4))
            assert [found.game_id for found in console.games.list()] == [game.game_id]
            assert console.games.update(game.game_id, name="Trio").name == "Trio"
            assert console.games.get(game.game_id).name == "Trio"
            with pytest.raises(ValueError, match="which game"):
                console.games.get()
            key = console.games.create_api_key("server", game_id=game.game_id)
            with pytest.raises(errors.Unauthenticated) as wrong:
                console.login(name, "another password")
            assert wrong.value.reason is oofgg.Reason.BAD_CREDENTIALS
            with (
                oofgg.sync.Client(stage.target, game=game.game_id) as player,
                oofgg.sync.Client(stage.target, api_key=key.api_key) as server,
            ):
                assert player.game == game.game_id
                player.login(name, PASSWORD)
                session = player.sessions.create(label="ranked", min_seats=1, max_seats=1)
                assert player.sessions.join(session).state is oofgg.SessionState.STARTED
                assert player.sessions.take_seat(session)[1] == 1
                assert [found.session_id for found in server.sessions.list(label="ranked")] == [session.session_id]
                outcome = server.sessions.finish(session, {1: 1}, scores={1: 7})
                assert outcome.state is oofgg.ResultState.STATED
                assert server.sessions.get(session.session_id).state is oofgg.SessionState.FINISHED
                other = player.sessions.create()
                player.sessions.join(other)
                player.sessions.leave(other)
                player.sessions.close(other)
                tries = threading.Event()
                for _ in range(1000):
                    if matches := list(player.history.list()):
                        break
                    tries.wait(0.05)
                assert player.history.get(session.session_id) == matches[0]
                assert [entry.score for entry in player.leaderboards.get("score")] == [7]
                assert player.leaderboards.rank(leaderboard="score").total == 1
                server.leaderboards.create("laps", submitters=oofgg.Submitters.PLAYERS)
                assert player.leaderboards.submit("laps", 5).changed
                server.leaderboards.remove("laps", player.leaderboards.rank(leaderboard="laps").entry.user_id)
                assert list(player.leaderboards.get("laps")) == []
            assert [found.api_key_id for found in console.games.list_api_keys(game_id=game.game_id)] == [key.api_key_id]
            console.games.revoke_api_key(key)
            assert console.me.update(display_name="Eve").display_name == "Eve"
            assert len(list(console.me.logins())) == 2
            assert console.me.revoke_all_logins() == 1
            assert console.me.export()
            with oofgg.sync.Client(stage.target, game=game.game_id) as guest:
                assert guest.login_guest(f"device-of-{name}").user_id != login.user_id
                guest.me.delete(guest.account().username)
            console.games.delete(game.game_id)
            console.logout()
            assert console.login_info is None

    await asyncio.to_thread(program)


async def test_two_games_play_a_match(stage: Stage, random_name: Callable[[str], str]) -> None:
    """Each in a thread of its own, and as many events as need the window many times."""
    session = await stage.ada.sessions.create(min_seats=2)
    count = 150

    def player(name: str) -> list[oofgg.Message]:
        with oofgg.sync.Client(stage.target, game=stage.game.game_id) as client:
            client.register(name, f"{name}@example.org", PASSWORD)
            with client.play(session.session_id) as playing:
                playing.started(PATIENCE)
                seen: list[oofgg.Message] = []
                for number in range(count):
                    playing.send(f"{number:05}" + "x" * 7_000)
                    seen += [event for event in playing.poll() if isinstance(event, oofgg.Message)]
                    if number % 50 == 49:
                        playing.flush(PATIENCE)
                seen += messages(playing, 2 * count - len(seen))
                assert sorted(playing.seats) == [1, 2]
                playing.finish({1: 1, 2: 2})
                for event in playing:
                    if isinstance(event, oofgg.StateChange):
                        assert event.state is oofgg.SessionState.FINISHED
                assert playing.ended
                assert playing.info.result_state is oofgg.ResultState.AGREED
                return seen

    with ThreadPoolExecutor(2) as pool:
        loop = asyncio.get_running_loop()
        names = random_name("left"), random_name("right")
        left, right = await asyncio.gather(*(loop.run_in_executor(pool, player, name) for name in names))
    assert left == right
    for seat in (1, 2):
        own = [int(event.data[:5]) for event in left if event.seat == seat]
        assert own == list(range(count))


async def test_a_seat_is_left_and_taken(stage: Stage, random_name: Callable[[str], str]) -> None:
    session = await stage.ada.sessions.create(min_seats=3)
    name = random_name("eve")

    def program() -> None:
        with oofgg.sync.Client(stage.target, game=stage.game.game_id) as client:
            client.register(name, f"{name}@example.org", PASSWORD)
            with client.play(session) as first, client.play(session, after_seq=None) as second:
                with pytest.raises(errors.Aborted) as replaced:
                    list(first)
                assert replaced.value.reason is oofgg.Reason.REPLACED
                second.leave()
                last = list(second)[-1]
                assert isinstance(last, oofgg.Presence)
                assert last.change is oofgg.PresenceChange.LEFT
                assert second.ended

    await asyncio.to_thread(program)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that take whatever is sent, at once."""
    for name in ("BYTES_PER_SECOND", "SESSION_BYTES_PER_SECOND"):
        monkeypatch.setenv(f"OOFGG_GAME_{name}", "10000000")


async def test_a_game_that_stands_still_stays_small_and_comes_back(
    wide: None, stage: Stage, random_name: Callable[[str], str]
) -> None:
    """While it does not poll, the others say more than the session keeps for anyone who does not keep up."""
    session = await stage.ada.sessions.create(min_seats=2)
    name = random_name("eve")
    inside, poured = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    async def others() -> None:
        await inside.wait()
        async with stage.ada.play(session) as playing, asyncio.TaskGroup() as group:

            async def pour() -> None:
                for _ in range(120):
                    await playing.send("x" * 40_000)
                await playing.flush()
                poured.set()

            group.create_task(pour())
            async for event in playing:
                if isinstance(event, oofgg.Message) and event.data == b"I am back":
                    break

    def game() -> tuple[int, list[oofgg.Event]]:
        with oofgg.sync.Client(stage.target, game=stage.game.game_id) as client:
            client.register(name, f"{name}@example.org", PASSWORD)
            with client.play(session.session_id) as playing:
                loop.call_soon_threadsafe(inside.set)
                assert poured.wait(PATIENCE)
                held = playing._inbox.held
                playing.send("I am back")
                events: list[oofgg.Event] = []
                while not any(isinstance(event, oofgg.LogReset) for event in events) and not is_back(events):
                    news = playing.wait(PATIENCE)
                    assert news, "nothing came in time"
                    events += news
                playing.flush(PATIENCE)
                return held, events

    def is_back(events: list[oofgg.Event]) -> bool:
        return any(isinstance(event, oofgg.Message) and event.data == b"I am back" for event in events)

    async with asyncio.timeout(100):
        _, (held, events) = await asyncio.gather(others(), asyncio.to_thread(game))
    assert 0 < held <= 3 * 64 * 1024, "a window, and what one more stream or two brought"
    numbered = [event.seq for event in events if event.seq]
    assert numbered == sorted(set(numbered))
    if not any(isinstance(event, oofgg.LogReset) for event in events):
        assert numbered == list(range(1, len(numbered) + 1))
