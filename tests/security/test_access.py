"""Every RPC with every kind of caller who has no business there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from oofgg.v1 import access_pb2, auth_pb2, auth_pb2_grpc, leaderboard_pb2, session_pb2, session_pb2_grpc
from pkg.embedded import Platform
from pkg.errors import Reason
from tests.e2e.callers import (
    METHODS,
    Cast,
    Metadata,
    bearer,
    call,
    make_admin,
    make_cast,
    outcome,
    register,
    request_of,
)

DENIED = (grpc.StatusCode.PERMISSION_DENIED, Reason.ACCESS_DENIED)
ROLES = {
    "player": access_pb2.ACCESS_PLAYER,
    "console": access_pb2.ACCESS_PLAYER,
    "developer": access_pb2.ACCESS_DEVELOPER,
    "api_key": access_pb2.ACCESS_DEVELOPER,
    "admin": access_pb2.ACCESS_ADMIN,
}
# They end the login that the calls after them need, or make another kind of caller; each has a test of its own.
CHANGING = {"Logout", "RevokeAllLogins", "DeleteAccount", "RevokeLogin", "BecomeDeveloper"}


def declared(method: MethodDescriptor) -> set[int]:
    return set(method.GetOptions().Extensions[access_pb2.access])


def name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


GUARDED = [method for method in METHODS if access_pb2.ACCESS_PUBLIC not in declared(method)]


async def result(awaitable: Any) -> tuple[grpc.StatusCode, Reason | None]:
    code, error = await outcome(awaitable)
    return code, error.reason if error else None


async def revoked(channel: grpc.aio.Channel, game_id: str) -> Metadata:
    """A token of a login that its owner has ended, once that is known."""
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    metadata = bearer((await register(channel, "revoked", game_id)).access_token)
    await stub.Logout(auth_pb2.LogoutRequest(), metadata=metadata, timeout=10)
    request = auth_pb2.GetAccountRequest()
    async with asyncio.timeout(10):
        while (await outcome(stub.GetAccount(request, metadata=metadata, timeout=10)))[0] is grpc.StatusCode.OK:
            await asyncio.sleep(0.02)
    return metadata


@pytest.mark.parametrize("kind", ROLES)
async def test_whoever_is_not_named_is_denied(channel: grpc.aio.Channel, cast: Cast, kind: str) -> None:
    let_in = [
        name(method)
        for method in GUARDED
        if ROLES[kind] not in declared(method) and await result(call(channel, method, getattr(cast, kind))) != DENIED
    ]
    assert let_in == []
    named = [method for method in GUARDED if ROLES[kind] in declared(method) and method.name not in CHANGING]
    shut_out = [
        name(method)
        for method in named
        if kind != "api_key" and await result(call(channel, method, getattr(cast, kind))) == DENIED
    ]
    assert shut_out == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param("nobody", Reason.TOKEN_MISSING, id="nobody"),
        pytest.param("garbage", Reason.TOKEN_INVALID, id="garbage"),
        pytest.param("another scheme", Reason.TOKEN_MISSING, id="another scheme"),
        pytest.param("revoked", Reason.TOKEN_REVOKED, id="a revoked login"),
    ],
)
async def test_whoever_is_nobody_is_refused(channel: grpc.aio.Channel, cast: Cast, kind: str, reason: Reason) -> None:
    metadata: Metadata = {
        "nobody": (),
        "garbage": bearer("a.b.c"),
        "another scheme": (("authorization", "Basic YWRhOmFkYQ=="),),
        "revoked": await revoked(channel, cast.game_id) if kind == "revoked" else (),
    }[kind]
    wrong = {}
    for method in GUARDED:
        got = await result(call(channel, method, metadata))
        if got != (grpc.StatusCode.UNAUTHENTICATED, reason):
            wrong[name(method)] = got
    assert wrong == {}


# What is needed beside the ids for a request that could be served.
FILLED: dict[str, Callable[[Any], object]] = {
    "CreateApiKey": lambda request: setattr(request, "name", "stolen"),
    "UpdateGame": lambda request: request.update_mask.paths.append("name"),
    "Finish": lambda request: request.result.seats.add(seat=1, placement=1),
    "Kick": lambda request: setattr(request, "seat", 1),
    "ChangeState": lambda request: setattr(request, "state", session_pb2.SESSION_STATE_STARTED),
    "GetRatings": lambda request: request.user_ids.append("0" * 32),
    "SetRatingRules": lambda request: request.rules.SetInParent(),
    "SetGameQuotas": lambda request: request.quotas.SetInParent(),
    "CreateLeaderboard": lambda request: setattr(request.leaderboard, "name", "stolen"),
    "UpdateLeaderboard": lambda request: request.update_mask.paths.append("description"),
    "SubmitScore": lambda request: request.MergeFrom(
        type(request)(score=leaderboard_pb2.ScoreSubmission(leaderboard="stolen", score=1))
    ),
    "SubmitScores": lambda request: request.scores.add(leaderboard="stolen", score=1),
    "AnswerProposal": lambda request: setattr(request, "accept", True),
    "GetEntries": lambda request: request.user_ids.append("0" * 32),
    "RemoveEntry": lambda request: setattr(request, "user_id", "0" * 32),
    "CreateQueue": lambda request: setattr(request.queue, "name", "stolen"),
    "UpdateQueue": lambda request: setattr(request.queue, "name", "stolen"),
    "DeleteQueue": lambda request: setattr(request, "queue", "stolen"),
    "GetQueue": lambda request: setattr(request, "queue", "stolen"),
    "Enqueue": lambda request: request.queues.append("stolen"),
}
NAMED = {"DeleteLeaderboard", "RemoveEntry", "GetLeaderboardInfo", "GetAround", "GetEntries", "ListSeasons"}


def aimed(method: MethodDescriptor, game_id: str, session_id: str) -> Any:
    """A request that names somebody else's game or session; None where there is nothing to name."""
    request: Any = request_of(method)
    fields = request.DESCRIPTOR.fields_by_name
    if "game" in fields:
        request.game.game_id, request.game.name = game_id, "Stolen"
    elif "session_id" in fields:
        request.session_id = session_id
    elif "game_id" in fields:
        request.game_id = game_id
    elif "open" in fields:
        request.open.session_id = session_id
    else:
        return None
    if method.name in FILLED:
        FILLED[method.name](request)
    if method.name in NAMED:
        request.leaderboard = "stolen"
    if method.name == "UpdateLeaderboard":
        request.leaderboard.name = "stolen"
    return request


