"""Composition root of `scoring`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oofgg.v1 import history_pb2, leaderboard_pb2, rating_pb2
from pkg.events.lag import ProjectionFigures, watch_dead_letters, watch_outbox
from pkg.events.projection import Projection
from pkg.events.relay import Relay
from pkg.events.topics import ACCOUNTS, MATCH_RESULTS, spec_of
from pkg.games import GameDirectory
from pkg.internal.v1 import rating_pb2 as internal_rating_pb2
from pkg.rpc.binder import Binding
from pkg.runtime.host import App, Host
from services.scoring.consumer import MatchConsumer
from services.scoring.forget import AccountConsumer, match_exporter, score_exporter
from services.scoring.history.feed import MatchFeed
from services.scoring.history.servicer import HistoryServicer
from services.scoring.history.store import MatchStore
from services.scoring.leaderboards.app import open_leaderboards
from services.scoring.leaderboards.entries import EntryStore
from services.scoring.metrics import ScoringMetrics
from services.scoring.projection import MatchProjection
from services.scoring.ratings.directory import RatingDirectory
from services.scoring.ratings.servicer import RatingServicer
from services.scoring.ratings.store import RatingStore
from services.scoring.standings.builtin import BuiltInBoards
from services.scoring.standings.store import StandingStore


@asynccontextmanager
async def app(host: Host) -> AsyncIterator[App]:
    """Needs PostgreSQL; without Kafka it answers from what it has, without Redis more slowly."""
    database = await host.postgres("scoring")
    matches, standings, ratings = MatchStore(database), StandingStore(database), RatingStore(database)
    games = GameDirectory(host.channel("catalog"), host.clock)
    leaderboards = open_leaderboards(host, database, games, BuiltInBoards(standings, games))
    projection = Projection(
        database,
        host.kafka,
        spec_of(MATCH_RESULTS),
        MatchConsumer(MatchProjection(matches, standings, ratings, leaderboards.feed, host.new_id)).apply,
        holder=f"{host.node}/{host.new_id()}",
        tracing=host.tracing,
        figures=ProjectionFigures(host.metrics, MATCH_RESULTS),
        news=host.topic_news,
    )
    accounts = Projection(
        database,
        host.kafka,
        spec_of(ACCOUNTS),
        AccountConsumer(EntryStore(database), host.new_id).apply,
        holder=f"{host.node}/{host.new_id()}",
        tracing=host.tracing,
        figures=ProjectionFigures(host.metrics, ACCOUNTS),
        news=host.topic_news,
    )
    feed = MatchFeed(database)
    host.spawn(feed.run(host.draining), name="match feed")
    host.spawn(projection.run(), name="results projection")
    host.spawn(accounts.run(), name="accounts projection")
    relay = Relay(database, host.kafka, host.clock, tracing=host.tracing, news=host.topic_news)
    host.spawn(relay.run(), name="history relay")
    host.spawn(watch_outbox(database, host.metrics), name="scoring outbox lag")
    host.spawn(watch_dead_letters(database, host.metrics), name="scoring dead letters")
    host.spawn(ScoringMetrics(host.metrics.registry).watch(database), name="leaderboard changes lag")
    history = HistoryServicer(matches, feed, games, host.revocations, host.draining)
    yield App(
        name="scoring",
        bindings=[
            Binding(leaderboard_pb2.DESCRIPTOR.services_by_name["LeaderboardService"], leaderboards.servicer),
            Binding(rating_pb2.DESCRIPTOR.services_by_name["RatingService"], RatingServicer(ratings, games)),
            Binding(
                internal_rating_pb2.DESCRIPTOR.services_by_name["RatingDirectoryService"], RatingDirectory(ratings)
            ),
            Binding(history_pb2.DESCRIPTOR.services_by_name["HistoryService"], history),
        ],
        checks={"postgres": database.check},
        export_user=match_exporter(database),
        export_more={"leaderboards": score_exporter(database)},
    )
