"""Tickets of the SDK against a platform that fails on command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest

import oofgg
from oofgg import _follow, _reconnect, errors
from oofgg.v1 import matchmaking_pb2
from tests.integration.sdk.script import SESSION, Platform, StreamScript, finished
from tests.integration.sdk.ticket_script import (
    ACCEPTED,
    CANCELLED,
    EXPIRED,
    MATCHED,
    PROPOSED,
    QUEUED,
    TICKET,
    Matchmaking,
    Script,
    WatchScript,
)


@pytest.fixture
def matchmaking() -> Matchmaking:
    return Matchmaking()


@pytest.fixture
async def platform(matchmaking: Matchmaking) -> AsyncIterator[Platform]:
    async with Platform((matchmaking_pb2, matchmaking)).serve() as serving:
        yield serving


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[oofgg.Client]:
    async with oofgg.Client(platform.target, game="g1", timeout=5.0) as opened:
        await opened.login("ada", "secret")
        yield opened


async def waits(stream: WatchScript) -> None:
    await stream.tell(QUEUED)
    await stream.stay()


async def is_matched(stream: WatchScript) -> None:
    await stream.tell(QUEUED)
    await stream.tell(PROPOSED)
    await stream.tell(ACCEPTED)
    await stream.match()


def refused(code: grpc.StatusCode, reason: str, **more: str) -> Script:
    async def script(stream: WatchScript) -> None:
        await stream.refuse(code, reason, None, **more)

    return script


async def states(ticket: oofgg.Ticket) -> list[str]:
    async with asyncio.timeout(10):
        return [status.state.name async for status in ticket]


class TestMatching:
    async def test_a_ticket_tells_its_states_and_its_match(
        self, client: oofgg.Client, matchmaking: Matchmaking
    ) -> None:
        matchmaking.scripts = [is_matched]
        ticket = await client.enqueue(
            ["duel", "casual"],
            {"mmr": 1200, "mode": "ranked", "maps": ["dust", "aztec"]},
            roles=["tank"],
            latencies={"eu": 20},
            party="p1",
            players=[oofgg.TicketPlayer("u2", attributes={"mmr": 900.5}, roles=("healer",))],
            quick_join=True,
        )
        assert ticket.ticket_id == TICKET
        assert await states(ticket) == ["QUEUED", "PROPOSED", "ACCEPTED", "MATCHED"]
        match = await ticket.matched()
        assert (match.session_id, match.node, match.queue, match.bots) == (SESSION, "n7", "duel", 1)
        assert match.attributes == {"region": "eu"}
        assert match.player("u2") == oofgg.MatchPlayer("u2", "bob", 2, "tank", "t2")
        assert match.player("u3") is None
        assert {team: [player.user_id for player in players] for team, players in match.teams.items()} == {
            1: ["u1"],
            2: ["u2"],
        }
        request = matchmaking.streams[0].request.enqueue
        assert (request.game_id, list(request.queues), request.party_session_id) == ("g1", ["duel", "casual"], "p1")
        assert request.quick_join
        assert dict(request.attributes.numbers) == {"mmr": 1200}
        assert dict(request.attributes.texts) == {"mode": "ranked"}
        assert list(request.attributes.lists["maps"].values) == ["dust", "aztec"]
        assert (list(request.attributes.roles), dict(request.attributes.latencies_ms)) == (["tank"], {"eu": 20})
        assert dict(request.players[0].attributes.numbers) == {"mmr": 900.5}
        assert not matchmaking.cancelled

    async def test_play_takes_a_match_without_joining(
        self, client: oofgg.Client, matchmaking: Matchmaking, platform: Platform
    ) -> None:
        async def played(stream: StreamScript) -> None:
            await stream.accept()
            await stream.tell(finished(1), flush=1)

        matchmaking.scripts, platform.sessions.scripts = [is_matched], [played]
        ticket = await client.enqueue("duel")
        async with asyncio.timeout(10), client.play(await ticket.matched()) as session:
            assert [event async for event in session]
        assert not platform.sessions.join_nodes
        assert platform.sessions.streams[0].headers["x-oofgg-node"] == "n7"

    @pytest.mark.parametrize("attributes", [{"ready": True}, {"level": None}, {"maps": [1]}, {"raw": b"x"}], ids=str)
    async def test_what_is_no_attribute_is_refused(self, client: oofgg.Client, attributes: dict[str, object]) -> None:
        with pytest.raises(TypeError):
            await client.enqueue("duel", attributes)  # type: ignore[arg-type]

    async def test_what_is_no_number_is_refused(self, client: oofgg.Client) -> None:
        with pytest.raises(ValueError, match="nan"):
            await client.enqueue("duel", {"mmr": float("nan")})
        with pytest.raises(TypeError, match="roles"):
            await client.enqueue("duel", roles="tank")

    async def test_a_game_is_needed(self, platform: Platform) -> None:
        async with oofgg.Client(platform.target) as console:
            with pytest.raises(ValueError, match="game"):
                await console.enqueue("duel")

    async def test_accepting_and_declining(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        async def proposed(stream: WatchScript) -> None:
            await stream.tell(PROPOSED)
            await stream.stay()

        matchmaking.scripts = [proposed]
        ticket = await client.enqueue("duel")
        assert (await ticket.accept()).state is oofgg.TicketState.ACCEPTED
        assert ticket.state is oofgg.TicketState.ACCEPTED
        assert (await ticket.decline()).state is oofgg.TicketState.CANCELLED
        with pytest.raises(errors.TicketError):
            await ticket.matched()
        assert matchmaking.answers == [True, False]

    async def test_accepting_what_others_have_declined_meanwhile(
        self, client: oofgg.Client, matchmaking: Matchmaking
    ) -> None:
        async def proposed(stream: WatchScript) -> None:
            await stream.tell(PROPOSED)
            await stream.stay()

        matchmaking.scripts, matchmaking.active, matchmaking.answer_refusal = [proposed], TICKET, "TICKET_STATE"
        ticket = await client.enqueue("duel")
        assert (await ticket.accept()).state is oofgg.TicketState.QUEUED
        with pytest.raises(errors.FailedPrecondition):
            await ticket.decline()
        matchmaking.answer_refusal = "SESSION_STATE"
        with pytest.raises(errors.FailedPrecondition):
            await ticket.accept()

    @pytest.mark.parametrize(
        ("state", "reason"), [(EXPIRED, "WAITED_TOO_LONG"), (CANCELLED, "DECLINED")], ids=["expired", "declined"]
    )
    async def test_an_end_without_a_match_says_why(
        self, client: oofgg.Client, matchmaking: Matchmaking, state: matchmaking_pb2.TicketState.ValueType, reason: str
    ) -> None:
        async def ends(stream: WatchScript) -> None:
            await stream.tell(QUEUED)
            await stream.tell(state, reason=matchmaking_pb2.TicketReason.Value(f"TICKET_REASON_{reason}"))

        matchmaking.scripts = [ends]
        ticket = await client.enqueue("duel")
        with pytest.raises(errors.TicketError) as ended:
            await ticket.matched()
        assert ended.value.status.state.over
        assert ended.value.status.reason is oofgg.TicketReason(reason)
        assert ended.value.metadata["ticket_id"] == TICKET
        assert await ticket.cancel() == ended.value.status, "there is nothing to cancel"
        assert not matchmaking.cancelled

    async def test_why_not_yet(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        async def explained(stream: WatchScript) -> None:
            excluded = matchmaking_pb2.Exclusion(rule="skill", tickets=7)
            await stream.tell(QUEUED, exclusions=[excluded], candidates=9, estimated_wait_seconds=12.5)
            await stream.stay()

        matchmaking.scripts = [explained]
        status = (await client.enqueue("duel")).status
        assert (status.exclusions, status.candidates) == ((oofgg.Exclusion("skill", 7),), 9)
        assert status.estimated_wait == 12.5

    async def test_what_is_said_again_is_no_news(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        async def repeats(stream: WatchScript) -> None:
            for _ in range(3):
                await stream.tell(QUEUED)
                matchmaking.version -= 1
            matchmaking.version += 1
            await stream.match()

        matchmaking.scripts = [repeats]
        assert await states(await client.enqueue("duel")) == ["QUEUED", "MATCHED"]

    async def test_a_deadline_leaves_the_ticket_where_it_is(
        self, client: oofgg.Client, matchmaking: Matchmaking
    ) -> None:
        go = asyncio.Event()

        async def later(stream: WatchScript) -> None:
            await stream.tell(QUEUED)
            await go.wait()
            await stream.match()

        matchmaking.scripts = [later]
        ticket = await client.enqueue("duel")
        with pytest.raises(errors.DeadlineExceeded):
            await ticket.matched(timeout=0.1)
        go.set()
        assert (await ticket.matched(timeout=5)).session_id == SESSION
        assert not matchmaking.cancelled

    async def test_backfill(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        assert await client.sessions.backfill(SESSION, {1: 2, 2: ["tank"]}) == 3
        (request,) = matchmaking.backfills
        assert [(each.team, each.seats, list(each.roles)) for each in request.seats] == [(1, 2, []), (2, 1, ["tank"])]
        assert await client.sessions.backfill(SESSION, {}) == 0


class TestReconnecting:
    async def test_until_the_first_answer_it_asks_again_under_the_same_request_id(
        self, client: oofgg.Client, matchmaking: Matchmaking
    ) -> None:
        async def cut(stream: WatchScript) -> None:
            await stream.context.abort(grpc.StatusCode.INTERNAL, "cut")

        unavailable = refused(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        matchmaking.scripts = [unavailable, cut, unavailable, is_matched]
        ticket = await client.enqueue("duel")
        assert await states(ticket) == ["QUEUED", "PROPOSED", "ACCEPTED", "MATCHED"]
        requests = [stream.request.enqueue for stream in matchmaking.streams]
        assert len(requests) == 4
        assert len({request.request_id for request in requests}) == 1
        assert requests[0].request_id

    async def test_afterwards_it_watches_the_ticket_it_has(
        self, client: oofgg.Client, matchmaking: Matchmaking
    ) -> None:
        async def cut(stream: WatchScript) -> None:
            await stream.tell(QUEUED)
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", 0.05)

        async def ends(stream: WatchScript) -> None:
            await stream.tell(QUEUED)

        matchmaking.scripts = [cut, ends, cut, is_matched]
        ticket = await client.enqueue("duel")
        assert (await states(ticket))[-1] == "MATCHED"
        assert [stream.request.ticket_id for stream in matchmaking.streams] == ["", TICKET, TICKET, TICKET]

    async def test_an_expired_token_is_renewed(
        self, client: oofgg.Client, matchmaking: Matchmaking, platform: Platform
    ) -> None:
        async def expired(stream: WatchScript) -> None:
            await stream.tell(QUEUED)
            await stream.refuse(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")

        matchmaking.scripts = [expired, is_matched]
        await (await client.enqueue("duel")).matched(5)
        assert platform.auth.refreshes == ["r1"]
        assert matchmaking.streams[1].headers["authorization"] == "Bearer a2"

    async def test_a_ticket_that_is_lost_is_entered_again(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        async def cut(stream: WatchScript) -> None:
            await stream.tell(QUEUED)
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")

        async def anew(stream: WatchScript) -> None:
            matchmaking.ticket_id, matchmaking.version = "t9", 0
            await is_matched(stream)

        matchmaking.scripts = [cut, refused(grpc.StatusCode.NOT_FOUND, "TICKET_NOT_FOUND"), anew]
        ticket = await client.enqueue("duel", request_id="mine")
        await ticket.matched(5)
        assert ticket.ticket_id == "t9"
        assert matchmaking.streams[2].request.enqueue.request_id == "mine"

    async def test_silence_is_noticed_and_another_connection_taken(
        self, client: oofgg.Client, matchmaking: Matchmaking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_follow, "_SILENT_SECONDS", 0.3)
        matchmaking.scripts = [waits, is_matched]
        await (await client.enqueue("duel")).matched(5)
        assert len({stream.peer for stream in matchmaking.streams}) == 2

    async def test_it_is_given_up_in_the_end(
        self, client: oofgg.Client, matchmaking: Matchmaking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def once(stream: WatchScript) -> None:
            await stream.tell(QUEUED)
            await stream.refuse(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")

        matchmaking.scripts = [once, refused(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")]
        ticket = await client.enqueue("duel", reconnect_for=0.5)
        began = time.monotonic()
        with pytest.raises(errors.Unavailable):
            await ticket.matched()
        assert 0.4 < time.monotonic() - began < 4
        with pytest.raises(errors.Unavailable):
            _ = [status async for status in ticket]
        assert _reconnect.ReconnectPolicy(0.5).patience == 0.5


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "reason", "kind"),
        [
            (grpc.StatusCode.FAILED_PRECONDITION, "TICKET_ACTIVE", errors.FailedPrecondition),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "PENALISED", errors.ResourceExhausted),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", errors.ResourceExhausted),
            (grpc.StatusCode.NOT_FOUND, "QUEUE_NOT_FOUND", errors.NotFound),
            (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", errors.InvalidArgument),
        ],
        ids=lambda value: str(value),
    )
    async def test_are_told_at_once(
        self,
        client: oofgg.Client,
        matchmaking: Matchmaking,
        code: grpc.StatusCode,
        reason: str,
        kind: type[oofgg.OofggError],
    ) -> None:
        matchmaking.scripts = [refused(code, reason, ticket_id="t0")]
        with pytest.raises(kind) as found:
            await client.enqueue("duel")
        assert (found.value.reason, found.value.metadata["ticket_id"]) == (reason, "t0")
        assert len(matchmaking.streams) == 1
        assert not matchmaking.enqueued

    async def test_nobody_there(self) -> None:
        async with oofgg.Client("127.0.0.1:1", game="g1", timeout=0.5) as client:
            began = time.monotonic()
            with pytest.raises(errors.Unavailable):
                await client.enqueue("duel")
            assert time.monotonic() - began < 2


class TestLeaving:
    async def test_cancel(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        matchmaking.scripts = [waits]
        ticket = await client.enqueue("duel")
        status = await ticket.cancel()
        assert (status.state, status.reason) == (
            oofgg.TicketState.CANCELLED,
            oofgg.TicketReason.CANCELLED_BY_PLAYER,
        )
        assert matchmaking.cancelled == [TICKET]
        assert (await states(ticket))[-1] == "CANCELLED"

    async def test_a_block_that_ends(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        matchmaking.scripts = [waits]
        async with await client.enqueue("duel") as ticket:
            assert ticket.state is oofgg.TicketState.QUEUED
        assert matchmaking.cancelled == [TICKET]
        with pytest.raises(errors.TicketError):
            await ticket.matched()

    async def test_a_block_that_ends_with_a_match(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        matchmaking.scripts = [is_matched]
        async with await client.enqueue("duel") as ticket:
            await ticket.matched(5)
        assert not matchmaking.cancelled

    async def test_a_block_that_ends_while_the_match_is_made(
        self, client: oofgg.Client, matchmaking: Matchmaking
    ) -> None:
        matchmaking.scripts, matchmaking.cancel_refusal = [waits], "TICKET_STATE"
        async with await client.enqueue("duel"):
            pass

    async def test_who_is_cancelled_while_waiting(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        matchmaking.scripts = [waits]
        ticket = await client.enqueue("duel")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ticket.matched()
        async with asyncio.timeout(5):
            assert (await states(ticket))[-1] == "CANCELLED"
        assert matchmaking.cancelled == [TICKET]

    async def test_who_is_cancelled_before_the_first_answer(
        self, client: oofgg.Client, matchmaking: Matchmaking
    ) -> None:
        async def silent(stream: WatchScript) -> None:
            await stream.stay()

        matchmaking.scripts = [silent]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.enqueue("duel")
        async with asyncio.timeout(5):
            while not matchmaking.cancelled:
                await asyncio.sleep(0.01)
        assert matchmaking.enqueued[0].request_id == matchmaking.streams[0].request.enqueue.request_id

    async def test_a_client_that_closes(self, platform: Platform, matchmaking: Matchmaking) -> None:
        matchmaking.scripts = [waits]
        async with oofgg.Client(platform.target, game="g1") as client:
            await client.login("ada", "secret")
            ticket = await client.enqueue("duel")
            waiting = asyncio.create_task(ticket.matched())
            await asyncio.sleep(0)
        assert matchmaking.cancelled == [TICKET]
        with pytest.raises(errors.TicketError):
            await waiting


class TestRestart:
    async def test_the_active_ticket_is_found(self, client: oofgg.Client, matchmaking: Matchmaking) -> None:
        assert await client.ticket() is None
        matchmaking.active, matchmaking.scripts = TICKET, [is_matched]
        ticket = await client.ticket()
        assert ticket is not None
        assert (await ticket.matched(5)).session_id == SESSION
        assert matchmaking.streams[0].request.ticket_id == TICKET
        assert MATCHED == matchmaking_pb2.TICKET_STATE_MATCHED
