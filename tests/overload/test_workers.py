"""Every background worker recovers from overload by itself, while all its neighbours are slow."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaProducer

from pkg.auth.revocations import Revocations, mark_complete, publish, run_of
from pkg.cache.client import open_redis
from pkg.clock import SystemClock
from pkg.db.database import Connection, Database, open_database
from pkg.events.lag import ProjectionFigures
from pkg.events.outbox import Event, append_all
from pkg.events.projection import Projection
from pkg.events.records import headers_of
from pkg.events.relay import Relay
from pkg.events.topics import TopicSpec, ensure_topics
from pkg.ids import new_id
from pkg.registry.process import Process, Served, State
from pkg.registry.store import Registry
from pkg.telemetry.metrics import Metrics
from services.edge.board import Board
from services.edge.metrics import EdgeMetrics
from services.game.replays import ReplayStore
from services.scoring.history.feed import MatchFeed, announce
from services.scoring.leaderboards.rules import Submission
from tests.integration.scoring.boards import open_boards
from tests.overload.load import SECONDS, Neighbours, overload

pytestmark = pytest.mark.timeout(120 + 6 * SECONDS)


@asynccontextmanager
async def working(*work: Awaitable[None]) -> AsyncIterator[None]:
    """Runs background work; it must not end by itself."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        yield
    finally:
        ended = [task for task in tasks if task.done()]
        pending = set(tasks)
        while pending:  # libraries swallow a cancellation that meets a time limit of theirs
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.5)
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert not ended, told


def event(key: str) -> Event:
    return Event(str(uuid.uuid4()), "oofgg.events.v1.MatchFinished", key, b"p" * 300, datetime.now(UTC))


async def count(database: Database, query: str) -> int:
    async with database.acquire() as connection:
        return int(await connection.fetchval(query))


async def test_a_relay_publishes_what_was_too_much(
    neighbours: Neighbours, postgres_url: str, topic_prefix: str
) -> None:
    neighbours.slow(0.02)
    topic = topic_prefix + "results"
    async with (
        open_database(postgres_url, "game", size=3) as direct,
        open_database(neighbours.postgres_url, "game", size=4) as slow,
        working(Relay(slow, neighbours.kafka_bootstrap, SystemClock(), spec=lambda name: TopicSpec(name, 4, 7)).run()),
    ):

        async def offer(events: int) -> None:
            for start in range(0, events, 1_000):
                async with direct.transaction() as connection:
                    new = [event(f"k{index}") for index in range(min(1_000, events - start))]
                    await append_all(connection, new, topic)

        # Numbered events are at the broker, or in its transaction.
        await overload("relay", offer, lambda: count(direct, "select count(*) from outbox where number is not null"))


async def test_a_projection_applies_what_was_too_much(
    neighbours: Neighbours, postgres_url: str, kafka_bootstrap: str, topic_prefix: str
) -> None:
    neighbours.slow(0.01)
    topic, partitions, metrics = topic_prefix + "results", 4, Metrics()
    spec = TopicSpec(topic, partitions, 7)
    number = 0

    async def apply(connection: Connection, told: Event) -> None:
        await connection.execute("insert into seen values ($1)", told.event_id)

    async with (
        open_database(postgres_url, "scoring", size=3) as direct,
        open_database(neighbours.postgres_url, "scoring", size=8) as slow,
        AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer,
    ):
        async with direct.acquire() as connection:
            await connection.execute("create table seen (event_id uuid not null)")
        await ensure_topics(kafka_bootstrap, [spec])

        async def offer(events: int) -> None:
            nonlocal number
            sent = []
            for _ in range(events):
                number += 1
                new, previous = event(f"k{number}"), max(0, number - partitions)
                headers = headers_of(new, "/test", number, previous, 1)
                place = number % partitions
                sent.append(
                    await producer.send(topic, new.payload, key=new.key.encode(), headers=headers, partition=place)
                )
            await asyncio.gather(*sent)

        figures = ProjectionFigures(metrics, topic)
        projection = Projection(slow, neighbours.kafka_bootstrap, spec, apply, holder="one", figures=figures)
        async with working(projection.run()):
            await overload("projection", offer, lambda: count(direct, "select count(*) from seen"))
        assert await count(direct, "select count(distinct event_id) from seen") == number
        assert metrics.registry.get_sample_value("oofgg_projection_went_back_total", {"topic": topic}) == 0
        assert await count(direct, "select count(*) from dead_letter") == 0


async def test_changes_of_ranks_that_were_too_many_are_told_to_redis(
    neighbours: Neighbours, postgres_url: str, redis_url: str
) -> None:
    neighbours.slow(0.05)
    async with (
        open_boards(postgres_url, redis_url) as direct,
        open_boards(neighbours.postgres_url, neighbours.redis_url) as slow,
    ):
        board = await direct.make()
        score = 0

        async def offer(changes: int) -> None:
            nonlocal score
            for _ in range(changes):
                score += 1
                one = Submission(board, direct.window(board), new_id(), "ada", score, 0, "", direct.clock.now())
                async with direct.database.transaction() as connection:
                    await direct.entries.submit(connection, [one])
                    await direct.entries.note(connection, [(*direct.spot(board), one.user_id)], 0)

        async with working(slow.changes.run()):
            await overload(
                "rank changes", offer,
                lambda: count(direct.database, "select count(*) from leaderboard_change where applied"),
            )  # fmt: skip


