"""`oofgg.kafka.MatchHistory`: each match once, from wherever its reader left off, whatever the broker does."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

import oofgg
from oofgg.events.v1 import match_pb2
from oofgg.kafka import MatchHistory, MatchRecord
from pkg.db.database import Database
from pkg.events.outbox import Event, append
from pkg.events.records import headers_of
from pkg.events.topics import MATCH_HISTORY_PREFIX, ensure_topics, spec_of
from pkg.ids import new_id
from pkg.testing.addresses import reserve_address
from pkg.testing.backends import ROOT
from pkg.testing.brokers import Broker
from tests.integration.events.outboxes import relaying

LIMIT = 30.0


def finished(game: str, winner: int = 1) -> Event:
    message = match_pb2.MatchFinished(
        match_id=new_id(), game_id=game, result_state=match_pb2.RESULT_STATE_STATED, label="duel"
    )
    for seat in (1, 2):
        player = message.participants.add(
            seat=seat, user_id=new_id(), username=f"p{seat}", placement=1 if winner in (seat, 0) else 2, score=seat,
            stats={"moves": 12.0},
        )  # fmt: skip
        player.rating_change.before.CopyFrom(match_pb2.Rating(mu=25.0, sigma=8.0, provisional=True))
        player.rating_change.after.CopyFrom(match_pb2.Rating(mu=27.0, sigma=7.0, matches=1, provisional=True))
    now = datetime.now(UTC)
    message.start_time.FromDatetime(now - timedelta(minutes=5))
    message.finish_time.FromDatetime(now)
    kind = match_pb2.MatchFinished.DESCRIPTOR.full_name
    return Event(new_id(), kind, message.match_id, message.SerializeToString(), now)


async def play(database: Database, game: str, count: int) -> list[str]:
    """Plays matches and returns their ids."""
    ids = []
    for _ in range(count):
        event = finished(game)
        async with database.transaction() as connection:
            await append(connection, event, [MATCH_HISTORY_PREFIX + game])
        ids.append(event.key)
    return ids


async def take(history: MatchHistory, count: int) -> list[MatchRecord]:
    """So many matches, and a moment longer for one too many."""
    taken: list[MatchRecord] = []
    async with asyncio.timeout(LIMIT):
        while len(taken) < count:
            taken.append(await anext(history))
    one_more = asyncio.ensure_future(anext(history))
    await asyncio.wait([one_more], timeout=0.4)
    assert not one_more.done(), one_more
    one_more.cancel()
    await asyncio.gather(one_more, return_exceptions=True)
    return taken


def ids_of(records: list[MatchRecord]) -> list[str]:
    return [record.match.match_id for record in records]


async def publish(bootstrap: str, game: str, events: list[tuple[Event, int, int]]) -> None:
    """Puts these events on the game's topic, each with its number and that of the one before."""
    topic = MATCH_HISTORY_PREFIX + game
    await ensure_topics(bootstrap, [spec_of(topic)])
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for event, number, previous in events:
            headers = headers_of(event, "/test", number, previous, 1)
            await producer.send_and_wait(topic, event.payload, key=event.key.encode(), headers=headers)


async def test_matches_come_once_typed_and_go_on_at_a_position(database: Database, kafka_bootstrap: str) -> None:
    game = new_id()
    async with relaying(database, kafka_bootstrap, spec_of):
        ids = await play(database, game, 5)
        async with MatchHistory(kafka_bootstrap, game) as history:
            assert history.position == ""
            first = await take(history, 5)
            ids += await play(database, game, 2)  # while it runs
            first += await take(history, 2)
            assert history.position == first[-1].position
        assert ids_of(first) == ids
        match = first[0].match
        assert (match.game_id, match.label, match.result_state) == (game, "duel", oofgg.ResultState.STATED)
        assert [player.outcome for player in match.participants] == [oofgg.MatchOutcome.WIN, oofgg.MatchOutcome.LOSS]
        change = match.participants[0].rating_change
        assert change is not None
        assert (change.before.mu, change.after.ordinal, change.after.user_id) == (
            25.0, 6.0, match.participants[0].user_id,
        )  # fmt: skip
        assert match.participants[1].stats == {"moves": 12.0}
        ids += await play(database, game, 2)
        for record, left in ((first[2], 6), (first[6], 2)):
            async with MatchHistory(kafka_bootstrap, game, position=record.position) as history:
                assert ids_of(await take(history, left)) == ids[-left:]


async def test_the_readme_follows(kafka_bootstrap: str) -> None:
    text = (ROOT / "sdk" / "README.md").read_text()
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", text[text.index("## Every match, from Kafka") :], re.DOTALL)[0], names)
    game = new_id()
    events = [finished(game) for _ in range(3)]
    await publish(kafka_bootstrap, game, [(event, number, number - 1) for number, event in enumerate(events, 1)])
    taken: list[MatchRecord] = []

    async def take_in(record: MatchRecord) -> bool:
        taken.append(record)
        return len(taken) < 2

    await names["follow"](kafka_bootstrap, game, "1.1", take_in)
    assert ids_of(taken) == [event.key for event in events[1:]]


