"""How a session gets its result, and how the result gets out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from oofgg.events.v1 import match_pb2
from oofgg.v1 import game_pb2, game_pb2_grpc
from oofgg.v1 import session_pb2 as pb
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error
from tests.integration.calls import eventually, reason_of
from tests.integration.conftest import StartServices
from tests.integration.game.conftest import SERVICES
from tests.integration.game.players import WITHIN, Arena, result


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
async def hasty(start_services: StartServices, monkeypatch: pytest.MonkeyPatch) -> Arena:
    """An arena in which players have a second to agree."""
    monkeypatch.setenv("OOFGG_GAME_BALLOT_SECONDS", "1")
    return await Arena.build(await start_services(SERVICES))


async def published(database: asyncpg.Connection[Any], session_id: str) -> dict[str, match_pb2.MatchFinished]:
    rows = await database.fetch("select topic, payload from game.outbox where key = $1", session_id)
    return {row["topic"]: match_pb2.MatchFinished.FromString(row["payload"]) for row in rows}


async def test_players_agree(arena: Arena, database: asyncpg.Connection[Any]) -> None:
    ada, bob, session_id = await arena.duel(label="ranked", attributes={"map": "dust"})
    async with arena.play(ada, session_id) as one:
        first = await arena.finish(ada, session_id, 1, 2)
        assert first.state == pb.RESULT_STATE_PENDING
        assert not first.HasField("result")
        assert 25 < first.deadline_time.seconds - one.opened.server_time.seconds < 35
        await one.until(lambda: any(event.result.state == pb.RESULT_STATE_PENDING for event in one.events))
        second = await arena.finish(bob, session_id, 1, 2)
        assert second.state == pb.RESULT_STATE_AGREED
        assert second.result == result(1, 2)
        assert await one.ended() is None
        decided, over = one.events[-2:]
        assert (decided.result.state, decided.result.result) == (pb.RESULT_STATE_AGREED, result(1, 2))
        assert over.state.state == pb.SESSION_STATE_FINISHED
    session = await arena.read(ada, session_id)
    assert (session.state, session.result_state) == (pb.SESSION_STATE_FINISHED, pb.RESULT_STATE_AGREED)
    assert session.result == result(1, 2)
    messages = await published(database, session_id)
    assert set(messages) == {"oofgg.match-results"}
    message = messages["oofgg.match-results"]
    assert message.match_history_topic == f"oofgg.match-history.{arena.game.game_id}"
    assert (message.match_id, message.game_id, message.label) == (session_id, arena.game.game_id, "ranked")
    assert dict(message.attributes) == {"map": "dust"}
    assert message.result_state == match_pb2.RESULT_STATE_AGREED
    assert [(p.seat, p.username, p.placement, p.score) for p in message.participants] == [
        (1, "ada", 1, 9),
        (2, "bob", 2, 8),
    ]
    assert message.start_time.seconds <= message.finish_time.seconds


async def test_a_late_word_gets_the_decision(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    await arena.finish(ada, session_id, 1, 2)
    await arena.finish(bob, session_id, 1, 2)
    again = await arena.finish(ada, session_id, 2, 1)
    assert (again.state, again.result) == (pb.RESULT_STATE_AGREED, result(1, 2))


async def test_a_contradiction_is_disputed_and_names_no_winner(arena: Arena, database: asyncpg.Connection[Any]) -> None:
    ada, bob, session_id = await arena.duel()
    await arena.finish(ada, session_id, 1, 2)
    answer = await arena.finish(bob, session_id, 2, 1)
    assert answer.state == pb.RESULT_STATE_DISPUTED
    assert not answer.HasField("result")
    message = (await published(database, session_id))["oofgg.match-results"]
    assert message.result_state == match_pb2.RESULT_STATE_DISPUTED
    assert [(p.placement, p.score) for p in message.participants] == [(0, 0), (0, 0)]


async def test_a_player_can_correct_itself_until_it_is_decided(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    await arena.finish(ada, session_id, 2, 1)
    assert (await arena.finish(ada, session_id, 1, 2)).state == pb.RESULT_STATE_PENDING
    assert (await arena.finish(bob, session_id, 1, 2)).state == pb.RESULT_STATE_AGREED


async def test_silence_abstains(hasty: Arena) -> None:
    ada, _, session_id = await hasty.duel()
    async with hasty.play(ada, session_id) as one:
        assert (await hasty.finish(ada, session_id, 1, 2)).state == pb.RESULT_STATE_PENDING
        assert await one.ended() is None
        assert one.events[-2].result.state == pb.RESULT_STATE_AGREED
    assert (await hasty.read(ada, session_id)).state == pb.SESSION_STATE_FINISHED


async def test_the_developers_word_counts_at_once(arena: Arena, database: asyncpg.Connection[Any]) -> None:
    ada, _, session_id = await arena.duel()
    server = await arena.server()
    await arena.finish(ada, session_id, 1, 2)
    answer = await arena.finish(server, session_id, 2, 1)
    assert (answer.state, answer.result) == (pb.RESULT_STATE_STATED, result(2, 1))
    assert (await arena.finish(server, session_id, 2, 1)).state == pb.RESULT_STATE_STATED
    request = pb.FinishRequest(session_id=session_id, result=result(1, 2))
    assert await reason_of(arena.sessions.Finish(request, metadata=server, timeout=WITHIN)) is Reason.SESSION_STATE
    assert await database.fetchval("select count(*) from game.result") == 1


async def test_finishing_twice_at_once_counts_once(arena: Arena, database: asyncpg.Connection[Any]) -> None:
    ada, bob, session_id = await arena.duel()
    server = await arena.server()
    answers = await asyncio.gather(
        *(arena.finish(who, session_id, 1, 2) for who in (server, server, ada, bob, server)),
        *(arena.finish(ada, session_id, 1, 2, request_id="mine") for _ in range(3)),
    )
    assert {answer.state for answer in answers} == {pb.RESULT_STATE_STATED}
    assert await database.fetchval("select count(*) from game.result") == 1
    assert await database.fetchval("select count(*) from game.outbox") == 1


async def test_a_repeat_gets_its_first_answer_even_after_the_end(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    first = await arena.finish(ada, session_id, 1, 2, request_id="first")
    last = await arena.finish(bob, session_id, 1, 2, request_id="last")
    assert await arena.finish(ada, session_id, 1, 2, request_id="first") == first
    assert await arena.finish(bob, session_id, 1, 2, request_id="last") == last


async def test_the_history_topic_can_be_turned_off(arena: Arena, database: asyncpg.Connection[Any]) -> None:

    games: Any = game_pb2_grpc.GameServiceStub(arena.running.channel)
    settings = game_pb2.GameSettings(match_history_topic_disabled=True)
    await games.UpdateGame(
        game_pb2.UpdateGameRequest(
            game=game_pb2.Game(game_id=arena.game.game_id, settings=settings),
            update_mask=FieldMask(paths=["settings.match_history_topic_disabled"]),
        ),
        metadata=arena.console,
        timeout=WITHIN,
    )
    _, _, session_id = await arena.duel()
    await arena.finish(await arena.server(), session_id, 1, 2)
    (message,) = (await published(database, session_id)).values()
    assert message.match_history_topic == ""


async def test_who_left_has_no_say_and_who_is_silent_is_not_waited_for(arena: Arena) -> None:
    ada, bob, session_id = await arena.duel()
    assert (await arena.finish(ada, session_id, 1, 2)).state == pb.RESULT_STATE_PENDING
    await arena.sessions.Leave(pb.LeaveRequest(session_id=session_id), metadata=bob, timeout=WITHIN)

    async def finished() -> bool:
        return (await arena.read(ada, session_id)).state == pb.SESSION_STATE_FINISHED

    await eventually(finished)
    session = await arena.read(ada, session_id)
    assert (session.result_state, session.result) == (pb.RESULT_STATE_AGREED, result(1, 2))


@pytest.mark.parametrize(
    ("stated", "field"),
    [
        pytest.param(result(1), "result.seats", id="a seat is missing"),
        pytest.param(result(1, 2, 3), "result.seats[2].seat", id="nobody has that seat"),
        pytest.param(
            pb.Result(seats=[pb.SeatResult(seat=1, placement=1)] * 2), "result.seats[1].seat", id="a seat twice"
        ),
        pytest.param(pb.Result(seats=[pb.SeatResult(seat=1)]), "result.seats[0].placement", id="no placement"),
        pytest.param(pb.Result(), "result.seats", id="empty"),
        pytest.param(None, "result", id="none"),
    ],
)
async def test_a_wrong_result_is_refused_by_field(arena: Arena, stated: pb.Result | None, field: str) -> None:
    ada, _, session_id = await arena.duel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await arena.sessions.Finish(
            pb.FinishRequest(session_id=session_id, result=stated), metadata=ada, timeout=WITHIN
        )
    error = from_rpc_error(caught.value)
    assert error.reason is Reason.INVALID_FIELD
    assert error.violations[0].field == field


async def test_a_session_that_has_not_started_cannot_finish(arena: Arena) -> None:
    ada = await arena.player("ada")
    session = await arena.create(ada)
    await arena.join(ada, session.session_id)
    request = pb.FinishRequest(session_id=session.session_id, result=result(1))
    assert await reason_of(arena.sessions.Finish(request, metadata=ada, timeout=WITHIN)) is Reason.SESSION_STATE
    eve = await arena.player("eve")
    _, _, started = await _duel(arena)
    request = pb.FinishRequest(session_id=started, result=result(1, 2))
    assert await reason_of(arena.sessions.Finish(request, metadata=eve, timeout=WITHIN)) is Reason.NOT_A_PARTICIPANT


async def _duel(arena: Arena) -> tuple[Any, Any, str]:
    one, two = await arena.player("cyd"), await arena.player("dee")
    session = await arena.create(one)
    for who in (one, two):
        await arena.join(who, session.session_id)
    return one, two, session.session_id


@pytest.mark.parametrize("when", ["new.seats is not null", "true"], ids=["the result alone", "whatever is written"])
async def test_a_result_that_cannot_be_written_ends_disputed_and_holds_up_no_other(
    arena: Arena, database: asyncpg.Connection[Any], when: str
) -> None:
    ada, bob, bad = await arena.duel()
    good = (await arena.create(ada)).session_id
    for player in (ada, bob):
        await arena.join(player, good)
    await database.execute(
        "create function game.refuse() returns trigger language plpgsql as $$ begin"
        f" if new.session_id = '{bad}' and {when} then raise exception 'no' using errcode = '22003'; end if;"
        " return new; end $$;"
        "create trigger refuse before insert on game.result for each row execute function game.refuse()"
    )
    await arena.finish(ada, bad, 1, 2)
    with pytest.raises(grpc.aio.AioRpcError):
        await arena.finish(bob, bad, 1, 2)
    await arena.finish(ada, good, 1, 2)
    assert (await arena.finish(bob, good, 1, 2)).state == pb.RESULT_STATE_AGREED

    async def over() -> bool:
        return (await arena.read(ada, bad)).state == pb.SESSION_STATE_FINISHED

    await eventually(over, within=10)
    assert (await arena.read(ada, bad)).result_state == pb.RESULT_STATE_DISPUTED
    assert (await arena.finish(bob, bad, 1, 2)).state == pb.RESULT_STATE_DISPUTED
    figures = arena.running.host.metrics.registry
    assert figures.get_sample_value("oofgg_results_refused_total") == 1
