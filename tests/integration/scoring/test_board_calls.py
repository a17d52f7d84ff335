"""Leaderboards over gRPC: who may define and submit, what is refused, and what an operator's commands say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio as redis

from oofgg.v1 import auth_pb2, auth_pb2_grpc, errors_pb2, game_pb2, game_pb2_grpc, leaderboard_pb2_grpc
from oofgg.v1 import leaderboard_pb2 as pb
from pkg.errors import Reason
from pkg.ids import new_id
from services.boards import rebuild, verify
from services.scoring.leaderboards.messages import encode_place
from tests.integration.calls import bearer, reason_of, register
from tests.integration.conftest import RunningServices, StartServices

SERVERS, PLAYERS, RESULTS = (
    pb.LEADERBOARD_SUBMITTERS_SERVERS,
    pb.LEADERBOARD_SUBMITTERS_PLAYERS,
    pb.LEADERBOARD_SUBMITTERS_RESULTS,
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A game with its developer, an API key and two players; a player of another game and another developer."""

    services: RunningServices
    game_id: str
    callers: dict[str, str]
    player_id: str
    other_id: str
    stub: Any

    async def call(self, rpc: str, who: str, **fields: Any) -> Any:
        request = getattr(pb, f"{rpc}Request")(game_id=self.game_id, **fields)
        return await getattr(self.stub, rpc)(request, metadata=bearer(self.callers[who]), timeout=5)

    async def create(self, name: str, **fields: Any) -> Any:
        fields.setdefault("submitters", PLAYERS)
        return await self.call("CreateLeaderboard", "developer", leaderboard=pb.Leaderboard(name=name, **fields))

    async def submit(self, who: str, board: str, score: int, request_id: str = "", **fields: Any) -> Any:
        submission = pb.ScoreSubmission(leaderboard=board, score=score, **fields)
        return await self.call("SubmitScore", who, score=submission, request_id=request_id)


@pytest.fixture
async def stage(start_services: StartServices, random_name: Callable[[str], str]) -> Stage:
    services = await start_services(["auth", "catalog", "scoring"])
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
    key = await auth.CreateApiKey(
        auth_pb2.CreateApiKeyRequest(game_id=game_id, name="server"), metadata=bearer(owner), timeout=5
    )
    server = await auth.ExchangeApiKey(auth_pb2.ExchangeApiKeyRequest(api_key=key.api_key), timeout=5)
    player = await register(auth, random_name("player"), game_id=game_id)
    other = await register(auth, random_name("other"), game_id=game_id)
    outsider = await register(auth, random_name("outsider"), game_id=other_game)
    callers = {
        "developer": owner,
        "server": server.access_token,
        "player": player.access_token,
        "other": other.access_token,
        "stranger": stranger,
        "outsider": outsider.access_token,
    }
    stub: Any = leaderboard_pb2_grpc.LeaderboardServiceStub(services.channel)
    return Stage(services, game_id, callers, player.user_id, other.user_id, stub)


async def test_definitions(stage: Stage) -> None:
    made = (await stage.create("laps", order=pb.LEADERBOARD_ORDER_ASCENDING, max_score=10)).leaderboard
    assert (made.version, made.operator, made.submitters) == (1, pb.LEADERBOARD_OPERATOR_BEST, PLAYERS)
    assert await reason_of(stage.create("laps")) == Reason.LEADERBOARD_NAME_TAKEN
    assert await reason_of(stage.create("wins")) == Reason.INVALID_FIELD
    info = await stage.call("GetLeaderboardInfo", "player", leaderboard="laps")
    assert info.leaderboard == made
    assert not info.season.ended
    assert not info.season.HasField("end_time")
    update = {"leaderboard": pb.Leaderboard(name="laps", max_attempts=2), "update_mask": {"paths": ["max_attempts"]}}
    changed = (await stage.call("UpdateLeaderboard", "server", **update)).leaderboard
    assert (changed.version, changed.max_attempts, changed.max_score) == (2, 2, 10)
    update["update_mask"] = {"paths": ["max_score"]}
    assert not (await stage.call("UpdateLeaderboard", "developer", **update)).leaderboard.HasField("max_score")
    update["update_mask"] = {"paths": ["operator"]}
    assert await reason_of(stage.call("UpdateLeaderboard", "developer", **update)) == Reason.INVALID_FIELD
    for name in "cab":
        await stage.create(name)
    page = await stage.call("ListLeaderboards", "player", page_size=2)
    rest = await stage.call("ListLeaderboards", "player", page_size=2, page_token=page.next_page_token)
    assert [board.name for board in (*page.leaderboards, *rest.leaderboards)] == ["a", "b", "c", "laps"]
    assert rest.next_page_token == ""
    again = [await stage.call("DeleteLeaderboard", "developer", leaderboard="a", request_id="r") for _ in range(2)]
    assert again[0] == again[1]
    assert await reason_of(stage.call("GetLeaderboardInfo", "player", leaderboard="a")) == Reason.LEADERBOARD_NOT_FOUND


