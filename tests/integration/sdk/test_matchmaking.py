"""Tickets of the SDK, and the examples of the how-to, over the real services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from tests.integration.conftest import StartServices
from tests.integration.sdk.stage import Stage, register
from tests.integration.sdk.test_readme import README, run

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "play-a-match.md"
WITHIN = 15.0


@dataclass
class Hall(Stage):
    """A stage with more players, all logged in."""

    others: tuple[oofgg.Client, ...]

    @property
    def users(self) -> list[str]:
        return [client.login_info.user_id for client in self.players if client.login_info]

    @property
    def players(self) -> list[oofgg.Client]:
        return [self.ada, self.bob, *self.others]


@pytest.fixture
async def hall(start_services: StartServices, random_name: Callable[[str], str]) -> AsyncIterator[Hall]:
    services = await start_services(["auth", "catalog", "game", "scoring", "matchmaking"])
    target = services.settings.grpc_address
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        studio = await stack.enter_async_context(oofgg.Client(target))
        await register(studio, random_name("studio"))
        await studio.become_developer()
        game = await studio.games.create("Duel", settings=oofgg.GameSettings(max_seats=8))
        studio.game = game.game_id
        players = []
        for name in ("ada", "bob", "cyd", "dee"):
            client = await stack.enter_async_context(oofgg.Client(target, game=game.game_id))
            await register(client, random_name(name))
            players.append(client)
        yield Hall(services, studio, game, players[0], players[1], tuple(players[2:]))


@pytest.fixture
def examples() -> dict[str, Any]:
    return run(HOW_TO)


async def matches(*tickets: oofgg.Ticket) -> list[oofgg.FoundMatch]:
    return await asyncio.gather(*(ticket.matched(WITHIN) for ticket in tickets))


async def test_two_players_meet_and_play(hall: Hall, examples: dict[str, Any]) -> None:
    await examples["open_queues"](hall.studio)
    said = await asyncio.gather(*(examples["duel"](client) for client in (hall.ada, hall.bob)))
    assert said == ["hello", "hello"]


async def test_queues_are_defined_changed_and_deleted(hall: Hall) -> None:
    queues = hall.studio.queues
    rules = [
        oofgg.EqualRule("mode"),
        oofgg.OverlapRule("maps", name="maps in common"),
        oofgg.DistanceRule("level", 3, expansions=[oofgg.Expansion(10, 5), oofgg.Expansion(30, drop=True)]),
        oofgg.SkillRule(100),
        oofgg.RegionRule(80),
    ]
    wanted = oofgg.Queue(
        "fives",
        description="five against five",
        min_team_size=2,
        roles=[oofgg.QueueRole("tank"), oofgg.QueueRole("healer")],
        rules=rules,
        balance=oofgg.QueueBalance.SKILL,
        max_wait_seconds=60,
        session=oofgg.QueueSession(label="5v5", attributes={"map": "ice"}, flush_window_ms=0, max_spectators=3),
    )
    made = await queues.create(wanted)
    assert (made.version, made.min_teams, made.max_team_size) == (1, 2, 2)
    assert made.create_time is not None
    assert [type(rule) for rule in made.rules] == [type(rule) for rule in rules]
    assert made.rules[2].expansions == (oofgg.Expansion(10, 5), oofgg.Expansion(30, 0, drop=True))
    assert made.session == wanted.session
    assert await queues.get("fives") == made == await hall.ada.queues.get("fives")
    with pytest.raises(errors.AlreadyExists):
        await queues.create(wanted)
    changed = await queues.update(replace(made, rules=(), backfill=True), expected_version=made.version)
    assert (changed.version, changed.rules, changed.backfill) == (2, (), True)
    with pytest.raises(errors.Aborted):
        await queues.update(made, expected_version=1)
    with pytest.raises(errors.PermissionDenied):
        await hall.ada.queues.delete("fives")
    await hall.ada.enqueue("fives", roles=["tank"])
    assert (await queues.stats("fives")).median_wait is None
    await queues.create(oofgg.Queue("duel"))
    assert [queue.name async for queue in queues.list()] == ["duel", "fives"]
    await queues.delete("fives")
    with pytest.raises(errors.NotFound):
        await queues.get("fives")


async def test_a_party_stays_together(hall: Hall, examples: dict[str, Any]) -> None:
    await examples["open_queues"](hall.studio)
    ours, theirs = await examples["as_a_party"](hall.ada, hall.bob)
    assert ours.ticket_id == theirs.ticket_id
    assert [player.user_id for player in ours.status.players] == hall.users[:2]
    alone = [await client.enqueue("doubles") for client in hall.others]
    found = await matches(ours, theirs, *alone)
    assert len({match.session_id for match in found}) == 1
    ada, bob = (found[0].player(user_id) for user_id in hall.users[:2])
    assert ada is not None
    assert bob is not None
    assert ada.team == bob.team
    assert {team: len(players) for team, players in found[0].teams.items()} == {1: 2, 2: 2}
    async with hall.bob.play(found[1]) as session:
        assert session.seats[session.seat].team == bob.team


async def test_a_member_changes_plans_and_the_other_waits_on(hall: Hall, examples: dict[str, Any]) -> None:
    await examples["open_queues"](hall.studio)
    ours, theirs = await examples["as_a_party"](hall.ada, hall.bob)
    elsewhere = await examples["changes_plans"](hall.bob, theirs)
    assert (theirs.state, theirs.status.reason) == (oofgg.TicketState.CANCELLED, oofgg.TicketReason.LEFT)
    assert elsewhere.state is oofgg.TicketState.QUEUED
    async with asyncio.timeout(WITHIN):
        while len(ours.status.players) == 2:
            await anext(ours)
    assert ours.state is oofgg.TicketState.QUEUED
    assert [player.user_id for player in ours.status.players] == hall.users[:1]


async def test_a_match_is_accepted_or_declined(hall: Hall, examples: dict[str, Any]) -> None:
    await examples["open_queues"](hall.studio)
    found = await asyncio.gather(*(examples["ranked"](client, True) for client in (hall.ada, hall.bob)))
    assert found[0].session_id == found[1].session_id

    third, fourth = hall.others
    patient = await third.enqueue("ranked")
    reason = examples["ranked"](fourth, False)

    async def accepts() -> None:
        async for status in patient:
            if status.state is oofgg.TicketState.PROPOSED:
                await patient.accept()
            if status.reason is oofgg.TicketReason.OTHERS_DECLINED:
                return

    assert (await asyncio.gather(reason, accepts()))[0] is oofgg.TicketReason.DECLINED
    with pytest.raises(errors.ResourceExhausted) as penalised:
        await fourth.enqueue("ranked")
    assert penalised.value.reason is oofgg.Reason.PENALISED
    assert (penalised.value.retry_after or 0) > 20
    assert patient.state is oofgg.TicketState.QUEUED
    await patient.cancel()


async def test_the_waiting_screen(hall: Hall, examples: dict[str, Any]) -> None:
    await examples["open_queues"](hall.studio)
    ticket = await hall.ada.enqueue("duel", {"mode": "blitz"})
    shown = asyncio.create_task(examples["show"](ticket))
    other = await hall.bob.enqueue("duel", {"mode": "slow"})
    while not ticket.status.exclusions:
        await asyncio.sleep(0.05)
    assert {each.rule for each in ticket.status.exclusions} == {"equal mode"}
    await other.cancel()
    assert (await ticket.cancel()).reason is oofgg.TicketReason.CANCELLED_BY_PLAYER
    lines = await shown
    assert lines[0].startswith("waiting")
    assert any("keeps 1 away" in line for line in lines), lines
    assert lines[-1] == "cancelled"


async def test_another_device_is_told_which_ticket_there_is_and_can_take_it_up(
    hall: Hall, examples: dict[str, Any]
) -> None:
    await examples["open_queues"](hall.studio)
    ticket = await hall.ada.enqueue("duel", request_id="phone")
    with pytest.raises(errors.FailedPrecondition) as active:
        await hall.ada.enqueue("duel")
    assert active.value.reason is oofgg.Reason.TICKET_ACTIVE
    assert active.value.metadata["ticket_id"] == ticket.ticket_id
    assert (await hall.ada.enqueue("duel", request_id="phone")).ticket_id == ticket.ticket_id
    again = await examples["take_up"](hall.ada, "duel")
    assert again.ticket_id == ticket.ticket_id
    await again.cancel()
    with pytest.raises(errors.TicketError):
        await ticket.matched(WITHIN)
    assert await hall.ada.ticket() is None
    assert (await examples["take_up"](hall.ada, "duel")).ticket_id != ticket.ticket_id


async def test_a_match_is_taken_up_while_it_can_be_played(hall: Hall, examples: dict[str, Any]) -> None:
    await examples["open_queues"](hall.studio)
    found = await matches(*[await client.enqueue("duel") for client in (hall.ada, hall.bob)])
    again = await hall.ada.ticket()
    assert again is not None
    assert await again.matched(WITHIN) == found[0]
    await hall.ada.sessions.leave(found[0].session_id)
    assert await hall.ada.ticket() is None
    assert await hall.bob.ticket() is not None
    key = await hall.studio.games.create_api_key("server", game_id=hall.game.game_id)
    async with oofgg.Client(hall.target, api_key=key.api_key) as server:
        await server.sessions.close(found[0].session_id)
    assert await hall.bob.ticket() is None
    cancelled = await hall.bob.enqueue("duel")
    await cancelled.cancel()
    assert await hall.bob.ticket() is None


async def test_free_seats_are_found_by_who_wants_to_play_at_once(hall: Hall, examples: dict[str, Any]) -> None:
    await examples["open_queues"](hall.studio)
    mode = {"mode": "blitz"}
    found = await matches(*[await client.enqueue("duel", mode) for client in (hall.ada, hall.bob)])
    creator = await hall.ada.sessions.get(found[0].session_id)
    clients = [hall.ada, hall.bob]
    if creator.creator_user_id != hall.users[0]:
        clients.reverse()
    stays, leaves = clients
    async with stays.play(found[0]) as session:
        left = session.info.seats[next(seat for seat in session.seats if seat != session.seat)].team
        await leaves.sessions.leave(found[0].session_id)
        await examples["replace_who_left"](session, stays, left)
        ticket = await examples["any_game"](hall.others[0])
        match = await ticket.matched(WITHIN)
        assert match.session_id == found[0].session_id
        async with hall.others[0].play(match) as late:
            assert late.seats[late.seat].team == left


async def test_a_game_loop(hall: Hall, examples: dict[str, Any], random_name: Callable[[str], str]) -> None:
    await examples["open_queues"](hall.studio)
    names = [random_name("left"), random_name("right")]

    def play(name: str) -> str:
        with oofgg.sync.Client(hall.target, game=hall.game.game_id) as client:
            client.register(name, f"{name}@example.org", "correct horse")
            ticket = client.enqueue("duel")
            while (found := examples["frame"](ticket)) is None:
                time.sleep(0.01)
            with client.play(ticket.matched()) as session:
                assert session.session_id == found
            return str(found)

    found = await asyncio.gather(*(asyncio.to_thread(play, name) for name in names))
    assert found[0] == found[1]


async def test_a_server_enters_players(hall: Hall) -> None:
    await hall.studio.queues.create(oofgg.Queue("duel"))
    key = await hall.studio.games.create_api_key("server", game_id=hall.game.game_id)
    async with oofgg.Client(hall.target, api_key=key.api_key) as server:
        tickets = [
            await server.enqueue("duel", players=[oofgg.TicketPlayer(user_id, f"player {number}")])
            for number, user_id in enumerate(hall.users[:2])
        ]
        found = await matches(*tickets)
    assert found[0] == found[1]
    async with hall.ada.play(found[0]) as session:
        assert sorted(seat.username for seat in session.seats.values()) == ["player 0", "player 1"]


async def test_the_example_of_the_readme(hall: Hall, capsys: pytest.CaptureFixture[str]) -> None:
    await hall.studio.queues.create(oofgg.Queue("duel", acceptance_seconds=10))
    duel = run(README)["duel"]
    async with asyncio.timeout(WITHIN):
        found = await asyncio.gather(*(duel(client) for client in (hall.ada, hall.bob)))
    assert found[0] == found[1]
    said = capsys.readouterr().out.splitlines()
    assert "proposed []" in said
    assert said[-1] == "matched []"
