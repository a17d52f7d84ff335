"""Projections made again while results flow: `python -m services projections`."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from oofgg.events.v1 import identity_pb2, match_pb2
from pkg.config import Settings
from pkg.db.database import open_database
from pkg.events.outbox import Event, append
from pkg.events.topics import ACCOUNTS, MATCH_RESULTS
from pkg.ids import new_id
from services.projections import carry_out
from tests.integration.calls import eventually
from tests.integration.conftest import RunningServices, StartServices

ROOT = Path(__file__).parents[3]
START = datetime.now(UTC).replace(microsecond=0)
BOTH = ("standings", "ratings")
ALL = ("history", *BOTH)
SPOIL = """
    update scoring.standing set wins = wins + 7 where user_id in (select user_id from scoring.standing limit 3);
    delete from scoring.standing where user_id in (select user_id from scoring.standing order by user_id desc limit 2);
    update scoring.rating set mu = mu + 1;
    delete from scoring.rating where user_id in (select user_id from scoring.rating order by user_id desc limit 2);
    update scoring.rating_change set mu_after = 0 where seat = 1;
    delete from scoring.rating_change where seat = 2
"""
SERVED = """
    select 'standing' as what, user_id::text, '' as queue, wins::float8, losses::float8, score::float8
        from scoring.standing
    union all select 'rating', user_id::text, queue, mu, sigma, matches from scoring.rating where matches > 0
    union all select 'change', match_id::text, seat::text, mu_before, mu_after, matches_after from scoring.rating_change
