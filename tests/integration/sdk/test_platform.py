"""The SDK against the real services, without Envoy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import oofgg
from oofgg import errors
from tests.integration.calls import eventually
from tests.integration.sdk.stage import PASSWORD, Stage, register


async def messages(session: oofgg.PlaySession, count: int) -> list[oofgg.Message]:
    found: list[oofgg.Message] = []
    async with asyncio.timeout(10):
        async for event in session:
            if isinstance(event, oofgg.Message):
                found.append(event)
                if len(found) == count:
                    break
    return found


async def test_accounts(stage: Stage, random_name: Callable[[str], str]) -> None:
    name = random_name("eve")
    async with oofgg.Client(stage.target) as client:
        with pytest.raises(errors.Unauthenticated) as missing:
            await client.account()
        assert missing.value.reason is oofgg.Reason.TOKEN_MISSING
        assert missing.value.request_id
        login = await register(client, name)
        assert login.role is oofgg.Role.PLAYER
        assert client.login_info == login
        account = await client.account()
        assert (account.user_id, account.username, account.email) == (login.user_id, name, f"{name}@example.org")
        assert account.create_time is not None
        assert account.create_time.tzinfo is not None
        with pytest.raises(errors.AlreadyExists) as taken:
            await register(client, name)
        assert taken.value.reason is oofgg.Reason.USERNAME_TAKEN
        with pytest.raises(errors.InvalidArgument) as invalid:
            await client.register("x", "no address", "short")
        assert {violation.field for violation in invalid.value.violations} == {"username", "email", "password"}
        assert (await client.become_developer()).role is oofgg.Role.DEVELOPER
        assert client.login_info is not None
        assert client.login_info.role is oofgg.Role.DEVELOPER
        token = (await client.metadata())[0][1].removeprefix("Bearer ")
        assert (await client.validate_token(token)).is_valid
        await client.logout()
        assert client.login_info is None

        async def refused() -> bool:
            return not (await client.validate_token(token)).is_valid

        await eventually(refused)
        with pytest.raises(errors.Unauthenticated):
            await client.account()
        with pytest.raises(errors.Unauthenticated) as wrong:
            await client.login(name, "another password")
        assert wrong.value.reason is oofgg.Reason.BAD_CREDENTIALS
        await client.login(name, PASSWORD)
        assert (await client.account()).user_id == login.user_id


async def test_games(stage: Stage) -> None:
    studio = stage.studio
    second = await studio.games.create("Second", description="text", settings=oofgg.GameSettings(max_seats=4))
    assert second.settings.max_seats == 4
    assert [game.name async for game in studio.games.list()] == ["Second", "Duel"]
    changed = await studio.games.update(second.game_id, description="")
    assert (changed.name, changed.description) == ("Second", "")
    changed = await studio.games.update(second.game_id, name="Third", settings=oofgg.GameSettings(max_seats=8))
    assert (await studio.games.get(second.game_id)) == changed
    await studio.games.delete(second.game_id)
    with pytest.raises(errors.NotFound):
        await studio.games.get(second.game_id)
    with pytest.raises(ValueError, match="which game"):
        await studio.games.get()
    assert (await stage.ada.games.get()).game_id == stage.game.game_id


async def test_a_game_server_with_an_api_key(stage: Stage) -> None:
    key = await stage.studio.games.create_api_key("server", game_id=stage.game.game_id)
    assert key.api_key not in repr(key)
    async with oofgg.Client(stage.target, api_key=key.api_key) as server:
        assert (await server.games.get()).game_id == stage.game.game_id
        session = await server.sessions.create(label="ranked")
        assert [found.session_id async for found in server.sessions.list(label="ranked")] == [session.session_id]
        await stage.ada.sessions.join(session)
        await stage.bob.sessions.join(session)
        outcome = await server.sessions.finish(session, [oofgg.SeatResult(1, 1, 30), oofgg.SeatResult(2, 2, 10)])
        assert outcome.state is oofgg.ResultState.STATED
        assert [entry.score for entry in outcome.result] == [30, 10]
        await server.logout()
        with pytest.raises(errors.Unauthenticated):
            await server.games.get(stage.game.game_id)
    async with oofgg.Client(stage.target, api_key=key.api_key) as server:  # the key itself outlives a logout
        assert (await server.games.get()).game_id == stage.game.game_id
    with pytest.raises(errors.Unauthenticated) as refused:
        async with oofgg.Client(stage.target, api_key="oofgg_nonsense"):
            pass
    assert refused.value.reason is oofgg.Reason.API_KEY_INVALID


async def test_sessions(stage: Stage) -> None:
    session = await stage.ada.sessions.create(label="duel", attributes={"map": "forest"}, min_seats=2, max_seats=2)
    assert session.state is oofgg.SessionState.CREATED
    assert session.node == "test-0"
    joined = await stage.ada.sessions.join(session.session_id, team=1)
    assert joined.seats[1].team == 1
    assert joined.state is oofgg.SessionState.WAITING
    await stage.bob.sessions.join(session)
    read = await stage.bob.sessions.get(session.session_id)
    assert (read.state, dict(read.attributes)) == (oofgg.SessionState.STARTED, {"map": "forest"})
    listed = stage.bob.sessions.list(state=oofgg.SessionState.STARTED, label="duel")
    assert [found.session_id async for found in listed] == [session.session_id]
    await stage.bob.sessions.leave(session)
    await stage.ada.sessions.close(session)
    assert (await stage.ada.sessions.get(session.session_id)).state is oofgg.SessionState.DELETED
    with pytest.raises(errors.FailedPrecondition) as over:
        await stage.bob.sessions.join(session)
    assert over.value.reason is oofgg.Reason.SESSION_STATE


async def test_a_match(stage: Stage) -> None:
    session = await stage.ada.sessions.create(min_seats=2)
    async with stage.ada.play(session) as left, stage.bob.play(session.session_id) as right:
        assert (left.seat, right.seat) == (1, 2)
        await left.send({"move": "e4"})
        await right.send("text", kind="chat")
        await right.send(b"\x00\x01")
        seen_left, seen_right = await messages(left, 3), await messages(right, 3)
        assert seen_left == seen_right
        by_seat = {seat: [event for event in seen_left if event.seat == seat] for seat in (1, 2)}
        assert by_seat[1][0].json() == {"move": "e4"}
        assert (by_seat[2][0].text(), by_seat[2][0].kind) == ("text", "chat")
        assert by_seat[2][1].data == b"\x00\x01"
        assert left.state is oofgg.SessionState.STARTED
        assert {number: seat.connected for number, seat in left.seats.items()} == {1: True, 2: True}
        outcome = await left.finish({left.seat: 1, right.seat: 2})
        assert outcome.state is oofgg.ResultState.PENDING
        assert outcome.deadline_time is not None
        assert (await right.finish({left.seat: 1, right.seat: 2})).state is oofgg.ResultState.AGREED
        async with asyncio.timeout(10):
            rest = [event async for event in left]
        states = [event.state for event in rest if isinstance(event, oofgg.StateChange)]
        assert states == [oofgg.SessionState.FINISHED]
        assert left.info.state is oofgg.SessionState.FINISHED
        assert left.info.result_state is oofgg.ResultState.AGREED
        assert await left.send("too late") is False


async def test_latest_and_volatile_are_for_others(stage: Stage) -> None:
    session = await stage.ada.sessions.create(min_seats=2, flush_window_ms=0)
    async with stage.ada.play(session) as left, stage.bob.play(session) as right:
        await left.send("here", delivery=oofgg.Delivery.LATEST, key="position")
        first = (await messages(right, 1))[0]
        assert (first.text(), first.key, first.seq) == ("here", "position", 0)
        await left.send("boo", delivery=oofgg.Delivery.VOLATILE)
        assert (await messages(right, 1))[0].text() == "boo"
        await right.send("answer")
        assert (await messages(left, 1))[0].text() == "answer"


async def test_far_more_than_the_window_arrives_in_order(stage: Stage) -> None:
    """Two megabytes to a receiver of 64 KiB: it goes on only because flushes are acknowledged."""
    session = await stage.ada.sessions.create(min_seats=2)
    count = 300
    async with stage.ada.play(session) as left, stage.bob.play(session) as right:

        async def pour() -> None:
            for number in range(count):
                await left.send(f"{number:05}" + "x" * 7_000)

        async with asyncio.TaskGroup() as group:
            group.create_task(pour())
            mine = group.create_task(messages(left, count))
            others = group.create_task(messages(right, count))
        for received in (mine.result(), others.result()):
            assert [int(event.data[:5]) for event in received] == list(range(count))


async def test_a_second_client_takes_the_seat(stage: Stage) -> None:
    session = await stage.ada.sessions.create()
    async with stage.ada.play(session) as first, stage.ada.play(session) as second:
        with pytest.raises(errors.Aborted) as replaced:
            await messages(first, 1)
        assert replaced.value.reason is oofgg.Reason.REPLACED
        await second.send("still here")
        await messages(second, 1)
        with pytest.raises(errors.Aborted):
            await first.send("no")


async def test_coming_back_later_brings_everything_since(stage: Stage) -> None:
    session = await stage.ada.sessions.create(min_seats=2)
    async with stage.ada.play(session) as left:
        await left.send("one")
        first = await messages(left, 1)
    async with stage.bob.play(session) as right:
        await right.send("two")
    async with stage.ada.play(session, after_seq=first[0].seq) as left:
        await left.send("three")
        assert [event.text() for event in await messages(left, 2)] == ["two", "three"]
    async with stage.ada.play(session, after_seq=None) as left:
        await left.send("four")
        assert [event.text() for event in await messages(left, 1)] == ["four"]
    async with stage.bob.play(session) as right:
        assert [event.text() for event in await messages(right, 4)] == ["one", "two", "three", "four"]


async def test_leaving_ends_the_iteration(stage: Stage) -> None:
    session = await stage.ada.sessions.create(min_seats=2)
    async with stage.ada.play(session) as left:
        await left.leave()
        async with asyncio.timeout(10):
            seen = [event async for event in left]
    assert isinstance(seen[-1], oofgg.Presence)
    assert seen[-1].change is oofgg.PresenceChange.LEFT


async def test_what_cannot_be_played(stage: Stage) -> None:
    with pytest.raises(errors.NotFound) as unknown:
        async with stage.ada.play("0" * 36):
            pass
    assert unknown.value.reason is oofgg.Reason.SESSION_NOT_FOUND
    full = await stage.ada.sessions.create(min_seats=1, max_seats=1)
    async with stage.ada.play(full) as session:
        with pytest.raises(errors.FailedPrecondition) as refused:
            async with stage.bob.play(full):
                pass
        assert refused.value.reason is oofgg.Reason.SESSION_FULL
        with pytest.raises(ValueError, match="65536"):
            await session.send(b"x" * 65_537)
        with pytest.raises(TypeError):
            await session.send(object())


async def test_results_show(stage: Stage) -> None:
    played: list[str] = []
    matches: list[tuple[int, int]] = [(3, 1), (2, 2)]
    for scores in matches:
        session = await stage.ada.sessions.create(label="ranked", min_seats=2)
        await stage.ada.sessions.join(session)
        await stage.bob.sessions.join(session)
        places = {1: 1, 2: 1 if scores[0] == scores[1] else 2}
        for client in (stage.ada, stage.bob):
            outcome = await client.sessions.finish(session, places, scores=dict(enumerate(scores, start=1)))
        assert outcome.state is oofgg.ResultState.AGREED
        played.append(session.session_id)

    async def visible() -> bool:
        return len([match async for match in stage.ada.history.list()]) == 2

    await eventually(visible, within=20)
    ada, bob = stage.ada.login_info, stage.bob.login_info
    assert ada is not None
    assert bob is not None
    wins = [entry async for entry in stage.ada.leaderboards.get()]
    assert [(entry.rank, entry.user_id, entry.wins, entry.losses, entry.draws, entry.score) for entry in wins] == [
        (1, ada.user_id, 1, 0, 1, 5),
        (2, bob.user_id, 0, 1, 1, 3),
    ]
    await stage.studio.leaderboards.create("laps", submitters=oofgg.Submitters.PLAYERS, game_id=stage.game.game_id)
    await stage.ada.leaderboards.submit("laps", 5)
    await stage.studio.leaderboards.remove("laps", ada.user_id, game_id=stage.game.game_id)
    with pytest.raises(errors.NotFound) as removed:
        await stage.ada.leaderboards.rank(leaderboard="laps")
    assert removed.value.reason is oofgg.Reason.ENTRY_NOT_FOUND
    rank = await stage.bob.leaderboards.rank(leaderboard="score")
    assert (rank.entry.rank, rank.total) == (2, 2)
    assert [match.match_id async for match in stage.bob.history.list(user_id=ada.user_id)] == played[::-1]
    match = await stage.bob.history.get(played[0])
    assert [(player.user_id, player.outcome) for player in match.participants] == [
        (ada.user_id, oofgg.MatchOutcome.WIN),
        (bob.user_id, oofgg.MatchOutcome.LOSS),
    ]
    with pytest.raises(errors.NotFound) as unknown:
        await stage.bob.leaderboards.rank(leaderboard="elo")
    assert unknown.value.reason is oofgg.Reason.LEADERBOARD_NOT_FOUND
