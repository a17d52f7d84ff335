"""Ratings follow from results: on the record, for who asks, and on the topic of the game."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer

import oofgg
from oofgg import errors
from oofgg.events.v1 import match_pb2
from tests.integration.calls import eventually
from tests.integration.sdk.stage import Stage


async def finished(stage: Stage, server: oofgg.Client, queue: str, *places: int) -> str:
    """A match of ada and bob in a queue, judged by the game's server."""
    session = await server.sessions.create(queue=queue, min_seats=2, max_seats=2)
    for client in (stage.ada, stage.bob):
        await client.sessions.join(session)
    await server.sessions.finish(session, dict(enumerate(places, 1)))
    return session.session_id


async def test_a_result_moves_the_ratings_of_its_queue(stage: Stage) -> None:
    key = await stage.studio.games.create_api_key("server", game_id=stage.game.game_id)
    users = [(await client.account()).user_id for client in (stage.ada, stage.bob)]
    async with oofgg.Client(stage.target, api_key=key.api_key, game=stage.game.game_id) as server:
        assert [rating.mu for rating in await server.ratings.get(users, queue="duel")] == [25, 25]
        rules = await server.ratings.set_rules(oofgg.RatingRules(mu=1500, provisional_matches=2), queue="duel")
        assert (rules.sigma, rules.provisional_matches) == (500, 2)
        first = await finished(stage, server, "duel", 1, 2)

        async def rated() -> bool:
            return (await stage.ada.ratings.get(users, queue="duel"))[0].matches == 1

        await eventually(rated)
        won, lost = await stage.ada.ratings.get(users, queue="duel")
        assert won.mu > 1500 > lost.mu
        assert won.provisional
        assert [rating.mu for rating in await stage.ada.ratings.get(users)] == [25, 25], "another queue"

        match = await stage.bob.history.get(first)
        assert match.queue == "duel"
        changes = {each.user_id: each.rating_change for each in match.participants}
        change = changes[users[0]]
        assert change is not None
        assert (change.before.mu, change.after.mu, change.after.ordinal) == (1500, won.mu, won.ordinal)

        await finished(stage, server, "duel", 2, 1)

        async def believed() -> bool:
            return not (await stage.ada.ratings.get(users, queue="duel"))[0].provisional

        await eventually(believed)
        with pytest.raises(errors.PermissionDenied) as refused:
            await stage.ada.sessions.create(queue="duel")
        assert refused.value.reason is oofgg.Reason.ACCESS_DENIED
        with pytest.raises(errors.PermissionDenied):
            await stage.ada.ratings.set_rules(oofgg.RatingRules(), queue="duel")

    consumer = AIOKafkaConsumer(
        stage.game.match_history_topic,
        bootstrap_servers=stage.services.settings.kafka_bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        async with asyncio.timeout(15):
            told = match_pb2.MatchFinished.FromString((await consumer.getone()).value or b"")
    finally:
        await consumer.stop()
    assert (told.match_id, told.queue, told.match_history_topic) == (first, "duel", "")
    by_user = {each.user_id: each.rating_change for each in told.participants}
    assert by_user[users[0]].after.mu == won.mu
    assert by_user[users[1]].before.mu == 1500


async def test_a_disputed_result_moves_nothing(stage: Stage) -> None:
    session = await stage.ada.sessions.create()
    async with stage.ada.play(session) as ada, stage.bob.play(session) as bob:
        await ada.finish({1: 1, 2: 2})
        await bob.finish({1: 2, 2: 1})

    async def recorded() -> bool:
        try:
            return (await stage.ada.history.get(session.session_id)).result_state is oofgg.ResultState.DISPUTED
        except errors.NotFound:
            return False

    await eventually(recorded)
    users = [(await client.account()).user_id for client in (stage.ada, stage.bob)]
    assert [rating.matches for rating in await stage.ada.ratings.get(users)] == [0, 0]
    match = await stage.ada.history.get(session.session_id)
    assert [each.rating_change for each in match.participants] == [None, None]