async def test_windows_that_were_too_many_are_built(neighbours: Neighbours, postgres_url: str, redis_url: str) -> None:
    neighbours.slow(0.05)
    async with (
        open_boards(postgres_url, redis_url) as direct,
        open_boards(neighbours.postgres_url, neighbours.redis_url) as slow,
    ):
        wanted = []

        async def offer(windows: int) -> None:
            for _ in range(windows):
                board = await direct.make()
                window = direct.window(board)
                some = [
                    Submission(board, window, new_id(), "ada", score, 0, "", direct.clock.now()) for score in range(5)
                ]
                async with direct.database.transaction() as connection:
                    await direct.entries.submit(connection, some)
                wanted.append(direct.spot(board))
                await slow.builder.want(direct.spot(board), window, within=0.001)

        ready = 0

        async def done() -> int:
            nonlocal ready
            while ready < len(wanted) and (await direct.ranks.members(wanted[ready]))[0]:
                ready += 1
            return ready

        await overload("rebuilding", offer, done, first=6)


async def test_ended_logins_that_were_too_many_are_known(neighbours: Neighbours, redis_url: str) -> None:
    neighbours.slow(0.25)  # a thousand of them come at a time
    logins: list[str] = []
    async with open_redis(redis_url) as direct, open_redis(neighbours.redis_url) as slow:
        run_id, _ = await run_of(direct)
        await mark_complete(direct, run_id)
        followed = Revocations(slow)
        known = 0

        async def offer(ended: int) -> None:
            new = [new_id() for _ in range(ended)]
            logins.extend(new)
            for start in range(0, ended, 200):
                some = new[start : start + 200]
                await asyncio.gather(
                    *(publish(direct, login, "x", keep_seconds=3_600, clock=SystemClock()) for login in some)
                )

        async def done() -> int:
            nonlocal known
            while known < len(logins) and followed.is_revoked(logins[known]):
                known += 1
            return known

        async with working(followed.follow()):
            await overload("ended logins", offer, done, first=500)
            assert followed.unread_seconds < 2


async def test_a_registry_in_which_much_changes_is_read_at_its_own_pace(neighbours: Neighbours, redis_url: str) -> None:
    """State, not a queue: whoever reads it late reads the newest."""
    neighbours.slow(0.05)
    clock = SystemClock()

    ports: dict[str, int] = {}

    def process(name: str) -> Process:
        address = f"127.0.0.1:{ports.setdefault(name, len(ports) + 1)}"
        return Process(name, name, address, 5.0, {"game": Served(State.SERVING)})

    async with open_redis(redis_url) as direct, open_redis(neighbours.redis_url) as slow:
        board = Board(Registry(slow), clock, EdgeMetrics(Metrics().registry))
        registry, storming = Registry(direct), True

        async def storm() -> None:
            number = 0
            while storming:
                number += 1
                await registry.put(process(f"noise-{number % 200}"), announce=True)

        async def seconds_until_seen(name: str) -> float:
            began = clock.monotonic()
            await registry.put(process(name), announce=True)
            while not any(each.node == name for each in board.view.get("game", ())):
                await asyncio.sleep(0.01)
                assert clock.monotonic() - began < 10
            return clock.monotonic() - began

        async with working(board.follow()):
            quiet = [await seconds_until_seen(f"quiet-{index}") for index in range(5)]
            noise = asyncio.create_task(storm())
            began = clock.monotonic()
            stormy: list[float] = []
            while clock.monotonic() - began < SECONDS:
                stormy.append(await seconds_until_seen(f"marker-{len(stormy)}"))
            storming = False
            await noise
            after = [await seconds_until_seen(f"after-{index}") for index in range(5)]
    usual, much, later = (sorted(times)[len(times) // 2] for times in (quiet, stormy, after))
    print(f"\nregistry: seen after {usual:.2f} s, while much changes after {much:.2f} s, then after {later:.2f} s")
    assert much < 4 * usual + 0.5
    assert later < 2 * usual + 0.5


async def test_a_sweep_removes_what_was_too_much(neighbours: Neighbours, postgres_url: str) -> None:
    neighbours.slow(0.25)  # two hundred of them go at a time
    async with (
        open_database(postgres_url, "game", size=3) as direct,
        open_database(neighbours.postgres_url, "game", size=2) as slow,
    ):
        offered = 0

        async def offer(replays: int) -> None:
            nonlocal offered
            offered += replays
            expired = datetime.now(UTC) - timedelta(hours=1)
            async with direct.acquire() as connection:
                await connection.execute(
                    "insert into replay select gen_random_uuid(), gen_random_uuid(), '[]', 1, 'log', $2"
                    " from generate_series(1, $1)",
                    replays, expired,
                )  # fmt: skip

        async def done() -> int:
            return offered - await count(direct, "select count(*) from replay")

        async with working(ReplayStore(slow, SystemClock(), days=7).prune(every=0.1)):
            await overload("sweep", offer, done, first=200)


async def test_a_feed_tells_of_what_was_too_much(neighbours: Neighbours, postgres_url: str) -> None:
    neighbours.slow(0.1)
    game_id = new_id()
    async with (
        open_database(postgres_url, "scoring", size=3) as direct,
        open_database(neighbours.postgres_url, "scoring", size=4) as slow,
    ):
        feed, told, draining = MatchFeed(slow), 0, asyncio.Event()

        async def offer(matches: int) -> None:
            async with direct.transaction() as connection:
                await connection.execute(
                    "insert into match (match_id, game_id, result_state, label, attributes, finish_time)"
                    " select gen_random_uuid(), $1, 'stated', '', '{}', now() from generate_series(1, $2)",
                    game_id, matches,
                )  # fmt: skip
                await announce(connection, game_id)

        async def watch() -> None:
            nonlocal told
            with feed.watching(game_id) as news:
                position = (0, 0)
                while True:
                    await news.wait()
                    news.clear()
                    while found := await feed.after(game_id, position, 100):
                        told += len(found)
                        position = found[-1][0]

        async def done() -> int:
            return told

        async with working(feed.run(draining), watch()):
            await overload("feed", offer, done, first=100)