async def test_who_may(stage: Stage) -> None:
    for name, submitters in (("open", PLAYERS), ("closed", SERVERS), ("played", RESULTS)):
        await stage.create(name, submitters=submitters)
    for who, reason in (("stranger", Reason.NOT_OWNER), ("outsider", Reason.WRONG_GAME)):
        for call in (
            stage.submit(who, "open", 1),
            stage.call("GetLeaderboard", who, leaderboard="open"),
            stage.call("GetAround", who, leaderboard="open"),
            stage.call("GetEntries", who, leaderboard="open", user_ids=[new_id()]),
            stage.call("ListSeasons", who, leaderboard="open"),
            stage.call("GetRank", who, leaderboard="open"),
        ):
            assert await reason_of(call) == reason
    define = stage.call("CreateLeaderboard", "player", leaderboard=pb.Leaderboard(name="mine"))
    assert await reason_of(define) == Reason.ACCESS_DENIED
    assert (await stage.submit("player", "open", 1)).entry.user_id == stage.player_id
    assert await reason_of(stage.submit("player", "open", 1, user_id=stage.other_id)) == Reason.ACCESS_DENIED
    assert await reason_of(stage.submit("player", "closed", 1)) == Reason.ACCESS_DENIED
    assert await reason_of(stage.submit("server", "closed", 1)) == Reason.INVALID_FIELD  # for whom?
    for who in ("server", "developer"):
        told = await stage.submit(who, "closed", 1, user_id=stage.other_id, username="Bob")
        assert (told.entry.user_id, told.entry.username) == (stage.other_id, "Bob")
    for who in ("player", "server"):
        assert await reason_of(stage.submit(who, "played", 1, user_id=stage.player_id)) == Reason.ACCESS_DENIED
    assert await reason_of(stage.submit("player", "score", 1)) == Reason.INVALID_FIELD
    assert await reason_of(stage.submit("player", "nowhere", 1)) == Reason.LEADERBOARD_NOT_FOUND


async def test_an_entry_is_taken_off(stage: Stage) -> None:
    await stage.create("laps")
    for who in ("player", "other"):
        await stage.submit(who, "laps", 5)
    takes = {"leaderboard": "laps", "user_id": stage.player_id}
    for who, reason in (
        ("stranger", Reason.NOT_OWNER),
        ("outsider", Reason.ACCESS_DENIED),
        ("player", Reason.ACCESS_DENIED),
    ):
        assert await reason_of(stage.call("RemoveEntry", who, **takes)) == reason
    assert (
        await reason_of(stage.call("RemoveEntry", "server", **{**takes, "leaderboard": "wins"})) == Reason.INVALID_FIELD
    )
    assert await reason_of(stage.call("RemoveEntry", "server", **{**takes, "user_id": "x"})) == Reason.INVALID_FIELD
    nowhere = stage.call("RemoveEntry", "server", **{**takes, "leaderboard": "nowhere"})
    assert await reason_of(nowhere) == Reason.LEADERBOARD_NOT_FOUND
    for _ in range(2):
        await stage.call("RemoveEntry", "server", **takes, request_id="once")
    assert await reason_of(stage.call("RemoveEntry", "developer", **takes)) == Reason.ENTRY_NOT_FOUND
    assert await reason_of(stage.call("GetRank", "player", leaderboard="laps")) == Reason.ENTRY_NOT_FOUND
    mine = await stage.call("GetRank", "other", leaderboard="laps")
    assert (mine.entry.rank, mine.total) == (1, 1)
    assert (await stage.submit("player", "laps", 4)).entry.rank == 2


