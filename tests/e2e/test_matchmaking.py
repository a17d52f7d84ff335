"""Finding a match through Envoy: with the SDK and its blocking twin, over connections that break."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from tests.chaos.proxy import Proxy
from tests.e2e.callers import PASSWORD
from tests.e2e.test_docs import python_of

PAGE = "docs/how-to/play-a-match.md"
WITHIN = 20.0


@dataclass
class Hall:
    """A game with queues, its developer, and where it is."""

    envoy: str
    game_id: str
    studio: oofgg.Client
    stack: AsyncExitStack

    async def player(self, target: str = "") -> oofgg.Client:
        client = await self.stack.enter_async_context(oofgg.Client(target or self.envoy, game=self.game_id))
        name = f"player-{os.urandom(4).hex()}"
        await client.register(name, f"{name}@example.org", PASSWORD)
        return client


@pytest.fixture
async def hall(envoy: str) -> AsyncIterator[Hall]:
    name = f"studio-{os.urandom(3).hex()}"
    async with AsyncExitStack() as stack:
        studio = await stack.enter_async_context(oofgg.Client(envoy))
        await studio.register(name, f"{name}@example.org", PASSWORD)
        await studio.become_developer()
        game = await studio.games.create("Hall", settings=oofgg.GameSettings(max_seats=8))
        studio.game = game.game_id
        await python_of(PAGE)["open_queues"](studio)
        yield Hall(envoy, game.game_id, studio, stack)


def user_of(client: oofgg.Client) -> str:
    assert client.login_info is not None
    return client.login_info.user_id


async def test_a_duel_is_found_played_and_rated(hall: Hall) -> None:
    ada, bob = await hall.player(), await hall.player()
    tickets = [await client.enqueue("duel", {"mode": "blitz"}) for client in (ada, bob)]
    found = await asyncio.gather(*(ticket.matched(WITHIN) for ticket in tickets))
    assert found[0] == found[1]
    assert {player.user_id for player in found[0].players} == {user_of(ada), user_of(bob)}
    async with ada.play(found[0]) as mine, bob.play(found[1]) as theirs:
        assert mine.state is oofgg.SessionState.STARTED
        for session in (mine, theirs):
            await session.finish({mine.seat: 1, theirs.seat: 2})
        async for event in mine:
            if isinstance(event, oofgg.StateChange) and event.state.over:
                break
    assert (await ada.sessions.get(found[0].session_id)).queue == "duel"
    async with asyncio.timeout(WITHIN):
        while not (await ada.ratings.get([user_of(ada)], queue="duel"))[0].matches:
            await asyncio.sleep(0.1)


async def test_the_how_to(hall: Hall) -> None:
    page = python_of(PAGE)
    ada, bob, cyd = [await hall.player() for _ in range(3)]
    said = list(await asyncio.gather(page["duel"](ada), page["duel"](bob)))
    assert said == ["hello", "hello"]

    ours, theirs = await page["as_a_party"](ada, bob)
    assert ours.ticket_id == theirs.ticket_id
    assert {player.user_id for player in theirs.status.players} == {user_of(ada), user_of(bob)}
    await theirs.cancel()
    with pytest.raises(errors.TicketError) as left:
        await ours.matched(WITHIN)
    assert left.value.status.reason is oofgg.TicketReason.CANCELLED_BY_PLAYER

    answers = await asyncio.gather(page["ranked"](ada, True), page["ranked"](bob, True))
    assert answers[0] == answers[1]
    ticket = await page["take_up"](cyd, "duel")
    assert (await page["take_up"](cyd, "duel")).ticket_id == ticket.ticket_id


async def test_who_declines_waits_and_the_other_keeps_the_place(hall: Hall) -> None:
    ada, bob = await hall.player(), await hall.player()
    patient = await ada.enqueue("ranked")
    since = patient.status.create_time
    async with await bob.enqueue("ranked") as other:
        async for status in other:
            if status.state is oofgg.TicketState.PROPOSED:
                assert status.answer_deadline_time is not None
                await other.decline()
    async with asyncio.timeout(WITHIN):
        async for status in patient:
            if status.reason is oofgg.TicketReason.OTHERS_DECLINED:
                break
    assert (patient.state, patient.status.create_time) == (oofgg.TicketState.QUEUED, since)
    with pytest.raises(errors.ResourceExhausted) as penalised:
        await bob.enqueue("duel")
    assert penalised.value.reason is oofgg.Reason.PENALISED


async def test_a_ticket_that_was_cancelled_or_has_waited_too_long_is_over(hall: Hall) -> None:
    await hall.studio.queues.create(oofgg.Queue("short", max_wait_seconds=1))
    ada, bob = await hall.player(), await hall.player()
    ticket = await ada.enqueue("duel")
    assert (await ticket.cancel()).state is oofgg.TicketState.CANCELLED
    late = await bob.enqueue(["duel"])
    await late.cancel()
    expiring = await bob.enqueue("short")
    with pytest.raises(errors.TicketError) as expired:
        await expiring.matched(WITHIN)
    status = expired.value.status
    assert (status.state, status.reason) == (oofgg.TicketState.EXPIRED, oofgg.TicketReason.WAITED_TOO_LONG)


async def test_a_watch_survives_connections_that_break(hall: Hall) -> None:
    async with Proxy(hall.envoy) as proxy:
        ada, bob = await hall.player(proxy.address), await hall.player()
        ticket = await ada.enqueue("duel", {"mode": "blitz"})
        for _ in range(3):
            assert proxy.cut()
            await asyncio.sleep(0.3)
        other = await bob.enqueue("duel", {"mode": "blitz"})
        proxy.cut()
        found = await asyncio.gather(ticket.matched(WITHIN), other.matched(WITHIN))
        assert found[0] == found[1]
        async with ada.play(found[0]) as session:
            assert session.seats[session.seat].user_id == user_of(ada)


async def test_another_device_follows_and_cancels_it(hall: Hall) -> None:
    ada = await hall.player()
    account = await ada.account()
    async with oofgg.Client(hall.envoy, game=hall.game_id) as tablet:
        await tablet.login(account.username, PASSWORD)
        ticket = await ada.enqueue("duel")
        with pytest.raises(errors.FailedPrecondition) as active:
            await tablet.enqueue("duel")
        assert active.value.reason is oofgg.Reason.TICKET_ACTIVE
        assert active.value.metadata["ticket_id"] == ticket.ticket_id
        there = await tablet.ticket()
        assert there is not None
        await there.cancel()
        with pytest.raises(errors.TicketError):
            await ticket.matched(WITHIN)


async def test_a_game_loop_finds_a_party_and_others(hall: Hall) -> None:
    """The blocking twin: four players, two of them a party, in a queue of doubles."""
    ada, bob = await hall.player(), await hall.player()
    lobby = await ada.sessions.create(max_seats=2)
    for client in (ada, bob):
        await client.sessions.join(lobby)

    def alone() -> oofgg.FoundMatch:
        name = f"loop-{os.urandom(4).hex()}"
        with oofgg.sync.Client(hall.envoy, game=hall.game_id) as client:
            client.register(name, f"{name}@example.org", PASSWORD)
            with client.enqueue("doubles") as ticket:
                deadline = time.monotonic() + WITHIN
                while not ticket.state.over and time.monotonic() < deadline:
                    ticket.poll()
                    time.sleep(1 / 60)
                found = ticket.matched(timeout=1)
            with client.play(found) as session:
                assert session.state is oofgg.SessionState.STARTED
            return found

    party = await ada.enqueue("doubles", party=lobby)
    found, *others = await asyncio.gather(party.matched(WITHIN), *(asyncio.to_thread(alone) for _ in range(2)))
    assert [match.session_id for match in others] == [found.session_id] * 2
    teams = [{player.user_id for player in players} for players in found.teams.values()]
    assert {user_of(ada), user_of(bob)} in teams
    assert [len(team) for team in teams] == [2, 2]


async def test_json(hall: Hall) -> None:
    """Who polls instead of watching."""
    ada = await hall.player()
    header = dict(await ada.metadata())

    def ask(path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://{hall.envoy}/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"authorization": header["authorization"], "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    queued = await asyncio.to_thread(ask, "tickets", {"game_id": hall.game_id, "queues": ["duel"]})
    read = await asyncio.to_thread(ask, f"tickets/one?game_id={hall.game_id}")
    assert read["ticket"]["ticket_id"] == queued["ticket"]["ticket_id"]
    assert read["ticket"]["state"] == "TICKET_STATE_QUEUED"
    gone = await asyncio.to_thread(ask, "tickets/cancel", {"game_id": hall.game_id})
    assert gone["ticket"]["state"] == "TICKET_STATE_CANCELLED"
    names = await asyncio.to_thread(ask, f"queues?game_id={hall.game_id}")
    assert [queue["name"] for queue in names["queues"]] == ["doubles", "duel", "ranked"]
