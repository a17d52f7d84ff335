"""An account has one name everywhere, also while tokens with an older one are about."""

from __future__ import annotations

from typing import Any

import pytest

from oofgg.v1 import (
    account_pb2,
    account_pb2_grpc,
    auth_pb2,
    auth_pb2_grpc,
    game_pb2,
    game_pb2_grpc,
    leaderboard_pb2,
    leaderboard_pb2_grpc,
)
from pkg.cache.client import open_redis
from tests.integration.calls import bearer, eventually, register
from tests.integration.conftest import RunningServices, StartServices

ALL = ["auth", "catalog", "scoring"]


async def rename(running: RunningServices, token: str, name: str) -> None:
    accounts: Any = account_pb2_grpc.AccountServiceStub(running.channel)
    request = account_pb2.UpdateAccountRequest(account=auth_pb2.Account(username=name))
    request.update_mask.paths.append("username")
    await accounts.UpdateAccount(request, metadata=bearer(token), timeout=10)


async def name_in(running: RunningServices, token: str) -> str:
    auth: Any = auth_pb2_grpc.AuthServiceStub(running.channel)
    answer = await auth.ValidateToken(auth_pb2.ValidateTokenRequest(access_token=token), timeout=10)
    assert answer.is_valid
    return str(answer.username)


async def test_a_score_submitted_after_a_rename_has_the_new_name_though_its_token_has_the_old_one(
    start_services: StartServices,
) -> None:
    running = await start_services(ALL)
    auth: Any = auth_pb2_grpc.AuthServiceStub(running.channel)
    games: Any = game_pb2_grpc.GameServiceStub(running.channel)
    boards: Any = leaderboard_pb2_grpc.LeaderboardServiceStub(running.channel)
    studio = bearer((await register(auth, "studio")).access_token)
    developer = await auth.BecomeDeveloper(auth_pb2.BecomeDeveloperRequest(), metadata=studio, timeout=10)
    studio = bearer(developer.access_token)
    game = (await games.CreateGame(game_pb2.CreateGameRequest(name="Duel"), metadata=studio, timeout=10)).game
    board = leaderboard_pb2.Leaderboard(
        name="laps",
        submitters=leaderboard_pb2.LEADERBOARD_SUBMITTERS_PLAYERS,
        operator=leaderboard_pb2.LEADERBOARD_OPERATOR_LAST,
    )
    request = leaderboard_pb2.CreateLeaderboardRequest(game_id=game.game_id, leaderboard=board)
    await boards.CreateLeaderboard(request, metadata=studio, timeout=10)
    token = (await register(auth, "ada", game_id=game.game_id)).access_token

    scores = iter(range(1, 1_000))

    async def shown() -> str:
        score = leaderboard_pb2.ScoreSubmission(leaderboard="laps", score=next(scores))
        submit = leaderboard_pb2.SubmitScoreRequest(game_id=game.game_id, score=score)
        await boards.SubmitScore(submit, metadata=bearer(token), timeout=10)
        read = leaderboard_pb2.GetLeaderboardRequest(game_id=game.game_id, leaderboard="laps")
        answer = await boards.GetLeaderboard(read, metadata=bearer(token), timeout=10)
        return str(answer.entries[0].username)

    assert await shown() == "ada"
    await rename(running, token, "lovelace")

    async def has_the_new_name() -> bool:
        return await shown() == "lovelace"

    await eventually(has_the_new_name, within=2.0)
    assert {await shown() for _ in range(5)} == {"lovelace"}


async def test_a_process_that_starts_later_knows_the_new_name(start_services: StartServices) -> None:
    first = await start_services(["auth", "catalog"])
    token = (await register(auth_pb2_grpc.AuthServiceStub(first.channel), "ada")).access_token
    for name in ("ada2", "ada3"):
        await rename(first, token, name)

    async def is_third() -> bool:
        return await name_in(first, token) == "ada3"

    await eventually(is_third)
    await first.end()
    second = await start_services(["auth", "catalog"])
    assert await name_in(second, token) == "ada3"


@pytest.mark.parametrize("kept", [True, False], ids=["data kept", "data lost"])
async def test_a_new_name_outlives_a_redis_that_lost_its_data(start_services: StartServices, kept: bool) -> None:
    first = await start_services(["auth", "catalog"])
    token = (await register(auth_pb2_grpc.AuthServiceStub(first.channel), "ada")).access_token
    await rename(first, token, "lovelace")

    async def renamed() -> bool:
        return await name_in(first, token) == "lovelace"

    await eventually(renamed)
    await first.end()
    if not kept:
        async with open_redis(first.settings.redis_url) as client:
            await client.flushdb()
    second = await start_services(["auth", "catalog"])

    async def known() -> bool:
        return await name_in(second, token) == "lovelace"

    await eventually(known)