async def test_a_group_holds_the_position(database: Database, kafka_bootstrap: str) -> None:
    game, group = new_id(), f"group-{new_id()}"
    async with relaying(database, kafka_bootstrap, spec_of):
        ids = await play(database, game, 4)
        async with MatchHistory(kafka_bootstrap, game, group=group) as history:
            with pytest.raises(oofgg.errors.FailedPrecondition):
                await history.commit()
            assert ids_of([await anext(history), await anext(history)]) == ids[:2]
            await history.commit()
            await anext(history)  # not committed
        async with MatchHistory(kafka_bootstrap, game, group=group) as history:
            assert ids_of(await take(history, 2)) == ids[2:]
            await history.commit()
        async with MatchHistory(kafka_bootstrap, game, group=group) as history:
            ids += await play(database, game, 1)
            assert ids_of(await take(history, 1)) == ids[4:]


async def test_replay_from_a_time(database: Database, kafka_bootstrap: str) -> None:
    game = new_id()
    async with relaying(database, kafka_bootstrap, spec_of):
        ids = await play(database, game, 3)
        async with MatchHistory(kafka_bootstrap, game) as history:
            await take(history, 3)
        between = datetime.now(UTC)
        await asyncio.sleep(0.05)
        ids += await play(database, game, 2)
        async with MatchHistory(kafka_bootstrap, game) as history:
            await take(history, 5)
        for since, count in ((between, 2), (between - timedelta(hours=1), 5)):
            async with MatchHistory(kafka_bootstrap, game, since=since) as history:
                assert ids_of(await take(history, count)) == ids[-count:]
        async with MatchHistory(kafka_bootstrap, game, since=datetime.now(UTC) + timedelta(minutes=1)) as history:
            await take(history, 0)
            ids += await play(database, game, 1)
            assert ids_of(await take(history, 1)) == ids[-1:]


async def test_a_game_without_matches_is_waited_for(database: Database, kafka_bootstrap: str) -> None:
    game = new_id()
    async with (
        MatchHistory(kafka_bootstrap, game, timeout=2.0) as history,
        relaying(database, kafka_bootstrap, spec_of),
    ):
        await asyncio.sleep(0.5)
        ids = await play(database, game, 2)
        assert ids_of(await take(history, 2)) == ids


async def test_a_broker_that_crashes_repeats_and_loses_nothing(database: Database, broker: Broker) -> None:
    game = new_id()
    async with relaying(database, broker.bootstrap, spec_of):
        ids = await play(database, game, 5)
        async with MatchHistory(broker.bootstrap, game, timeout=4.0) as history:
            taken = await take(history, 5)
            for _ in range(2):
                ids += await play(database, game, 3)
                taken += await take(history, 3)  # an embedded broker has not written these yet
                await broker.crash()
                ids += await play(database, game, 4)
                taken += await take(history, 4)
            assert ids_of(taken) == ids
        async with MatchHistory(broker.bootstrap, game, position=taken[8].position) as history:
            assert ids_of(await take(history, len(ids) - 9)) == ids[9:]


@pytest.mark.parametrize("offset", [3, 5, 40], ids=["before its end", "at its end", "beyond it"])
async def test_what_came_back_below_the_position_is_read(kafka_bootstrap: str, offset: int) -> None:
    """Of five matches the reader has had two, when they took the offsets up to this one."""
    game = new_id()
    events = [finished(game) for _ in range(6)]
    numbered = [(event, number, number - 1) for number, event in enumerate(events, 1)]
    await publish(kafka_bootstrap, game, numbered[:5])
    async with MatchHistory(kafka_bootstrap, game, position=f"{offset}.2") as history:
        await publish(kafka_bootstrap, game, numbered[5:])
        assert ids_of(await take(history, 4)) == [event.key for event in events[2:]]


async def test_repeats_gaps_of_retention_and_strangers(kafka_bootstrap: str) -> None:
    game = new_id()
    one, two, three = (finished(game) for _ in range(3))
    stranger = Event(new_id(), "oofgg.events.v1.SomethingNew", "k", b"?", datetime.now(UTC))
    torn = Event(new_id(), one.type, "k", b"\xff", datetime.now(UTC))
    records = [
        (one, 50, 49), (one, 51, 50), (stranger, 52, 51), (two, 60, 55), (one, 50, 49), (torn, 61, 60), (three, 62, 61),
    ]  # fmt: skip
    await publish(kafka_bootstrap, game, records)
    async with MatchHistory(kafka_bootstrap, game) as history:
        assert [(await anext(history)).event_id for _ in range(2)] == [one.event_id, two.event_id]
        with pytest.raises(oofgg.errors.DataLoss, match="offset 5"):
            await anext(history)
        assert ids_of(await take(history, 1)) == [three.key]


async def test_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="position"):
        MatchHistory("localhost:9092", "g", position="what client.history.watch gave")
    with pytest.raises(ValueError, match="no time zone"):
        MatchHistory("localhost:9092", "g", since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(oofgg.errors.Unavailable):
        async with MatchHistory(reserve_address(), "g", timeout=0.5):
            pass
