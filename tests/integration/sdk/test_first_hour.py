"""What somebody meets who uses the SDK for the first time, and not always as it is meant."""

from __future__ import annotations

import asyncio
import inspect
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable
from datetime import datetime
from typing import Any

import pytest

import oofgg
import oofgg.kafka
import oofgg.sync
from oofgg import errors
from tests.integration.sdk import every_call
from tests.integration.sdk.games import in_a_game, quiet
from tests.integration.sdk.script import SESSION, Platform, StreamScript

NOBODY = "127.0.0.1:1"  # a port at which nothing listens
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001
CALLS = [pytest.param(*call, id=".".join(filter(None, call))) for call in every_call.names()]


async def test_where_nothing_listens_on_this_machine_a_call_says_within_five_seconds_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def blocking() -> str:
        with oofgg.sync.Client(NOBODY) as client, pytest.raises(errors.Unavailable) as caught:
            client.login("ada", "secret")
        return str(caught.value)

    async def waiting() -> str:
        async with oofgg.Client(NOBODY) as client:
            with pytest.raises(errors.Unavailable) as caught:
                await client.login("ada", "secret")
        return str(caught.value)

    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "oofgg"):
        told = await asyncio.gather(waiting(), asyncio.to_thread(blocking))
    assert time.monotonic() - began < 5.0 + 0.5
    for text in told:
        assert NOBODY in text
        assert "Is the platform running? `make up` starts one" in text
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == 2, "one for each client, at its first repeat"
    assert all("make up" in warning for warning in warnings)


async def test_a_platform_that_goes_away_is_waited_for_as_long_as_the_call_may_take(platform: Platform) -> None:
    from oofgg._connection import Connection
    from oofgg._target import parse_target

    connection = Connection(parse_target(platform.target), None)
    silence = errors.Unavailable("failed to connect")
    assert connection.patience(silence, 15.0) < 5.0
    connection.answered()
    assert connection.patience(silence, 15.0) == 15.0
    await connection.close()


@pytest.mark.parametrize(("part", "name"), CALLS)
async def test_a_client_that_was_not_entered_says_how_to_enter_it(part: str, name: str) -> None:
    with pytest.raises(RuntimeError, match=r"use `async with oofgg.Client\(…\) as client:`"):
        await every_call.finish(every_call.begin(oofgg.Client(NOBODY), part, name))
    client = oofgg.sync.Client(NOBODY)

    def blocking() -> None:
        with pytest.raises(RuntimeError, match=r"use `with oofgg.sync.Client\(…\) as client:`"):
            every_call.block(every_call.begin(client, part, name))

    await asyncio.to_thread(blocking)


async def test_a_session_that_was_not_entered_says_how_to_enter_it(client: oofgg.Client, platform: Platform) -> None:
    session = client.play(SESSION)
    uses: list[Awaitable[object]] = [session.send("x"), session.flush(), session.started(), session.finish({1: 1})]
    uses += [session.leave(), session.update(label="x"), session.kick(2), session.__anext__()]
    for use in uses:
        with pytest.raises(RuntimeError, match=r"use `async with client.play\(…\) as session:`"):
            await use
    for name in ("info", "seats", "state", "session_id"):
        with pytest.raises(RuntimeError, match=r"use `async with"):
            getattr(session, name)

    def blocking(other: oofgg.sync.Client) -> None:
        playing = other.play(SESSION)
        ask: Any
        for ask in (
            lambda: playing.send("x"),
            playing.flush,
            playing.started,
            lambda: playing.finish({1: 1}),
            playing.leave,
            lambda: playing.update(label="x"),
            lambda: playing.kick(2),
            playing.poll,
            lambda: playing.wait(1),
            lambda: next(playing),
            lambda: playing.info,
        ):
            with pytest.raises(RuntimeError, match=r"use `with client.play\(…\) as session:`"):
                ask()

    await in_a_game(platform, blocking, quiet)