async def test_what_is_submitted_and_what_is_read(stage: Stage) -> None:
    await stage.create("points", max_attempts=2, min_score=0, max_score=100)
    first = await stage.submit("player", "points", 5, "r1", subscore=3, metadata='{"car":"red"}')
    assert (first.entry.rank, first.entry.score, first.entry.attempts, first.changed) == (1, 5, 1, True)
    assert await stage.submit("player", "points", 5, "r1", subscore=3, metadata='{"car":"red"}') == first
    assert await reason_of(stage.submit("player", "points", 6, "r1")) == Reason.REQUEST_ID_REUSED
    assert await reason_of(stage.submit("player", "points", 101)) == Reason.INVALID_FIELD
    assert await reason_of(stage.submit("player", "points", 1, metadata="[1]")) == Reason.INVALID_FIELD
    worse = await stage.submit("player", "points", 4, metadata='{"car":"blue"}')
    assert (worse.entry.score, worse.entry.metadata, worse.changed) == (5, '{"car":"red"}', False)
    assert await reason_of(stage.submit("player", "points", 9)) == Reason.ATTEMPTS_EXHAUSTED

    users = [new_id() for _ in range(7)]
    scores = [pb.ScoreSubmission(leaderboard="points", user_id=user, score=n, username=f"p{n}")
              for n, user in enumerate(users)]  # fmt: skip
    scores.append(pb.ScoreSubmission(leaderboard="points", user_id=stage.player_id, score=9))
    for _ in range(2):
        told = await stage.call("SubmitScores", "server", scores=scores, request_id="batch")
        assert [result.refusal for result in told.results] == [0] * 7 + [errors_pb2.ERROR_REASON_ATTEMPTS_EXHAUSTED]
        assert [result.entry.score for result in told.results[:7]] == list(range(7))
    scores[3].score = -1
    assert await reason_of(stage.call("SubmitScores", "server", scores=scores)) == Reason.INVALID_FIELD

    order = [users[6], stage.player_id, users[5], *reversed(users[:5])]  # of two with 5 points, one has a subscore
    page = await stage.call("GetLeaderboard", "player", leaderboard="points", page_size=5)
    rest = await stage.call("GetLeaderboard", "player", leaderboard="points", page_token=page.next_page_token)
    listed = [*page.entries, *rest.entries]
    assert [(entry.rank, entry.user_id) for entry in listed] == list(enumerate(order, 1))
    assert (listed[0].username, rest.next_page_token) == ("p6", "")
    around = await stage.call("GetAround", "player", leaderboard="points", page_size=3)
    assert ([entry.user_id for entry in around.entries], around.total) == (order[:3], 8)
    after = await stage.call("GetLeaderboard", "player", leaderboard="points", page_token=around.next_page_token)
    assert [entry.user_id for entry in after.entries] == order[3:]
    rank = await stage.call("GetRank", "other", leaderboard="points", user_id=users[5])
    assert (rank.entry.rank, rank.total) == (3, 8)
    friends = await stage.call("GetEntries", "player", leaderboard="points", user_ids=[users[0], new_id(), users[6]])
    assert [(entry.rank, entry.user_id) for entry in friends.entries] == [(1, users[6]), (8, users[0])]
    seasons = await stage.call("ListSeasons", "player", leaderboard="points")
    assert len(seasons.seasons) == 1

    for rpc in ("GetRank", "GetAround"):
        assert await reason_of(stage.call(rpc, "other", leaderboard="points")) == Reason.ENTRY_NOT_FOUND
    for token in ("x", page.next_page_token[:-4], "WyJ3aW5zIiwxLDIsIngiXQ"):
        read = stage.call("GetLeaderboard", "player", leaderboard="points", page_token=token)
        assert await reason_of(read) == Reason.INVALID_PAGE_TOKEN
    await stage.create("another")
    other = stage.call("GetLeaderboard", "player", leaderboard="another", page_token=page.next_page_token)
    assert await reason_of(other) == Reason.INVALID_PAGE_TOKEN
    for seconds in (-62135596800, 253402300799):
        strange = stage.call("GetLeaderboard", "player", leaderboard="points", window_time={"seconds": seconds})
        assert await reason_of(strange) == Reason.INVALID_FIELD
        place = encode_place((new_id(), datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)), bytes(24))
        forged = stage.call("GetLeaderboard", "player", leaderboard="points", page_token=place)
        assert await reason_of(forged) == Reason.INVALID_PAGE_TOKEN
    for name in ("GetAround", "GetEntries", "ListSeasons"):
        fields: dict[str, Any] = {"user_ids": [users[0]]} if name == "GetEntries" else {}
        assert await reason_of(stage.call(name, "player", leaderboard="wins", **fields)) == Reason.INVALID_FIELD


async def test_commands_of_an_operator(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    settings = stage.services.settings
    await stage.create("points")
    users = [new_id() for _ in range(20)]
    scores = [pb.ScoreSubmission(leaderboard="points", user_id=user, score=n) for n, user in enumerate(users)]
    await stage.call("SubmitScores", "server", scores=scores)
    assert (await stage.call("GetLeaderboard", "player", leaderboard="points", page_size=1)).entries[0].rank == 1
    capsys.readouterr()
    assert await verify(settings, stage.game_id, None, 0.0) == 0
    assert "1 equal, 0 different, 0 not in Redis (read from PostgreSQL)" in capsys.readouterr().out
    async with redis.Redis.from_url(settings.redis_url) as client:
        (ranks,) = [key async for key in client.scan_iter("board:*:ranks")]
        await client.zpopmin(ranks)
    assert await verify(settings, None, "points", 0.0) == 1
    told = capsys.readouterr().out
    assert f"player {users[19]}: PostgreSQL says (19, 0)" in told
    assert "Redis nothing" in told
    assert await rebuild(settings, stage.game_id, "points") == 0
    assert "20 entries in" in capsys.readouterr().out
    assert await verify(settings, stage.game_id, "points", 0.0) == 0
