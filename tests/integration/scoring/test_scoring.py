"""Leaderboards and history over gRPC, fed through the outbox of `game`: who may read what, and what they read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from oofgg.events.v1 import match_pb2
from oofgg.v1 import (
    auth_pb2,
    auth_pb2_grpc,
    game_pb2,
    game_pb2_grpc,
    history_pb2,
    history_pb2_grpc,
    leaderboard_pb2,
    leaderboard_pb2_grpc,
)
from pkg.db.database import open_database
from pkg.errors import Reason
from pkg.events.outbox import Event, append
from pkg.events.topics import MATCH_RESULTS
from pkg.ids import new_id
from tests.integration.calls import bearer, eventually, reason_of, register
from tests.integration.conftest import RunningServices, StartServices

START = datetime(2026, 1, 1, tzinfo=UTC)
BACKLOG = 40


@dataclass(frozen=True, slots=True)
class Stage:
    """A game with its developer, a player of it, a player of another game, another developer."""

    services: RunningServices
    game_id: str
    developer: str
    stranger: str
    player: str
    player_id: str
    outsider: str
    boards: Any
    history: Any

    async def finish(self, *events: match_pb2.MatchFinished, times: int = 1) -> None:
        """As the service of sessions does it, `times` times, and waits until the last is in the history."""
        settings = self.services.settings
        async with open_database(settings.postgres_url, "game", size=2) as database:
            for message in events * times:
                event = Event(message.match_id, "oofgg.events.v1.MatchFinished", message.match_id,
                              message.SerializeToString(), START)  # fmt: skip
                async with database.transaction() as connection:
                    await append(connection, event, [MATCH_RESULTS])
        for message in events:

            async def there(match_id: str = message.match_id) -> bool:
                found = await self.history.ListMatches(
                    history_pb2.ListMatchesRequest(game_id=self.game_id, page_size=100),
                    metadata=bearer(self.player),
                    timeout=5,
                )
                return match_id in [match.match_id for match in found.matches]

            await eventually(there, within=20)


@pytest.fixture
async def stage(start_services: StartServices, random_name: Callable[[str], str]) -> Stage:
    services = await start_services(["auth", "catalog", "game", "scoring"])
    auth: Any = auth_pb2_grpc.AuthServiceStub(services.channel)
    games: Any = game_pb2_grpc.GameServiceStub(services.channel)

    async def developer(name: str) -> tuple[str, str]:
        console = await register(auth, random_name(name))
        told = await auth.BecomeDeveloper(
            auth_pb2.BecomeDeveloperRequest(), metadata=bearer(console.access_token), timeout=5
        )
        game = await games.CreateGame(
            game_pb2.CreateGameRequest(name=random_name("game")), metadata=bearer(told.access_token), timeout=5
        )
        return told.access_token, game.game.game_id

    owner, game_id = await developer("owner")
    stranger, other_game = await developer("stranger")
    player = await register(auth, random_name("player"), game_id=game_id)
    outsider = await register(auth, random_name("outsider"), game_id=other_game)
    return Stage(
        services, game_id, owner, stranger, player.access_token, player.user_id, outsider.access_token,
        leaderboard_pb2_grpc.LeaderboardServiceStub(services.channel),
        history_pb2_grpc.HistoryServiceStub(services.channel),
    )  # fmt: skip


def match(
    game_id: str,
    *seats: tuple[str, int, int],
    state: match_pb2.ResultState.ValueType = match_pb2.RESULT_STATE_AGREED,
    day: int = 0,
) -> Any:
    """A finished match; seats are (user, placement, score)."""
    message = match_pb2.MatchFinished(
        match_id=new_id(), game_id=game_id, result_state=state, label="duel", attributes={"map": "north"}
    )
    for seat, (user_id, placement, score) in enumerate(seats, 1):
        message.participants.add(seat=seat, user_id=user_id, username=f"user {seat}", placement=placement, score=score)
    message.start_time.FromDatetime(START + timedelta(days=day))
    message.finish_time.FromDatetime(START + timedelta(days=day, minutes=5))
    return message


async def test_results_reach_leaderboard_and_history_once(stage: Stage) -> None:
    me, other = stage.player_id, new_id()
    won = match(stage.game_id, (me, 1, 10), (other, 2, 3))
    drawn = match(stage.game_id, (me, 1, 5), (other, 1, 5), day=1)
    disputed = match(stage.game_id, (me, 0, 0), (other, 0, 0), state=match_pb2.RESULT_STATE_DISPUTED, day=2)
    await stage.finish(won, drawn, disputed, times=2)

    board = await stage.boards.GetLeaderboard(
        leaderboard_pb2.GetLeaderboardRequest(game_id=stage.game_id), metadata=bearer(stage.player), timeout=5
    )
    assert [(e.rank, e.user_id, e.wins, e.losses, e.draws, e.score) for e in board.entries] == [
        (1, me, 1, 0, 1, 15),
        (2, other, 0, 1, 1, 8),
    ]
    rank = await stage.boards.GetRank(
        leaderboard_pb2.GetRankRequest(game_id=stage.game_id), metadata=bearer(stage.player), timeout=5
    )
    assert (rank.entry.user_id, rank.entry.rank, rank.total) == (me, 1, 2)
    listed = await stage.history.ListMatches(
        history_pb2.ListMatchesRequest(game_id=stage.game_id), metadata=bearer(stage.player), timeout=5
    )
    assert [m.match_id for m in listed.matches] == [disputed.match_id, drawn.match_id, won.match_id]
    read = await stage.history.GetMatch(
        history_pb2.GetMatchRequest(match_id=won.match_id), metadata=bearer(stage.player), timeout=5
    )
    assert read.match == listed.matches[2]
    assert dict(read.match.attributes) == {"map": "north"}
    assert [p.outcome for p in read.match.participants] == [
        history_pb2.MATCH_OUTCOME_WIN,
        history_pb2.MATCH_OUTCOME_LOSS,
    ]


async def test_who_may_read(stage: Stage) -> None:
    played = match(stage.game_id, (stage.player_id, 1, 1))
    await stage.finish(played)

    def calls(token: str, game_id: str) -> list[Any]:
        who = {"metadata": bearer(token), "timeout": 5}
        return [
            stage.boards.GetLeaderboard(leaderboard_pb2.GetLeaderboardRequest(game_id=game_id), **who),
            stage.boards.GetRank(leaderboard_pb2.GetRankRequest(game_id=game_id, user_id=stage.player_id), **who),
            stage.history.ListMatches(history_pb2.ListMatchesRequest(game_id=game_id), **who),
            stage.history.GetMatch(history_pb2.GetMatchRequest(match_id=played.match_id), **who),
        ]

    for token in (stage.player, stage.developer):
        for call in calls(token, stage.game_id):
            await call
    for token, reason in ((stage.outsider, Reason.WRONG_GAME), (stage.stranger, Reason.NOT_OWNER)):
        assert [await reason_of(call) for call in calls(token, stage.game_id)] == [reason] * 4


async def test_what_is_not_there_and_what_is_nonsense(stage: Stage) -> None:
    who: dict[str, Any] = {"metadata": bearer(stage.player), "timeout": 5}
    rank = leaderboard_pb2.GetRankRequest(game_id=stage.game_id)
    assert await reason_of(stage.boards.GetRank(rank, **who)) == Reason.ENTRY_NOT_FOUND
    elo = leaderboard_pb2.GetLeaderboardRequest(game_id=stage.game_id, leaderboard="elo")
    assert await reason_of(stage.boards.GetLeaderboard(elo, **who)) == Reason.LEADERBOARD_NOT_FOUND
    for match_id in (new_id(), "x"):
        request = history_pb2.GetMatchRequest(match_id=match_id)
        assert await reason_of(stage.history.GetMatch(request, **who)) == Reason.MATCH_NOT_FOUND
    for token in ("x", "WzFd", "WyJ3aW5zIiwxLDIsIngiXQ"):
        board = leaderboard_pb2.GetLeaderboardRequest(game_id=stage.game_id, page_token=token)
        assert await reason_of(stage.boards.GetLeaderboard(board, **who)) == Reason.INVALID_PAGE_TOKEN
        history = history_pb2.ListMatchesRequest(game_id=stage.game_id, page_token=token)
        assert await reason_of(stage.history.ListMatches(history, **who)) == Reason.INVALID_PAGE_TOKEN


async def test_pages_of_a_growing_list_repeat_and_miss_nothing(stage: Stage) -> None:
    matches = [match(stage.game_id, (new_id(), 1, index % 5), day=index) for index in range(BACKLOG)]
    await stage.finish(*matches)
    seen: list[str] = []
    ranks: list[int] = []
    token = ""
    while True:
        page = await stage.history.ListMatches(
            history_pb2.ListMatchesRequest(game_id=stage.game_id, page_size=7, page_token=token),
            metadata=bearer(stage.player), timeout=5,
        )  # fmt: skip
        seen += [m.match_id for m in page.matches]
        if len(seen) == 7:
            await stage.finish(match(stage.game_id, (new_id(), 1, 1), day=BACKLOG + 1))
        token = page.next_page_token
        if not token:
            break
    assert seen == [m.match_id for m in reversed(matches)]
    token = ""
    while True:
        board = await stage.boards.GetLeaderboard(
            leaderboard_pb2.GetLeaderboardRequest(
                game_id=stage.game_id, leaderboard="score", page_size=9, page_token=token
            ),
            metadata=bearer(stage.player), timeout=5,
        )  # fmt: skip
        ranks += [entry.rank for entry in board.entries]
        token = board.next_page_token
        if not token:
            break
    # 8 players each with 4, 3, 2 points, 9 with 1 (one came later), 8 with none.
    assert ranks == [1] * 8 + [9] * 8 + [17] * 8 + [25] * 9 + [34] * 8


async def test_nonsense_on_the_topic_is_put_aside(stage: Stage) -> None:
    bad = match(stage.game_id, (stage.player_id, 1, 1), state=match_pb2.RESULT_STATE_UNSPECIFIED)
    async with open_database(stage.services.settings.postgres_url, "game", size=2) as database:
        for payload in (bad.SerializeToString(), b"\xff\xff"):
            event = Event(new_id(), "oofgg.events.v1.MatchFinished", bad.match_id, payload, START)
            async with database.transaction() as connection:
                await append(connection, event, [MATCH_RESULTS])
    good = match(stage.game_id, (stage.player_id, 1, 1))
    await stage.finish(good)
    connection = await asyncpg.connect(stage.services.settings.postgres_url)
    try:

        async def buried() -> bool:
            count = await connection.fetchval(
                "select count(*) from scoring.dead_letter where key = $1", bad.match_id.encode()
            )
            return int(count) == 2

        await eventually(buried, within=20)
    finally:
        await connection.close()