@pytest.mark.parametrize(("part", "name"), CALLS)
async def test_after_the_end_of_a_client_everything_raises_cancelled(platform: Platform, part: str, name: str) -> None:
    async with oofgg.Client(platform.target) as client:
        client.game = "g1"
    with pytest.raises(errors.Cancelled, match="closed"):
        await every_call.finish(every_call.begin(client, part, name))


async def test_a_client_can_be_closed_more_than_once_and_without_leaving_its_block(platform: Platform) -> None:
    client = oofgg.Client(platform.target)
    await client.close()  # nothing was opened
    async with client:
        await client.login("ada", "secret")
        await client.close()
        with pytest.raises(errors.Cancelled, match="closed"):
            await client.account()
        with pytest.raises(errors.Cancelled, match="closed"):
            client.play(SESSION)
        await client.close()


async def test_a_session_whose_client_was_closed_raises_errors_of_the_sdk_alone(platform: Platform) -> None:
    platform.sessions.scripts = [quiet]
    async with oofgg.Client(platform.target) as client:
        await client.login("ada", "secret")
        async with client.play(SESSION) as session:
            await client.close()
            with pytest.raises(errors.Cancelled):
                async with asyncio.timeout(5):
                    await anext(session)
            for use in (session.send("x"), session.finish({1: 1}), session.kick(2)):
                with pytest.raises(errors.Cancelled):
                    await use


@pytest.mark.parametrize(("part", "name"), CALLS)
async def test_in_a_second_event_loop_a_client_is_refused(platform: Platform, part: str, name: str) -> None:
    async with oofgg.Client(platform.target) as client:
        client.game = "g1"

        async def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="another event loop: make one in each event loop"):
                await every_call.finish(every_call.begin(client, part, name))

        await asyncio.to_thread(asyncio.run, elsewhere())


async def test_in_a_second_event_loop_a_session_is_refused(client: oofgg.Client, platform: Platform) -> None:
    platform.sessions.scripts = [quiet]
    async with client.play(SESSION) as session:

        async def elsewhere() -> None:
            for use in (session.send("x"), session.flush(), session.started(), anext(session)):
                with pytest.raises(RuntimeError, match="another event loop: make one in each event loop"):
                    await use

        await asyncio.to_thread(asyncio.run, elsewhere())


async def test_the_blocking_twin_refuses_a_thread_that_runs_an_event_loop(platform: Platform) -> None:
    client = oofgg.sync.Client(platform.target)
    with pytest.raises(RuntimeError, match=r"use oofgg.Client with `async with` here"), client:
        pass
    await asyncio.to_thread(client.__enter__)
    with pytest.raises(RuntimeError, match=r"use oofgg.Client with `async with` here"):
        client.login("ada", "secret")
    await asyncio.to_thread(client.close)


@pytest.mark.parametrize("value", [float("nan"), {"x": [float("inf")]}], ids=["nan", "infinity"])
async def test_numbers_that_json_does_not_have_are_refused(
    client: oofgg.Client, platform: Platform, value: object
) -> None:
    platform.sessions.scripts = [quiet]
    async with client.play(SESSION) as session:
        with pytest.raises(ValueError, match="cannot be sent as JSON"):
            await session.send(value)

    def blocking(other: oofgg.sync.Client) -> None:
        with other.play(SESSION) as playing, pytest.raises(ValueError, match="cannot be sent as JSON"):
            playing.send(value)

    await in_a_game(platform, blocking, quiet)
    with pytest.raises(ValueError, match="cannot be sent as JSON"):
        await client.leaderboards.submit("laps", 1, metadata={"lap": value}, game_id="g1")


async def test_a_delivery_that_is_a_text_is_refused(client: oofgg.Client, platform: Platform) -> None:
    platform.sessions.scripts = [quiet]
    async with client.play(SESSION) as session:
        with pytest.raises(TypeError, match=r"one of oofgg.Delivery, such as Delivery.LATEST"):
            await session.send("x", delivery="LATEST", key="k")  # type: ignore[arg-type]

    def blocking(other: oofgg.sync.Client) -> None:
        with other.play(SESSION) as playing, pytest.raises(TypeError, match=r"one of oofgg.Delivery"):
            playing.send("x", delivery="LATEST", key="k")  # type: ignore[arg-type]

    await in_a_game(platform, blocking, quiet)


