"""Nodes that take over from each other, over a Redis that is slow: leads are kept, and sessions are taken."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis.asyncio as redis

from pkg.auth.tokens import ServiceTokens
from pkg.cache.client import open_redis
from pkg.clock import SystemClock
from pkg.db.database import open_database
from pkg.ids import new_id
from pkg.registry.process import Process, Served, State
from pkg.registry.store import Registry
from pkg.rpc.channel import ServiceChannel
from pkg.telemetry.metrics import Metrics
from services.game.codec import PieceEncoder
from services.game.engine.facts import Profile, SessionFacts
from services.game.engine.sessions import Session
from services.game.journal import Journal
from services.game.metrics import GameMetrics
from services.game.nodes.claims import Claims, owned_key
from services.game.nodes.owner import Owner
from services.game.nodes.peers import Peer, Peers
from services.game.nodes.takeover import Takeover
from services.game.settings import GameSettings
from services.game.stores.listing import Listing
from services.game.stores.sessions import Creation, SessionStore
from services.matchmaking.directory import QueueDirectory
from services.matchmaking.leading.leader import Leader
from services.matchmaking.leading.leads import Leads, rightful
from services.matchmaking.leading.making import Making
from services.matchmaking.leading.publishing import Publishing
from services.matchmaking.metrics import MatchmakingMetrics
from services.matchmaking.seating import Seating
from services.matchmaking.stores.leading import LeaderStore, QueueKey
from services.matchmaking.stores.queues import QueueStore
from services.matchmaking.stores.tickets import TicketStore, base_of
from tests.integration.calls import eventually
from tests.overload.load import SECONDS, Neighbours, overload
from tests.overload.test_workers import working

pytestmark = pytest.mark.timeout(120 + 6 * SECONDS)
LEASE = 1.0


async def renew(client: redis.Redis, service: str, *nodes: str) -> None:
    """Keeps processes in the registry, as they do themselves."""
    registry = Registry(client)
    while True:
        for number, node in enumerate(nodes, 1):
            process = Process(node, node, f"127.0.0.1:{number}", 5.0, {service: Served(State.SERVING)})
            await registry.put(process, announce=False)
        await asyncio.sleep(0.5)


async def test_a_lead_is_kept_while_redis_is_slow(neighbours: Neighbours, postgres_url: str, redis_url: str) -> None:
    """A round of looking after queues takes longer than a lease; the lead is renewed beside it."""
    clock, key = SystemClock(), QueueKey(new_id(), "duel")
    nodes = [new_id(), new_id()]
    channel = ServiceChannel("127.0.0.1:1", ServiceTokens("s" * 32, "test", clock))
    async with (
        open_database(postgres_url, "matchmaking", size=4) as database,
        open_redis(redis_url) as direct,
        open_redis(neighbours.redis_url) as slow,
    ):
        tokens = ServiceTokens("s" * 32, "test", clock)
        with ThreadPoolExecutor(1) as executor:

            def leads_of(node: str) -> Leads:
                tickets, store = TicketStore(slow, node), LeaderStore(slow, node)
                seating = Seating(channel, Registry(slow), tokens, clock, within=3.0)
                publishing = Publishing(database, store, tickets)

                def making(key: QueueKey, epoch: str) -> Making:
                    return Making(key, epoch, store=store, seating=seating, publishing=publishing, clock=clock)

                def leader(key: QueueKey, epoch: str) -> Leader:
                    return Leader(
                        key, epoch, store=store, directory=QueueDirectory(QueueStore(database), clock), making=making,
                        executor=executor, clock=clock, new_id=new_id, cycle_seconds=0.2,
                    )  # fmt: skip

                metrics = MatchmakingMetrics(Metrics().registry)
                return Leads(node, store, Registry(slow), leader, clock, metrics, lease_seconds=LEASE)

            draining = asyncio.Event()
            neighbours.slow(0.2)
            await LeaderStore(direct, nodes[0]).mark_active([key], time.time() + 3_600)
            holders: list[tuple[str, str]] = []
            async with working(renew(direct, "matchmaking", *nodes), *(leads_of(node).run(draining) for node in nodes)):
                began = clock.monotonic()
                while clock.monotonic() - began < 6 + SECONDS:
                    await asyncio.sleep(0.05)
                    held = await direct.hmget(f"{base_of(key.game_id)}:l:{key.name}", "holder", "epoch")
                    if clock.monotonic() - began > 6:
                        holder, epoch = (each.decode() if isinstance(each, bytes) else "" for each in held)
                        holders.append((holder, epoch))
    await channel.close()
    assert {holder for holder, _ in holders} == {rightful(key, nodes)}
    assert len(set(holders)) == 1, f"it changed hands: {set(holders)}"


async def test_sessions_of_dead_nodes_that_were_too_many_are_taken_over(neighbours: Neighbours, redis_url: str) -> None:
    neighbours.slow(0.02)
    clock, settings, metrics = SystemClock(), GameSettings(), GameMetrics(Metrics().registry)
    dead, me = Peer("1", "dead"), Peer("2", "alive")
    async with open_redis(redis_url) as direct, open_redis(neighbours.redis_url) as slow:
        store = SessionStore(slow, me, settings.times(), ended_seconds=60)
        listing = Listing(slow, store, me, clock)
        peers, claims = Peers(Registry(slow), me, clock), Claims(slow, me)
        journal = Journal(store, listing, clock, metrics)
        owner = Owner(
            store, listing, journal, peers, PieceEncoder(), clock,
            limits=settings.delivery(), decided=lambda live: None,
        )  # fmt: skip
        takeover = Takeover(owner, claims, peers, clock, metrics, lease_seconds=5.0)
        theirs = SessionStore(direct, dead, settings.times(), ended_seconds=60)

        async def offer(sessions: int) -> None:
            made = [
                Session(
                    SessionFacts(
                        session_id=new_id(), game_id=new_id(), min_seats=2, max_seats=2, flush_window_ms=20,
                        create_time=time.time(), history_topic="",
                    ),
                    Profile(new_id()),
                )
                for _ in range(sessions)
            ]  # fmt: skip
            await theirs.create([Creation(session, dead) for session in made])
            pipeline = direct.pipeline()
            pipeline.sadd(owned_key(dead.incarnation), *(session.facts.session_id for session in made))
            await pipeline.execute()

        async def done() -> int:
            # A node that is dead gets no more sessions; here it goes on getting them after others have taken all.
            await direct.hset("game:owners", dead.incarnation, dead.node)
            return owner.running

        async with working(renew(direct, "game", me.incarnation), takeover.run(asyncio.Event()), journal.run()):
            # It takes pages of 32 and has a lot to do for each, so that a short time shows little: a fifth.
            await overload("takeover", offer, done, first=32, least=0.2)

            async def forgotten() -> bool:
                return not await direct.scard(owned_key(dead.incarnation))

            await eventually(forgotten)
