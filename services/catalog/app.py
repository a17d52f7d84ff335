"""Composition root of `catalog`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oofgg.v1 import game_pb2
from pkg.games import Quotas
from pkg.internal.v1 import catalog_pb2
from pkg.rpc.binder import Binding
from pkg.runtime.host import App, Host
from services.catalog.export import GameExporter
from services.catalog.servicer import GameDirectoryServicer, GameServicer
from services.catalog.store import GameStore
from services.catalog.topics import TopicKeeper


@asynccontextmanager
async def app(host: Host) -> AsyncIterator[App]:
    """Needs PostgreSQL; topics wait for Kafka."""
    database = await host.postgres("catalog")
    games = GameStore(database)
    topics = TopicKeeper(games, database, host.kafka, host.clock)
    host.spawn(topics.run(), name="topics")
    servicer = GameServicer(games, database, host.clock, host.new_id, topics.wake)
    settings = host.settings
    defaults = Quotas(settings.game_players, settings.game_sessions, settings.game_calls_per_second)
    yield App(
        name="catalog",
        bindings=[
            Binding(game_pb2.DESCRIPTOR.services_by_name["GameService"], servicer),
            Binding(
                catalog_pb2.DESCRIPTOR.services_by_name["GameDirectoryService"],
                GameDirectoryServicer(games, defaults),
            ),
        ],
        checks={"postgres": database.check},
        export_user=GameExporter(games),
    )