async def test_a_score_that_is_no_whole_number_is_refused(client: oofgg.Client) -> None:
    refused: list[tuple[Any, Any]] = [
        ({1: 1, 2: 2}, {1: None}),
        ({1: 1, 2: 2}, {1: 2.5}),
        ({1: None}, None),
        ([oofgg.SeatResult(1, 1, None)], None),  # type: ignore[arg-type]
        ([oofgg.SeatResult(1, 1, True)], None),
    ]
    for result, scores in refused:
        with pytest.raises(TypeError, match="give a whole number"):
            await client.sessions.finish("s", result, scores=scores)
    with pytest.raises(ValueError, match="give a finite number"):
        await client.sessions.finish("s", [oofgg.SeatResult(1, 1, stats={"kills": float("nan")})])
    with pytest.raises(ValueError, match="a score for seat 3, and no place"):
        await client.sessions.finish("s", {1: 1, 2: 2}, scores={3: 1})
    with pytest.raises(TypeError, match="the score is None"):
        await client.leaderboards.submit("laps", None, game_id="g1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the score is None"):
        await client.leaderboards.submit_many([oofgg.Score("laps", None)], game_id="g1")  # type: ignore[arg-type]


TIMES = [
    pytest.param(part, name, parameter, id=f"{part}.{name}.{parameter}")
    for part, name in every_call.names()
    for parameter, told in inspect.signature(getattr(every_call.PARTS[part], name)).parameters.items()
    if "datetime" in str(told.annotation)
]


def test_functions_that_take_times_are_found() -> None:
    assert len(TIMES) >= 8


@pytest.mark.parametrize(("part", "name", "parameter"), TIMES)
async def test_a_time_without_a_zone_is_refused(
    client: oofgg.Client, platform: Platform, part: str, name: str, parameter: str
) -> None:
    client.game = "g1"
    with pytest.raises(ValueError, match="has no time zone"):
        await every_call.finish(every_call.begin(client, part, name, **{parameter: NAIVE}))

    def blocking(other: oofgg.sync.Client) -> None:
        with pytest.raises(ValueError, match="has no time zone"):
            every_call.block(every_call.begin(other, part, name, **{parameter: NAIVE, "game_id": "g1"}))

    await in_a_game(platform, blocking, quiet)


def test_a_history_on_kafka_refuses_a_time_without_a_zone() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        oofgg.kafka.MatchHistory("localhost:9092", "g1", since=NAIVE)


async def test_a_history_on_kafka_that_was_not_entered_says_how_to_enter_it() -> None:
    with pytest.raises(RuntimeError, match=r"use `async with MatchHistory\(…\)"):
        await anext(oofgg.kafka.MatchHistory("localhost:9092", "g1"))


async def test_a_topic_that_does_not_exist_is_warned_of(kafka_bootstrap: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "oofgg"):
        async with oofgg.kafka.MatchHistory(kafka_bootstrap, "no-such-game"):
            pass
    assert ["oofgg.match-history.no-such-game does not exist yet" in record.message for record in caplog.records] == [
        True
    ]


def test_without_aiokafka_the_error_names_the_extra() -> None:
    program = "import sys; sys.modules['aiokafka'] = None; import oofgg.kafka"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "pip install 'oofgg[kafka]'" in ran.stderr


async def test_a_stream_that_nobody_answers_warns_once(
    client: oofgg.Client, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    async def cut(stream: StreamScript) -> None:
        await stream.accept()
        await stream.context.abort(__import__("grpc").StatusCode.UNAVAILABLE, "")

    platform.sessions.scripts = [cut, quiet]
    with caplog.at_level(logging.WARNING, "oofgg"):
        async with client.play(SESSION) as session, asyncio.timeout(10):
            while len(platform.sessions.streams) < 2 or not session.connected:
                await asyncio.sleep(0.01)
    assert ["Trying again" in record.message for record in caplog.records] == [True]
