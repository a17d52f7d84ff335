"""Tickets that wait outlive Redis's death, and a match waits for those who open sessions."""

from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from oofgg.v1 import matchmaking_pb2 as pb
from tests.chaos.cluster import NODES, Cluster
from tests.integration.conftest import RunningServices
from tests.integration.game.players import Arena
from tests.integration.matchmaking.lobby import Lobby, Waiter

pytestmark = pytest.mark.timeout(120)

WITHIN = 40.0
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DEADLINE_EXCEEDED)


async def lobby_of(channel: grpc.aio.Channel) -> Lobby:
    running = cast("RunningServices", SimpleNamespace(channel=channel))
    studio = f"studio-{os.urandom(4).hex()}"
    return Lobby(await Arena.build(running, studio), running)


async def last_state(lobby: Lobby, who: Waiter, **fields: Any) -> pb.Ticket:
    """Watches a ticket to its end, over as many streams as that takes."""
    ticket_id = ""
    async with asyncio.timeout(WITHIN):
        while True:
            asked = {"ticket_id": ticket_id} if ticket_id else fields
            try:
                async with lobby.watching(who, **asked) as states:
                    async for ticket in states:
                        ticket_id = ticket.ticket_id
                        if ticket.state == pb.TICKET_STATE_MATCHED:
                            return ticket
                        assert ticket.state <= pb.TICKET_STATE_ACCEPTED, ticket
            except grpc.aio.AioRpcError as error:
                if error.code() not in PASSING:
                    raise
            await asyncio.sleep(0.2)


async def test_tickets_that_wait_outlive_redis(cluster: Cluster) -> None:
    async with grpc.aio.insecure_channel(cluster.address) as channel:
        lobby = await lobby_of(channel)
        await lobby.define("trio", min_teams=3)
        ada, bob, eve = await lobby.players(*(f"{name}-{os.urandom(4).hex()}" for name in ("ada", "bob", "eve")))
        waiting = [
            asyncio.create_task(last_state(lobby, who, enqueue=lobby.request("trio", request_id="once")))
            for who in (ada, bob)
        ]
        await asyncio.sleep(2.0)
        places = {(await lobby.read(who)).ticket_id for who in (ada, bob)}
        await asyncio.to_thread(cluster.kill_redis)
        await asyncio.sleep(1.0)
        waiting.append(asyncio.create_task(last_state(lobby, eve, enqueue=lobby.request("trio", request_id="once"))))
        tickets = await asyncio.gather(*waiting)
    assert {ticket.ticket_id for ticket in tickets[:2]} == places, "nobody has lost a place"
    assert len({ticket.match.session_id for ticket in tickets}) == 1


async def test_a_match_waits_for_who_opens_sessions(cluster: Cluster) -> None:
    async with grpc.aio.insecure_channel(cluster.address) as channel:
        lobby = await lobby_of(channel)
        await lobby.define()
        players = await lobby.players(*(f"{name}-{os.urandom(4).hex()}" for name in ("ada", "bob")))
        for node in NODES:
            cluster.kill(node)
        waiting = [asyncio.create_task(last_state(lobby, who, enqueue=lobby.request())) for who in players]
        await asyncio.sleep(3.0)
        assert {(await lobby.read(who)).state for who in players} == {pb.TICKET_STATE_ACCEPTED}
        for node in NODES:
            await asyncio.to_thread(cluster.start, node)
        tickets = await asyncio.gather(*waiting)
        await asyncio.to_thread(cluster.wait_whole)
        assert len({ticket.match.session_id for ticket in tickets}) == 1
        session = await lobby.arena.read(players[0].metadata, tickets[0].match.session_id)
        assert len(session.seats) == 2
