"""Tickets of the blocking SDK against a platform that fails on command. Games run in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

import grpc
import pytest

import oofgg
import oofgg.sync
from oofgg import errors
from oofgg.v1 import matchmaking_pb2
from tests.integration.sdk.games import frames
from tests.integration.sdk.script import Platform, StreamScript, finished
from tests.integration.sdk.ticket_script import PROPOSED, QUEUED, TICKET, Matchmaking, WatchScript

pytestmark = pytest.mark.usefixtures("nothing_remains")

_T = TypeVar("_T")


async def waits(stream: WatchScript) -> None:
    await stream.tell(QUEUED)
    await stream.stay()


def in_a_thread(platform: Platform, game: Callable[[oofgg.sync.Client], _T]) -> _T:
    with oofgg.sync.Client(platform.target, game="g1", timeout=5.0) as client:
        client.login("ada", "secret")
        return game(client)


async def test_a_game_polls_its_ticket_and_plays_its_match() -> None:
    async def is_matched(stream: WatchScript) -> None:
        await stream.tell(QUEUED)
        await stream.tell(PROPOSED)
        await accepted.wait()
        await stream.match()

    async def played(stream: StreamScript) -> None:
        await stream.accept()
        await stream.tell(finished(1), flush=1)

    accepted = asyncio.Event()
    loop = asyncio.get_running_loop()
    matchmaking = Matchmaking()
    matchmaking.scripts = [is_matched]

    def game(client: oofgg.sync.Client) -> list[str]:
        assert client.ticket() is None
        ticket = client.enqueue("duel", {"mmr": 1200})
        seen: list[str] = []
        for _ in frames():
            for status in ticket.poll():
                seen.append(status.state.name)
                if status.state is oofgg.TicketState.PROPOSED:
                    ticket.accept()
                    loop.call_soon_threadsafe(accepted.set)
            if ticket.state.over:
                break
        with client.play(ticket.matched(timeout=5)) as session:
            assert [type(event) for event in session] == [oofgg.StateChange]
        return seen

    async with Platform((matchmaking_pb2, matchmaking)).serve() as platform:
        platform.sessions.scripts = [played]
        seen = await asyncio.to_thread(in_a_thread, platform, game)
    assert seen == ["QUEUED", "PROPOSED", "ACCEPTED", "MATCHED"]
    assert matchmaking.answers == [True]
    assert not platform.sessions.join_nodes


async def test_iterating_leaving_and_failing() -> None:
    async def breaks(stream: WatchScript) -> None:
        await stream.tell(QUEUED)
        await stream.refuse(grpc.StatusCode.PERMISSION_DENIED, "WRONG_GAME")

    matchmaking = Matchmaking()
    matchmaking.scripts = [waits]

    def game(client: oofgg.sync.Client) -> None:
        with client.enqueue("duel") as ticket:
            assert next(ticket).state is oofgg.TicketState.QUEUED
            with pytest.raises(errors.DeadlineExceeded):
                ticket.matched(timeout=0.1)
        assert [status.state for status in ticket] == [oofgg.TicketState.CANCELLED]
        assert ticket.poll() == []
        with pytest.raises(errors.TicketError):
            ticket.matched()
        matchmaking.scripts = [breaks]
        broken = client.enqueue("duel")
        with pytest.raises(errors.PermissionDenied):
            all(broken.poll() is not None for _ in frames())

    async with Platform((matchmaking_pb2, matchmaking)).serve() as platform:
        await asyncio.to_thread(in_a_thread, platform, game)
    assert matchmaking.cancelled[:1] == [TICKET]


async def test_a_client_that_closes_leaves_and_tells_who_waits() -> None:
    matchmaking = Matchmaking()
    matchmaking.scripts = [waits]

    def game(client: oofgg.sync.Client) -> None:
        ticket = client.enqueue("duel")
        closing = threading.Timer(0.2, client.close)
        closing.start()
        with pytest.raises(errors.Cancelled):
            ticket.matched()
        closing.join()

    async with Platform((matchmaking_pb2, matchmaking)).serve() as platform:
        await asyncio.to_thread(in_a_thread, platform, game)
    assert matchmaking.cancelled == [TICKET]
