"""The record of matches: filtered, followed as they finish, written out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import oofgg
from oofgg import errors
from pkg.ids import new_id
from tests.integration.calls import eventually
from tests.integration.sdk.stage import Stage


@asynccontextmanager
async def judge(stage: Stage) -> AsyncIterator[oofgg.Client]:
    """The game's server."""
    key = await stage.studio.games.create_api_key("server", game_id=stage.game.game_id)
    async with oofgg.Client(stage.target, api_key=key.api_key, game=stage.game.game_id) as server:
        yield server


async def played(
    stage: Stage, server: oofgg.Client, result: list[oofgg.SeatResult], *, queue: str = "", label: str = ""
) -> str:
    session = await server.sessions.create(queue=queue, label=label, min_seats=2, max_seats=2)
    for client in (stage.ada, stage.bob):
        await client.sessions.join(session)
    await server.sessions.finish(session, result)
    return session.session_id


ADA_WINS = [oofgg.SeatResult(1, 1, 5, stats={"kills": 3, "accuracy": 0.5}), oofgg.SeatResult(2, 2, 1)]
BOB_WINS = [oofgg.SeatResult(1, 2, 0), oofgg.SeatResult(2, 1, 9)]


async def test_matches_are_found_by_who_when_and_how(stage: Stage) -> None:
    async with judge(stage) as server:
        first = await played(stage, server, ADA_WINS, queue="duel", label="ranked")
        second = await played(stage, server, BOB_WINS)

        async def both() -> bool:
            return len([match async for match in stage.ada.history.list()]) == 2

        await eventually(both)
        ada, bob = [(await client.account()).user_id for client in (stage.ada, stage.bob)]
        matches = {match.match_id: match async for match in stage.ada.history.list()}
        assert matches[first].participants[0].stats == {"kills": 3, "accuracy": 0.5}

        async def found(**wanted: object) -> list[str]:
            return [match.match_id async for match in stage.ada.history.list(**wanted)]  # type: ignore[arg-type]

        assert await found(user_id=ada, outcome=oofgg.MatchOutcome.WIN) == [first]
        assert await found(user_id=bob, outcome=oofgg.MatchOutcome.WIN) == [second]
        assert await found(user_id=ada, opponent=bob) == [second, first]
        assert await found(user_id=ada, opponent=new_id()) == []
        assert await found(queue="duel") == [first]
        assert await found(queue="") == [second]
        assert await found(label="ranked") == [first]
        assert await found(result_state=oofgg.ResultState.AGREED) == []
        middle = matches[second].finish_time
        assert middle is not None
        assert await found(since=middle) == [second]
        assert await found(until=middle) == [first]
        with pytest.raises(errors.InvalidArgument):
            await found(outcome=oofgg.MatchOutcome.WIN)
        with pytest.raises(ValueError, match="no time zone"):
            await found(since=middle.replace(tzinfo=None))

        lines = "".join([piece async for piece in server.history.export()]).splitlines()
        assert [json.loads(line)["match_id"] for line in lines] == [second, first]
        assert json.loads(lines[1])["participants"][0]["stats"]["kills"] == 3
        with pytest.raises(errors.PermissionDenied):
            await anext(stage.ada.history.export())


async def test_whoever_watches_sees_each_match_once_and_goes_on_where_it_was(
    stage: Stage, random_name: Callable[[str], str]
) -> None:
    async with judge(stage) as server:
        first = await played(stage, server, ADA_WINS)
        seen: list[oofgg.MatchNews] = []

        async def take(news: AsyncIterator[oofgg.MatchNews], count: int) -> list[str]:
            async with asyncio.timeout(10):
                taken = [await anext(news) for _ in range(count)]
            seen.extend(taken)
            return [each.match.match_id for each in taken]

        everything = server.history.watch(from_start=True)
        assert await take(everything, 1) == [first]
        second = await played(stage, server, BOB_WINS)
        assert await take(everything, 1) == [second]
        await everything.aclose()  # type: ignore[attr-defined]

        more = await asyncio.gather(*(played(stage, server, ADA_WINS) for _ in range(5)))
        again = server.history.watch(position=seen[-1].position)
        assert sorted(await take(again, 5)) == sorted(more)
        await again.aclose()  # type: ignore[attr-defined]
        whole = server.history.watch(from_start=True)
        assert await take(whole, 7) == [each.match.match_id for each in seen[:7]], "the order is always the same"
        await whole.aclose()  # type: ignore[attr-defined]
        with pytest.raises(errors.PermissionDenied):
            await anext(stage.ada.history.watch())