@pytest.mark.parametrize("kind", ["player", "developer", "api_key"])
async def test_the_token_of_another_game_opens_nothing_of_this_one(
    channel: grpc.aio.Channel, cast: Cast, kind: str
) -> None:
    theirs = await make_cast(channel)
    sessions: Any = session_pb2_grpc.SessionServiceStub(channel)
    create = session_pb2.CreateSessionRequest(game_id=cast.game_id, min_seats=2, max_seats=2)
    session = (await sessions.CreateSession(create, metadata=cast.player, timeout=10)).session
    let_in, tried = {}, 0
    for method in GUARDED:
        if ROLES[kind] not in declared(method):
            continue
        request = aimed(method, cast.game_id, session.session_id)
        if request is None:
            continue
        tried += 1
        code, reason = await result(call(channel, method, getattr(theirs, kind), request))
        refused = code is grpc.StatusCode.PERMISSION_DENIED or reason in (
            Reason.SESSION_NOT_FOUND,
            Reason.MATCH_NOT_FOUND,
            Reason.REPLAY_NOT_FOUND,
        )
        if not refused:
            let_in[name(method)] = (code, reason)
    assert tried > 2
    assert let_in == {}


async def test_a_developer_and_a_player_of_one_account_are_two_callers(
    channel: grpc.aio.Channel, platform: Platform
) -> None:
    """In a game everybody is a player, an admin too."""
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    admin = await make_admin(channel, platform)
    studio = await make_cast(channel)
    username = (await stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=admin, timeout=10)).account.username
    login = auth_pb2.LoginRequest(username=username, password="correct horse", game_id=studio.game_id)
    played = await stub.Login(login, timeout=10)
    assert played.role == auth_pb2.ROLE_PLAYER
    for method in GUARDED:
        if access_pb2.ACCESS_PLAYER not in declared(method):
            assert await result(call(channel, method, bearer(played.access_token))) == DENIED, name(method)


async def test_nobody_makes_oneself_an_admin(channel: grpc.aio.Channel, cast: Cast) -> None:
    stub: Any = auth_pb2_grpc.AuthServiceStub(channel)
    method = next(method for method in METHODS if method.name == "SetRole")
    victim = f"promoted-{os.urandom(4).hex()}"
    request: Any = request_of(method)
    request.username, request.role = victim, auth_pb2.ROLE_ADMIN
    for kind in ("player", "console", "developer", "api_key"):
        assert await result(call(channel, method, getattr(cast, kind), request)) == DENIED
    # A profile update that names the role changes nothing of it.
    update = next(method for method in METHODS if method.name == "UpdateAccount")
    change: Any = request_of(update)
    change.account.role = auth_pb2.ROLE_ADMIN
    change.update_mask.paths.append("role")
    assert await result(call(channel, update, cast.console, change)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        Reason.INVALID_FIELD,
    )
    account = await stub.GetAccount(auth_pb2.GetAccountRequest(), metadata=cast.console, timeout=10)
    assert account.account.role == auth_pb2.ROLE_PLAYER