"""


class Field:
    """Results of one game, as the service of sessions tells them."""

    def __init__(self, services: RunningServices, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.settings: Settings = services.settings
        self.connection = connection
        self.game_id = new_id()
        self.players = [new_id() for _ in range(8)]
        self.random = random.Random(6)
        self.told: list[match_pb2.MatchFinished] = []

    def result(self) -> match_pb2.MatchFinished:
        chosen = self.random.sample(self.players, self.random.choice((2, 2, 3, 4)))
        state = self.random.choice(4 * [match_pb2.RESULT_STATE_STATED] + [match_pb2.RESULT_STATE_DISPUTED])
        message = match_pb2.MatchFinished(
            match_id=new_id(), game_id=self.game_id, result_state=state, queue=self.random.choice(("", "duel"))
        )
        for seat, user in enumerate(chosen, 1):
            message.participants.add(
                seat=seat, user_id=user, username=f"name {len(self.told)}", placement=min(seat, 3), score=seat
            )
        message.finish_time.FromDatetime(START + timedelta(seconds=len(self.told)))
        return message

    async def tell(self, count: int) -> None:
        async with open_database(self.settings.postgres_url, "game", size=1) as database:
            for _ in range(count):
                message = self.result()
                event = Event(new_id(), message.DESCRIPTOR.full_name, message.match_id, message.SerializeToString(),
                              START)  # fmt: skip
                async with database.transaction() as connection:
                    await append(connection, event, [MATCH_RESULTS])
                self.told.append(message)

    async def taken_in(self) -> None:
        async def all_there() -> bool:
            return await self.count() == len(self.told)

        await eventually(all_there, within=30)

    async def count(self) -> int:
        """Matches of the game in the history. The broker has other games too, of other tests."""
        counted: int = await self.connection.fetchval(
            "select count(*) from scoring.match where game_id = $1", self.game_id
        )
        return counted

    async def delete(self, user_id: str) -> None:
        """Has scoring hear that an account is gone."""
        deleted = identity_pb2.AccountDeleted(user_id=user_id)
        deleted.delete_time.FromDatetime(START)
        event = Event(new_id(), deleted.DESCRIPTOR.full_name, user_id, deleted.SerializeToString(), START)
        async with (
            open_database(self.settings.postgres_url, "auth", size=1) as database,
            database.transaction() as connection,
        ):
            await append(connection, event, [ACCOUNTS])

        async def forgotten() -> bool:
            return bool(
                await self.connection.fetchval("select true from scoring.forgotten where user_id = $1", user_id)
            )

        await eventually(forgotten, within=30)
        self.players.remove(user_id)

    async def served(self) -> Counter[asyncpg.Record]:
        rows = await self.connection.fetch(SERVED)
        return Counter(tuple(round(one, 9) if isinstance(one, float) else one for one in row) for row in rows)  # type: ignore[misc]

    async def project(self, command: str, names: Sequence[str]) -> int:
        return await carry_out(self.settings, command, names, None)


@pytest.fixture
async def field(start_services: StartServices) -> AsyncIterator[Field]:
    services = await start_services(["auth", "catalog", "game", "scoring"])
    connection = await asyncpg.connect(services.settings.postgres_url, timeout=10, command_timeout=30)
    yield Field(services, connection)
    await connection.close(timeout=5)


async def test_what_is_served_is_what_results_say(field: Field) -> None:
    await field.tell(60)
    await field.taken_in()
    await field.delete(field.players[0])
    await field.connection.execute(
        "insert into scoring.rating_rules values ($1, 'duel', 1500, 500, 250, 5, 3)", field.game_id
    )
    await field.tell(40)
    await field.taken_in()
    assert await field.project("verify", ALL) == 0
    before = await field.served()
    assert await field.project("rebuild", ALL) == 0
    assert await field.served() == before


async def test_a_rebuild_while_results_flow_ends_with_all_of_them_once(
    field: Field, capsys: pytest.CaptureFixture[str]
) -> None:
    await field.tell(120)
    await field.taken_in()
    await field.connection.execute(SPOIL)
    assert await field.project("verify", BOTH) == 1
    flowing = asyncio.create_task(field.tell(150))
    for _ in range(3):
        assert await field.project("rebuild", BOTH) == 0
        await asyncio.sleep(0.1)
    await field.delete(field.players[3])
    assert await field.project("rebuild", BOTH) == 0
    await flowing
    await field.taken_in()
    assert await field.project("verify", ALL) == 0, capsys.readouterr().out

    counted = [one for one in field.told if one.result_state != match_pb2.RESULT_STATE_DISPUTED]
    scores: Counter[str] = Counter()
    for one in counted:
        scores.update({each.user_id: each.score for each in one.participants})
    rows = await field.connection.fetch(
        "select user_id::text, score from scoring.standing where game_id = $1", field.game_id
    )
    assert {row[0]: row[1] for row in rows} == {user: score for user, score in scores.items() if user in field.players}
    # Of whoever was deleted, only those that were taken in before.
    changes = await field.connection.fetchval(
        "select count(*) from scoring.rating_change join scoring.participant using (match_id, seat)"
        " where game_id = $1 and user_id = any($2::uuid[])",
        field.game_id, field.players,
    )  # fmt: skip
    assert changes == sum(each.user_id in field.players for one in counted for each in one.participants)


async def test_a_rebuild_that_is_killed_leaves_nothing_behind(field: Field) -> None:
    await field.tell(50)
    await field.taken_in()
    right = await field.served()
    await field.connection.execute(SPOIL)
    spoilt = await field.served()
    settings = field.settings
    environment = {
        **os.environ,
        "OOFGG_ENVIRONMENT": "development",
        "OOFGG_POSTGRES_URL": settings.postgres_url,
        "OOFGG_REDIS_URL": settings.redis_url,
        "OOFGG_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "OOFGG_MASTER_KEY": settings.master_key_text(),
        "OOFGG_SERVICE_SECRET": settings.service_secret_text(),
    }
    async with field.connection.transaction():
        # What it waits for before the last step.
        await field.connection.execute("lock table scoring.position in share mode")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services", "projections", "rebuild", *BOTH, cwd=ROOT, env=environment
        )

        async def waits() -> bool:
            return bool(
                await field.connection.fetchval(
                    "select true from pg_locks where not granted and mode = 'ShareRowExclusiveLock'"
                )
            )

        await eventually(waits, within=30)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert await field.served() == spoilt
    await field.tell(1)
    await field.taken_in()
    assert await field.project("rebuild", BOTH) == 0
    assert await field.project("verify", BOTH) == 0
    # But for the last result, it is as it was.
    own = {message.match_id for message in field.told}
    assert {row for row in right if row[1] in own} <= set(await field.served())


async def test_the_history_comes_back_from_the_log(field: Field) -> None:
    await field.tell(40)
    await field.taken_in()
    await field.delete(field.players[0])
    before = await history(field)
    await field.connection.execute("""
        update scoring.match set queue = 'nonsense', attributes = '{"a": "b"}'
            where match_id in (select match_id from scoring.match limit 3);
        update scoring.participant set score = 99, username = 'nobody' where seat = 2 and username <> 'deleted player';
        delete from scoring.match where match_id in (select m.match_id from scoring.match m where not exists
            (select from scoring.participant p where p.match_id = m.match_id and p.username = 'deleted player') limit 4)
    """)
    aside = field.told[0].match_id
    await field.connection.execute(
        "insert into scoring.dead_letter (topic, partition, record_offset, key, value, headers, reason)"
        " values ($1, 0, 0, $2, '', '[]', '')",
        MATCH_RESULTS, aside.encode(),
    )  # fmt: skip
    await field.connection.execute("delete from scoring.match where match_id = $1", aside)
    assert await field.project("verify", ["history"]) == 1
    flowing = asyncio.create_task(field.tell(30))
    assert await field.project("rebuild", ["history"]) == 0
    await flowing

    async def all_but_one() -> bool:
        return await field.count() == len(field.told) - 1

    await eventually(all_but_one, within=30)
    assert await field.project("verify", ["history"]) == 0
    after = await history(field)
    assert {key: value for key, value in after.items() if key in before} == {
        key: value for key, value in before.items() if key != aside
    }


async def history(field: Field) -> dict[str, tuple[object, ...]]:
    rows = await field.connection.fetch("""
        select match_id::text, queue, label, attributes, finish_time, result_state,
            array_agg((seat, user_id, username, placement, score, outcome) order by seat) as participants
        from scoring.match join scoring.participant using (match_id, finish_time) group by match_id
    """)
    return {row["match_id"]: tuple(row)[1:] for row in rows}
