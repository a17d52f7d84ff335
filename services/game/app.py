"""Composition root of `game`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oofgg.v1 import session_pb2
from pkg.events.lag import watch_outbox
from pkg.events.relay import Relay
from pkg.games import GameDirectory
from pkg.internal.v1 import session_pb2 as internal_pb2
from pkg.rpc.binder import Binding
from pkg.runtime.host import App, Host
from services.game.codec import PieceEncoder
from services.game.finish import Finisher, ResultStore
from services.game.journal import Journal
from services.game.metrics import GameMetrics
from services.game.nodes.claims import Claims
from services.game.nodes.handover import Handover
from services.game.nodes.owner import Owner
from services.game.nodes.peers import Peer, Peers
from services.game.nodes.takeover import Takeover
from services.game.opening import Opener
from services.game.replays import ReplayStore
from services.game.seating import SeatingServicer
from services.game.servicer import SessionServicer
from services.game.settings import GameSettings
from services.game.stores.listing import Listing
from services.game.stores.memberships import Memberships
from services.game.stores.sessions import SessionStore
from services.game.streams import Streams


@asynccontextmanager
async def app(host: Host) -> AsyncIterator[App]:
    """Needs Redis and PostgreSQL; what is published waits for Kafka."""
    settings = GameSettings()
    database = await host.postgres("game")
    times = settings.times()
    me = Peer(host.incarnation, host.node)
    peers = Peers(host.registry, me, host.clock)
    claims = Claims(host.redis, me)
    store = SessionStore(host.redis, me, times, ended_seconds=settings.ended_seconds)
    listing = Listing(host.redis, store, me, host.clock)
    metrics = GameMetrics(host.metrics.registry)
    journal = Journal(store, listing, host.clock, metrics)
    replays = ReplayStore(database, host.clock, days=settings.replay_days)
    finisher = Finisher(ResultStore(database, replays, host.new_id), host.clock, metrics)
    encoder = PieceEncoder()
    owner = Owner(
        store,
        listing,
        journal,
        peers,
        encoder,
        host.clock,
        limits=settings.delivery(),
        decided=finisher.decided,
    )
    streams = Streams(
        journal,
        host.revocations,
        host.clock,
        budget=settings.budget(),
        session_budget=settings.session_budget(),
        heartbeat_seconds=settings.heartbeat_seconds,
        unconfirmed_bytes=settings.unconfirmed_bytes,
        limits=settings.streams(),
    )
    takeover = Takeover(owner, claims, peers, host.clock, metrics, lease_seconds=host.settings.registry_lease_seconds)
    memberships = Memberships(host.redis, store, host.clock, most=settings.player_sessions)
    games = GameDirectory(host.channel("catalog"), host.clock)
    opener = Opener(
        owner=owner,
        peers=peers,
        claims=claims,
        memberships=memberships,
        store=store,
        listing=listing,
        encoder=encoder,
    )
    sessions = SessionServicer(
        owner=owner,
        peers=peers,
        opener=opener,
        memberships=memberships,
        store=store,
        listing=listing,
        journal=journal,
        streams=streams,
        finisher=finisher,
        replays=replays,
        games=games,
        times=times,
        clock=host.clock,
        new_id=host.new_id,
    )
    seating = SeatingServicer(
        opener=opener,
        owner=owner,
        peers=peers,
        memberships=memberships,
        store=store,
        listing=listing,
        journal=journal,
        games=games,
        times=times,
        clock=host.clock,
        ended_seconds=settings.ended_seconds,
    )
    host.spawn(journal.run(), name="journal")
    host.spawn(takeover.run(host.draining), name="takeover")
    host.spawn(owner.run_timers(), name="timers")
    host.spawn(finisher.run(), name="finisher")
    host.spawn(streams.run(), name="streams")
    host.spawn(Handover(owner, store, claims, peers, streams).run(host.draining), name="handover")
    host.spawn(replays.prune(), name="replays")
    relay = Relay(database, host.kafka, host.clock, tracing=host.tracing, news=host.topic_news)
    host.spawn(relay.run(), name="results relay")
    host.spawn(watch_outbox(database, host.metrics), name="game outbox lag")
    yield App(
        name="game",
        bindings=[
            Binding(session_pb2.DESCRIPTOR.services_by_name["SessionService"], sessions),
            Binding(internal_pb2.DESCRIPTOR.services_by_name["SeatingService"], seating),
        ],
        checks={"postgres": database.check, "redis": host.check_redis},
        sessions=lambda: owner.running,
    )
