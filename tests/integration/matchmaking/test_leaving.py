"""A member leaves a party's ticket: for the others it goes on, and no match has whoever left."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from oofgg.v1 import matchmaking_pb2 as pb
from pkg.errors import Reason
from tests.integration.calls import eventually, reason_of
from tests.integration.conftest import StartServices
from tests.integration.game.players import WITHIN
from tests.integration.matchmaking.lobby import ALL, Lobby, Waiter


@pytest.fixture
async def lobby(start_services: StartServices) -> Lobby:
    return await Lobby.build(await start_services(ALL))


async def party(lobby: Lobby, *members: Waiter, queue: str = "pairs") -> pb.Ticket:
    """The ticket of all members, who sit in a lobby that the first has opened."""
    session = await lobby.arena.create(members[0].metadata, min_seats=2, max_seats=8)
    for who in members:
        await lobby.arena.join(who.metadata, session.session_id)
    return await lobby.enqueue(members[0], queue, party_session_id=session.session_id)


async def test_a_member_who_leaves_may_queue_elsewhere_and_the_others_keep_their_place(lobby: Lobby) -> None:
    await lobby.define("pairs", min_team_size=2)
    await lobby.define("duel")
    leader, mate, ada, bob, eve = await lobby.players("leader", "mate", "ada", "bob", "eve")
    ticket = await party(lobby, leader, mate)
    left = await lobby.leave(mate)
    assert (left.ticket_id, left.state, left.reason) == (
        ticket.ticket_id, pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_LEFT
    )  # fmt: skip
    rest = await lobby.read(leader, ticket.ticket_id)
    assert (rest.state, [player.user_id for player in rest.players]) == (pb.TICKET_STATE_QUEUED, [leader.user_id])
    assert rest.create_time == ticket.create_time
    # The answer was lost; the client asks again.
    again = await lobby.leave(mate, ticket.ticket_id)
    assert (again.state, again.reason) == (pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_LEFT)
    assert (await lobby.enqueue(mate, "duel")).state == pb.TICKET_STATE_QUEUED
    for who in (ada, bob, eve):
        await lobby.enqueue(who, "pairs")
    matched = await lobby.over(leader, ticket.ticket_id)
    assert matched.state == pb.TICKET_STATE_MATCHED
    assert sorted(player.user_id for player in matched.match.players) == sorted(
        who.user_id for who in (leader, ada, bob, eve)
    )


async def test_whoever_watches_sees_that_they_have_left_and_the_others_that_they_are_fewer(lobby: Lobby) -> None:
    await lobby.define("pairs", min_team_size=2)
    leader, mate = await lobby.players("leader", "mate")
    ticket = await party(lobby, leader, mate)

    async def states(who: Waiter) -> list[tuple[int, int, int]]:
        async with asyncio.timeout(WITHIN), lobby.watching(who, ticket_id=ticket.ticket_id) as told:
            return [(one.state, one.reason, len(one.players)) async for one in told]

    watching = asyncio.create_task(states(mate))

    async def is_watched() -> bool:
        await asyncio.sleep(0.05)
        return not watching.done()

    await eventually(is_watched)
    await lobby.leave(mate, ticket.ticket_id)
    assert (await watching)[-1] == (pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_LEFT, 1)
    await lobby.until(leader, ticket.ticket_id, lambda one: len(one.players) == 1)


async def test_the_last_who_leaves_ends_the_ticket(lobby: Lobby) -> None:
    await lobby.define("pairs", min_team_size=2)
    leader, mate = await lobby.players("leader", "mate")
    ticket = await party(lobby, leader, mate)
    await lobby.leave(leader)
    ended = await lobby.leave(mate)
    assert (ended.state, ended.reason) == (pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_CANCELLED_BY_PLAYER)
    again = await lobby.leave(mate, ticket.ticket_id)
    assert again.state == pb.TICKET_STATE_CANCELLED
    assert (await lobby.enqueue(mate, "pairs")).ticket_id != ticket.ticket_id


async def test_leaving_a_proposed_match_declines_it(lobby: Lobby) -> None:
    await lobby.define("pairs", min_team_size=2, acceptance_seconds=30)
    leader, mate, ada, bob = await lobby.players("leader", "mate", "ada", "bob")
    ticket = await party(lobby, leader, mate)
    alone = [await lobby.enqueue(who, "pairs") for who in (ada, bob)]
    await lobby.until(mate, ticket.ticket_id, lambda one: one.state == pb.TICKET_STATE_PROPOSED)
    left = await lobby.leave(mate)
    assert (left.state, left.reason) == (pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_DECLINED)
    back = await lobby.until(ada, alone[0].ticket_id, lambda one: one.state == pb.TICKET_STATE_QUEUED)
    assert back.reason == pb.TICKET_REASON_OTHERS_DECLINED
    refused = lobby.calls.Enqueue(lobby.request("pairs"), metadata=mate.metadata, timeout=WITHIN)
    assert await reason_of(refused) is Reason.PENALISED


async def test_nobody_leaves_the_ticket_of_others(lobby: Lobby) -> None:
    await lobby.define("pairs", min_team_size=2)
    leader, mate, eve = await lobby.players("leader", "mate", "eve")
    ticket = await party(lobby, leader, mate)
    request = pb.LeaveTicketRequest(game_id=lobby.game_id, ticket_id=ticket.ticket_id)
    assert (
        await reason_of(lobby.calls.LeaveTicket(request, metadata=eve.metadata, timeout=WITHIN))
        is Reason.TICKET_NOT_FOUND
    )
    assert len((await lobby.read(leader)).players) == 2


async def test_whoever_has_left_is_in_no_match_whenever_it_is_made(lobby: Lobby) -> None:
    """Leaving meets the leader's claim at every moment: both are one step in Redis, and one of them is first."""
    await lobby.define("trios", min_teams=2, min_team_size=1, max_team_size=2)

    async def round_of(number: int) -> None:
        leader, mate, rival = await lobby.players(f"leader{number}", f"mate{number}", f"rival{number}")
        ticket = await party(lobby, leader, mate, queue="trios")

        async def leave() -> Any:
            await asyncio.sleep(number * 0.01)
            try:
                return await lobby.leave(mate, ticket.ticket_id)
            except grpc.aio.AioRpcError:
                return None

        await lobby.enqueue(rival, "trios")
        left = await leave()
        if left is None or left.reason != pb.TICKET_REASON_LEFT:
            return
        over = await lobby.over(leader, ticket.ticket_id)
        assert over.state == pb.TICKET_STATE_MATCHED
        assert mate.user_id not in {player.user_id for player in over.match.players}

    for number in range(12):
        await round_of(number)
