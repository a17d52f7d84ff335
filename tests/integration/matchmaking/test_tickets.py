"""Tickets over real backends: entering, matching, leaving."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import pytest

from oofgg.v1 import auth_pb2, session_pb2
from oofgg.v1 import matchmaking_pb2 as pb
from pkg.errors import Reason
from pkg.rpc.status import from_rpc_error
from pkg.testing.clock import SteppedClock
from tests.integration.calls import bearer, eventually, reason_of, register
from tests.integration.conftest import StartServices
from tests.integration.game.players import WITHIN
from tests.integration.matchmaking.lobby import ALL, Lobby, attributes, teams


@pytest.fixture
def clock() -> SteppedClock:
    """The clock of the services."""
    return SteppedClock()


@pytest.fixture
async def lobby(start_services: StartServices, clock: SteppedClock) -> Lobby:
    return await Lobby.build(await start_services(ALL, clock=clock))


async def test_two_players_meet_in_a_session_with_seats_for_both(lobby: Lobby) -> None:
    await lobby.define(session=pb.QueueSession(label="ranked", attributes={"map": "north"}))
    ada, bob = await lobby.players("ada", "bob")
    first = await lobby.enqueue(ada)
    assert (first.state, list(first.queues)) == (pb.TICKET_STATE_QUEUED, ["duel"])
    second = await lobby.enqueue(bob)
    tickets = await asyncio.gather(lobby.over(ada, first.ticket_id), lobby.over(bob, second.ticket_id))
    assert {ticket.state for ticket in tickets} == {pb.TICKET_STATE_MATCHED}
    assert tickets[0].match == tickets[1].match
    match = tickets[0].match
    assert sorted(teams(tickets[0])) == sorted([[ada.user_id], [bob.user_id]])
    assert match.placement.node
    session = await lobby.arena.read(ada.metadata, match.session_id)
    assert session.state == session_pb2.SESSION_STATE_STARTED
    assert (session.queue, session.label, dict(session.attributes)) == ("duel", "ranked", {"map": "north"})
    assert {seat.user_id: seat.team for seat in session.seats} == {
        player.user_id: player.team for player in match.players
    }


async def test_a_stream_enters_tells_of_the_match_and_ends(lobby: Lobby) -> None:
    await lobby.define()
    ada, bob = await lobby.players("ada", "bob")

    async def play(who: Any) -> list[int]:
        async with asyncio.timeout(WITHIN), lobby.watching(who, enqueue=lobby.request()) as states:
            return [ticket.state async for ticket in states]

    told = await asyncio.gather(play(ada), play(bob))
    assert all(states[0] == pb.TICKET_STATE_QUEUED and states[-1] == pb.TICKET_STATE_MATCHED for states in told)


async def test_a_player_has_one_ticket_and_the_error_names_it(lobby: Lobby) -> None:
    await lobby.define()
    (ada,) = await lobby.players("ada")
    ticket = await lobby.enqueue(ada, request_id="phone")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await lobby.enqueue(ada, request_id="tablet")
    error = from_rpc_error(caught.value)
    assert (error.reason, error.metadata["ticket_id"]) == (Reason.TICKET_ACTIVE, ticket.ticket_id)
    assert (await lobby.enqueue(ada, request_id="phone")).ticket_id == ticket.ticket_id
    assert (await lobby.read(ada)).ticket_id == ticket.ticket_id
    await lobby.cancel(ada)
    assert (await lobby.enqueue(ada, request_id="tablet")).ticket_id != ticket.ticket_id


async def test_a_cancelled_ticket_is_not_matched(lobby: Lobby) -> None:
    await lobby.define()
    ada, bob, eve = await lobby.players("ada", "bob", "eve")
    gone = await lobby.enqueue(ada)
    cancelled = await lobby.cancel(ada, gone.ticket_id)
    assert (cancelled.state, cancelled.reason) == (
        pb.TICKET_STATE_CANCELLED,
        pb.TICKET_REASON_CANCELLED_BY_PLAYER,
    )
    assert (await lobby.cancel(ada, gone.ticket_id)).state == pb.TICKET_STATE_CANCELLED
    waiting = await lobby.enqueue(bob)
    await lobby.enqueue(eve)
    matched = await lobby.over(bob, waiting.ticket_id)
    assert sorted(teams(matched)) == sorted([[bob.user_id], [eve.user_id]])


async def test_a_ticket_in_two_queues_has_one_winner(lobby: Lobby) -> None:
    await lobby.define("duel")
    await lobby.define("trio", min_teams=3)
    ada, bob = await lobby.players("ada", "bob")
    both = await lobby.enqueue(ada, "trio", "duel")
    await lobby.enqueue(bob, "duel")
    assert (await lobby.over(ada, both.ticket_id)).match.queue == "duel"
    # It has left the other queue, too.
    eve, kim = await lobby.players("eve", "kim")
    late = await lobby.enqueue(eve, "trio")
    await lobby.enqueue(kim, "trio")
    await asyncio.sleep(0.6)
    assert (await lobby.read(eve, late.ticket_id)).state == pb.TICKET_STATE_QUEUED


async def test_rules_keep_apart_and_say_whom(lobby: Lobby) -> None:
    await lobby.define(
        rules=[
            pb.QueueRule(equal=pb.EqualRule(attribute="mode")),
            pb.QueueRule(name="level", distance=pb.DistanceRule(attribute="level", limit=5)),
        ]
    )
    ada, bob, eve = await lobby.players("ada", "bob", "eve")
    first = await lobby.enqueue(ada, attributes=attributes(mode="ctf", level=10))
    await lobby.enqueue(bob, attributes=attributes(mode="ctf", level=20))
    told = await lobby.until(ada, first.ticket_id, lambda ticket: len(ticket.exclusions) > 0)
    assert {each.rule: each.tickets for each in told.exclusions} == {"level": 1}
    assert told.state == pb.TICKET_STATE_QUEUED
    await lobby.enqueue(eve, attributes=attributes(mode="ctf", level=12))
    matched = await lobby.over(ada, first.ticket_id)
    assert sorted(teams(matched)) == sorted([[ada.user_id], [eve.user_id]])


async def test_a_party_comes_along_from_its_lobby_and_stays_together(lobby: Lobby) -> None:
    await lobby.define("pairs", min_team_size=2)
    leader, mate, ada, bob = await lobby.players("leader", "mate", "ada", "bob")
    session = await lobby.arena.create(leader.metadata, min_seats=2, max_seats=4)
    for who in (leader, mate):
        await lobby.arena.join(who.metadata, session.session_id)
    assert (
        await reason_of(
            lobby.calls.Enqueue(
                lobby.request("pairs", party_session_id=session.session_id), metadata=mate.metadata, timeout=WITHIN
            )
        )
        is Reason.NOT_OWNER
    )
    ticket = await lobby.enqueue(leader, "pairs", party_session_id=session.session_id)
    assert {player.user_id for player in ticket.players} == {leader.user_id, mate.user_id}
    assert (await lobby.read(mate)).ticket_id == ticket.ticket_id
    await lobby.enqueue(ada, "pairs")
    await lobby.enqueue(bob, "pairs")
    matched = await lobby.over(mate, ticket.ticket_id)
    assert sorted([leader.user_id, mate.user_id]) in teams(matched)


async def test_a_server_speaks_for_players_and_players_only_for_themselves(lobby: Lobby) -> None:
    await lobby.define()
    ada, bob = await lobby.players("ada", "bob")
    players = [pb.TicketPlayer(user_id=ada.user_id, username="ada")]
    server = await lobby.arena.server()
    ticket = (await lobby.calls.Enqueue(lobby.request(players=players), metadata=server, timeout=WITHIN)).ticket
    assert [player.user_id for player in ticket.players] == [ada.user_id]
    assert (await lobby.read(ada)).ticket_id == ticket.ticket_id
    refused = lobby.calls.Enqueue(lobby.request(players=players), metadata=bob.metadata, timeout=WITHIN)
    assert await reason_of(refused) is Reason.INVALID_FIELD
    stranger = lobby.calls.GetTicket(
        pb.GetTicketRequest(game_id=lobby.game_id, ticket_id=ticket.ticket_id), metadata=bob.metadata, timeout=WITHIN
    )
    assert await reason_of(stranger) is Reason.TICKET_NOT_FOUND


async def test_all_who_accept_play(lobby: Lobby) -> None:
    await lobby.define(acceptance_seconds=20)
    ada, bob = await lobby.players("ada", "bob")
    first, second = await lobby.enqueue(ada), await lobby.enqueue(bob)
    proposed = await lobby.until(ada, first.ticket_id, lambda ticket: ticket.state == pb.TICKET_STATE_PROPOSED)
    assert (proposed.accepted_players, proposed.proposed_players) == (0, 2)
    assert proposed.HasField("answer_deadline_time")
    assert (await lobby.answer(ada, True)).state == pb.TICKET_STATE_ACCEPTED
    assert (await lobby.read(bob)).accepted_players == 1
    await lobby.answer(bob, True)
    for who, ticket in ((ada, first), (bob, second)):
        assert (await lobby.over(who, ticket.ticket_id)).state == pb.TICKET_STATE_MATCHED


async def test_who_declines_waits_and_the_other_keeps_its_place(lobby: Lobby) -> None:
    await lobby.define(acceptance_seconds=20)
    ada, bob, eve = await lobby.players("ada", "bob", "eve")
    first, second = await lobby.enqueue(ada), await lobby.enqueue(bob)
    await lobby.until(ada, first.ticket_id, lambda ticket: ticket.state == pb.TICKET_STATE_PROPOSED)
    declined = await lobby.answer(bob, False)
    assert (declined.state, declined.reason) == (pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_DECLINED)
    back = await lobby.read(ada, first.ticket_id)
    assert (back.state, back.reason) == (pb.TICKET_STATE_QUEUED, pb.TICKET_REASON_OTHERS_DECLINED)
    assert back.create_time == first.create_time
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await lobby.enqueue(bob)
    error = from_rpc_error(caught.value)
    assert error.reason is Reason.PENALISED
    assert error.retry_after is not None
    assert 25 < error.retry_after <= 30
    assert (await lobby.read(bob, second.ticket_id)).state == pb.TICKET_STATE_CANCELLED
    await lobby.enqueue(eve)
    await lobby.until(ada, first.ticket_id, lambda ticket: ticket.state == pb.TICKET_STATE_PROPOSED)


async def test_who_does_not_answer_in_time_is_out(lobby: Lobby) -> None:
    await lobby.define(acceptance_seconds=1)
    ada, bob = await lobby.players("ada", "bob")
    first, second = await lobby.enqueue(ada), await lobby.enqueue(bob)
    await lobby.until(ada, first.ticket_id, lambda ticket: ticket.state == pb.TICKET_STATE_PROPOSED)
    await lobby.answer(ada, True)
    late = await lobby.over(bob, second.ticket_id)
    assert (late.state, late.reason) == (pb.TICKET_STATE_CANCELLED, pb.TICKET_REASON_NOT_ANSWERED)
    assert (await lobby.read(ada, first.ticket_id)).state == pb.TICKET_STATE_QUEUED


async def test_a_logout_ends_the_stream_at_once(lobby: Lobby) -> None:
    await lobby.define()
    (ada,) = await lobby.players("ada")
    async with lobby.watching(ada, enqueue=lobby.request()) as states:
        await anext(states)
        await lobby.arena.auth.Logout(auth_pb2.LogoutRequest(), metadata=ada.metadata, timeout=WITHIN)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(_to_the_end(states), 2)
    assert from_rpc_error(caught.value).reason is Reason.TOKEN_REVOKED


async def _to_the_end(states: AsyncIterator[pb.Ticket]) -> None:
    async for _ in states:
        pass


async def test_a_ticket_expires_after_its_longest_wait(lobby: Lobby) -> None:
    await lobby.define(max_wait_seconds=1)
    (ada,) = await lobby.players("ada")
    ticket = await lobby.enqueue(ada)
    over = await lobby.over(ada, ticket.ticket_id)
    assert (over.state, over.reason) == (pb.TICKET_STATE_EXPIRED, pb.TICKET_REASON_WAITED_TOO_LONG)


async def test_a_match_begins_with_bots_when_nobody_else_comes(lobby: Lobby) -> None:
    await lobby.define(bots_after_seconds=1)
    (ada,) = await lobby.players("ada")
    ticket = await lobby.enqueue(ada)
    over = await lobby.over(ada, ticket.ticket_id)
    assert (over.state, over.match.bots, dict(over.match.attributes)) == (pb.TICKET_STATE_MATCHED, 1, {"bots": "1"})
    session = await lobby.arena.read(ada.metadata, over.match.session_id)
    assert (session.attributes["bots"], session.max_seats) == ("1", 2)


async def test_a_changed_queue_counts_for_those_who_wait(lobby: Lobby) -> None:
    queue = await lobby.define(min_teams=4)
    ada, bob = await lobby.players("ada", "bob")
    ticket = await lobby.enqueue(ada)
    await lobby.enqueue(bob)
    await asyncio.sleep(0.5)
    assert (await lobby.read(ada, ticket.ticket_id)).state == pb.TICKET_STATE_QUEUED
    queue.min_teams = queue.max_teams = 2
    request = pb.UpdateQueueRequest(game_id=lobby.game_id, queue=queue, expected_version=1)
    changed = (await lobby.calls.UpdateQueue(request, metadata=lobby.arena.console, timeout=WITHIN)).queue
    assert changed.version == 2
    assert (await lobby.over(ada, ticket.ticket_id)).state == pb.TICKET_STATE_MATCHED
    stale = lobby.calls.UpdateQueue(request, metadata=lobby.arena.console, timeout=WITHIN)
    assert await reason_of(stale) is Reason.CONFLICT


async def test_a_deleted_queue_lets_its_tickets_go(lobby: Lobby) -> None:
    await lobby.define()
    (ada,) = await lobby.players("ada")
    ticket = await lobby.enqueue(ada)
    request = pb.DeleteQueueRequest(game_id=lobby.game_id, queue="duel")
    await lobby.calls.DeleteQueue(request, metadata=lobby.arena.console, timeout=WITHIN)
    over = await lobby.over(ada, ticket.ticket_id)
    assert (over.state, over.reason) == (pb.TICKET_STATE_FAILED, pb.TICKET_REASON_QUEUE_DELETED)
    refused = lobby.calls.Enqueue(lobby.request(), metadata=ada.metadata, timeout=WITHIN)
    assert await reason_of(refused) is Reason.QUEUE_NOT_FOUND


async def test_a_refused_session_returns_the_tickets(lobby: Lobby, clock: SteppedClock) -> None:
    await lobby.define()
    ada, bob = await lobby.players("ada", "bob")
    registered = await register(lobby.arena.auth, "kim", game_id=lobby.game_id)
    kim = bearer(registered.access_token)
    # A game that may have one session, and has it.
    await _allow_one_session(lobby)
    clock.advance(5.5)  # what is known of a game is remembered for a moment
    await lobby.arena.create(kim)
    first = await lobby.enqueue(ada)
    await lobby.enqueue(bob)
    back = await lobby.until(ada, first.ticket_id, lambda ticket: ticket.reason == pb.TICKET_REASON_SESSION_FAILED)
    assert (back.state, back.create_time) == (pb.TICKET_STATE_QUEUED, first.create_time)


async def _allow_one_session(lobby: Lobby) -> None:
    connection = await asyncpg.connect(lobby.arena.running.settings.postgres_url, timeout=10)
    try:
        await connection.execute("update catalog.game set quota_sessions = 1 where game_id = $1", lobby.game_id)
    finally:
        await connection.close()


async def test_a_ticket_that_nobody_watches_expires(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.matchmaking.stores.tickets.UNWATCHED_MILLISECONDS", 1_000)
    await lobby.define()
    ada, bob = await lobby.players("ada", "bob")
    ticket = await lobby.enqueue(ada)

    async def gone() -> bool:
        record = await lobby.arena.running.host.redis.hget(f"{{mm:{lobby.game_id}}}:t:{ticket.ticket_id}", "s")
        return record == b"6"

    await eventually(gone)
    over = await lobby.read(ada, ticket.ticket_id)
    assert (over.state, over.reason) == (pb.TICKET_STATE_EXPIRED, pb.TICKET_REASON_ABANDONED)
    assert (await lobby.enqueue(bob)).state == pb.TICKET_STATE_QUEUED


async def test_what_redis_has_lost_is_entered_again_by_who_watches(
    lobby: Lobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.matchmaking.watching._RENEW_SECONDS", 0.3)
    await lobby.define()
    ada, bob = await lobby.players("ada", "bob")
    redis = lobby.arena.running.host.redis
    async with lobby.watching(ada, enqueue=lobby.request()) as states:
        first = await anext(states)
        await redis.delete(*[key async for key in redis.scan_iter(f"{{mm:{lobby.game_id}}}*")])
        await asyncio.sleep(1.5)
        await lobby.enqueue(bob)
        async with asyncio.timeout(WITHIN):
            async for ticket in states:
                last = ticket
    assert last.state == pb.TICKET_STATE_MATCHED
    assert (last.ticket_id, last.create_time) == (first.ticket_id, first.create_time)


async def test_a_request_id_that_was_used_for_another_queue_is_refused(lobby: Lobby) -> None:
    await lobby.define("duel")
    await lobby.define("ranked")
    (ada,) = await lobby.players("ada")
    ticket = await lobby.enqueue(ada, "duel", request_id="mine")
    other = lobby.calls.Enqueue(lobby.request("ranked", request_id="mine"), metadata=ada.metadata, timeout=WITHIN)
    assert await reason_of(other) is Reason.REQUEST_ID_REUSED
    assert (await lobby.enqueue(ada, "duel", request_id="mine")).ticket_id == ticket.ticket_id


async def test_quick_join_takes_a_free_seat_and_queues_where_there_is_none(lobby: Lobby) -> None:
    await lobby.define()
    host, hidden, ada, bob, eve = await lobby.players("host", "hidden", "ada", "bob", "eve")
    server = await lobby.arena.server()
    waiting = await lobby.arena.create(server, queue="duel", min_seats=3, max_seats=3)
    await lobby.arena.join(host.metadata, waiting.session_id)
    private = await lobby.arena.create(server, queue="duel", min_seats=2, max_seats=2, attributes={"private": "yes"})
    await lobby.arena.join(hidden.metadata, private.session_id)
    for who in (ada, bob):
        ticket = await lobby.enqueue(who, quick_join=True)
        assert (ticket.state, ticket.match.session_id) == (pb.TICKET_STATE_MATCHED, waiting.session_id)
    session = await lobby.arena.read(ada.metadata, waiting.session_id)
    assert {seat.user_id for seat in session.seats} == {host.user_id, ada.user_id, bob.user_id}
    assert session.state == session_pb2.SESSION_STATE_STARTED
    # The session is full now.
    late = await lobby.enqueue(eve, quick_join=True)
    assert late.state == pb.TICKET_STATE_QUEUED
    (kim,) = await lobby.players("kim")
    await lobby.enqueue(kim)
    assert (await lobby.over(eve, late.ticket_id)).state == pb.TICKET_STATE_MATCHED


async def test_quick_join_takes_no_seat_in_a_session_that_players_have_opened(lobby: Lobby) -> None:
    await lobby.define()
    await lobby.define("other")
    host, friend, stranger = await lobby.players("host", "friend", "stranger")
    private_duel = await lobby.arena.create(host.metadata, label="private duel", min_seats=2, max_seats=2)
    await lobby.arena.join(host.metadata, private_duel.session_id)
    server = await lobby.arena.server()
    await lobby.arena.create(server, queue="other", min_seats=2, max_seats=2)
    assert (await lobby.enqueue(stranger, quick_join=True)).state == pb.TICKET_STATE_QUEUED
    await lobby.arena.join(friend.metadata, private_duel.session_id)


async def test_a_session_gets_players_for_those_who_left(lobby: Lobby) -> None:
    await lobby.define("pairs", min_team_size=2, backfill=True)
    first = await lobby.players("ada", "bob", "eve", "kim")
    tickets = [await lobby.enqueue(who, "pairs") for who in first]
    match = (await lobby.over(first[0], tickets[0].ticket_id)).match
    gone = match.players[3]
    creator = next(who for who in first if who.user_id == match.players[0].user_id)
    leaver = next(who for who in first if who.user_id == gone.user_id)
    await lobby.arena.sessions.Leave(
        session_pb2.LeaveRequest(session_id=match.session_id), metadata=leaver.metadata, timeout=WITHIN
    )
    too_many = pb.RequestBackfillRequest(session_id=match.session_id, seats=[pb.BackfillSeats(team=gone.team, seats=2)])
    assert (
        await reason_of(lobby.calls.RequestBackfill(too_many, metadata=creator.metadata, timeout=WITHIN))
        is Reason.INVALID_FIELD
    )
    wanted = pb.RequestBackfillRequest(session_id=match.session_id, seats=[pb.BackfillSeats(team=gone.team, seats=1)])
    told = await lobby.calls.RequestBackfill(wanted, metadata=creator.metadata, timeout=WITHIN)
    assert told.seats == 1
    (new,) = await lobby.players("new")
    ticket = await lobby.enqueue(new, "pairs")
    filled = (await lobby.over(new, ticket.ticket_id)).match
    assert filled.session_id == match.session_id
    assert [player.team for player in filled.players if player.user_id == new.user_id] == [gone.team]
    session = await lobby.arena.read(creator.metadata, match.session_id)
    assert new.user_id in {seat.user_id for seat in session.seats}
    # The seat is taken: who comes next waits.
    (late,) = await lobby.players("late")
    after = await lobby.enqueue(late, "pairs")
    await asyncio.sleep(0.6)
    assert (await lobby.read(late, after.ticket_id)).state == pb.TICKET_STATE_QUEUED


async def test_what_a_leader_has_missed_it_reads_again(lobby: Lobby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.matchmaking.leading.leader._TIDY_SECONDS", 0.1)
    monkeypatch.setattr("services.matchmaking.leading.leader._QUIET_SECONDS", 0.2)
    await lobby.define()
    ada, bob = await lobby.players("ada", "bob")
    ticket = await lobby.enqueue(ada)
    await asyncio.sleep(0.5)
    host = lobby.arena.running.host
    # The leader believes that the ticket has left.
    await host.redis.xadd(f"{{mm:{lobby.game_id}}}:f:duel", {"o": "-", "t": ticket.ticket_id})
    await host.redis.publish(f"mm:node:{host.incarnation}", f"f {lobby.game_id} duel")
    await lobby.enqueue(bob)
    assert (await lobby.over(ada, ticket.ticket_id)).state == pb.TICKET_STATE_MATCHED
