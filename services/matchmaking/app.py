"""Composition root of `matchmaking`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from oofgg.v1 import matchmaking_pb2
from pkg.events.lag import watch_outbox
from pkg.events.relay import Relay
from pkg.games import GameDirectory
from pkg.rpc.binder import Binding
from pkg.runtime.host import App, Host
from services.matchmaking.backfill import Backfill
from services.matchmaking.definitions import DefinitionServicer
from services.matchmaking.directory import QueueDirectory, Ratings
from services.matchmaking.entrance import Entrance
from services.matchmaking.figures import QueueFigures
from services.matchmaking.leading.leader import Leader
from services.matchmaking.leading.leads import Leads
from services.matchmaking.leading.making import Making
from services.matchmaking.leading.publishing import Publishing
from services.matchmaking.metrics import MatchmakingMetrics
from services.matchmaking.seating import Seating
from services.matchmaking.servicer import MatchmakingServicer
from services.matchmaking.settings import MatchmakingSettings
from services.matchmaking.stores.leading import LeaderStore, QueueKey
from services.matchmaking.stores.queues import QueueStore
from services.matchmaking.stores.tickets import TicketStore
from services.matchmaking.watching import Watching


@asynccontextmanager
async def app(host: Host) -> AsyncIterator[App]:
    """Needs Redis and PostgreSQL; what is published waits for Kafka."""
    settings = MatchmakingSettings()
    database = await host.postgres("matchmaking")
    clock, node = host.clock, host.incarnation
    games = GameDirectory(host.channel("catalog"), clock)
    queues = QueueStore(database)
    directory = QueueDirectory(queues, clock)
    tickets, store = TicketStore(host.redis, node), LeaderStore(host.redis, node)
    seating = Seating(host.channel("game"), host.registry, host.service_tokens, clock, within=settings.session_seconds)
    publishing = Publishing(database, store, tickets)
    figures = QueueFigures(store, clock)

    def making(key: QueueKey, epoch: str) -> Making:
        return Making(key, epoch, store=store, seating=seating, publishing=publishing, clock=clock)

    # One thread: looks at pools follow each other, and the loop keeps its share of the processor.
    with ThreadPoolExecutor(1, thread_name_prefix="matching") as executor:

        def leader(key: QueueKey, epoch: str) -> Leader:
            return Leader(
                key,
                epoch,
                store=store,
                directory=directory,
                making=making,
                executor=executor,
                clock=clock,
                new_id=host.new_id,
                cycle_seconds=settings.cycle_seconds,
            )

        leads = Leads(
            node, store, host.registry, leader, clock, MatchmakingMetrics(host.metrics.registry),
            lease_seconds=settings.lease_seconds,
        )  # fmt: skip
        watching = Watching(
            host.redis,
            node,
            tickets,
            leader_news=leads.news,
            wanted=lambda key: leads.want([key]),
            most_per_player=settings.player_streams,
            draining=host.draining,
        )
        servicer = MatchmakingServicer(
            definitions=DefinitionServicer(database, queues, directory, figures, games, clock),
            backfill=Backfill(store, seating, directory, games, leads, clock),
            entrance=Entrance(tickets, store, leads, seating, clock, host.new_id, host.draining),
            tickets=tickets,
            watching=watching,
            directory=directory,
            ratings=Ratings(host.channel("scoring")),
            figures=figures,
            seating=seating,
            games=games,
            revocations=host.revocations,
            clock=clock,
            new_id=host.new_id,
        )
        host.spawn(watching.run(), name="ticket watching")
        host.spawn(leads.run(host.draining), name="queue leads")
        relay = Relay(database, host.kafka, clock, tracing=host.tracing, news=host.topic_news)
        host.spawn(relay.run(), name="matchmaking relay")
        host.spawn(watch_outbox(database, host.metrics), name="matchmaking outbox lag")
        yield App(
            name="matchmaking",
            bindings=[Binding(matchmaking_pb2.DESCRIPTOR.services_by_name["MatchmakingService"], servicer)],
            checks={"postgres": database.check, "redis": host.check_redis},
        )
        await seating.close()
