"""Extreme values in every field of every request: refused by name, or taken all the way through. Never a fault.

A request that is otherwise good is given one extreme value at a time. No call may end in INTERNAL, UNKNOWN or
DATA_LOSS, and nothing may end among the dead letters. What was answered STATED is in the history five seconds later.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict

from envoy.routes import public_routes, read_descriptors
from oofgg.v1 import access_pb2, auth_pb2, history_pb2, leaderboard_pb2, matchmaking_pb2, session_pb2
from pkg.embedded import Platform
from pkg.errors import OofggError, Reason
from pkg.ids import new_id
from tests.e2e.callers import METHODS, PASSWORD, Cast, Metadata, call, make_admin, make_cast, operate, outcome, register
from tests.e2e.callers import bearer as bearer_of
from tests.e2e.extremes import extremes, plausible

pytestmark = pytest.mark.asyncio(loop_scope="module")

OK = grpc.StatusCode.OK
FAULTS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
# They would end the login, or the account, that the other calls need.
ENDS = ("Logout", "RevokeAllLogins", "DeleteAccount", "DeleteGame")


# They change what all later calls may do: each has a game and accounts of its own.
SPOILS = (
    "ChangePassword", "Close", "DeleteLeaderboard", "DeleteQueue", "Finish", "Kick", "Leave", "SetGameQuotas",
    "SetRole", "UnlinkPassword", "UpdateAccount", "UpdateGame", "UpdateLeaderboard", "UpdateQueue",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """Who calls, and what there is to call about."""

    cast: Cast
    known: dict[str, Any]
    """Usual values of fields by name: ids of what there is, above all."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def channel(envoy: str) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(envoy, options=[("grpc.use_local_subchannel_pool", 1)]) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def admin(channel: grpc.aio.Channel, platform: Platform) -> Metadata:
    return await make_admin(channel, platform)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(channel: grpc.aio.Channel, admin: Metadata) -> Scene:
    """The game of most tests."""
    return await set_the_scene(channel, admin)


async def set_the_scene(channel: grpc.aio.Channel, admin: Metadata) -> Scene:
    cast = replace(await make_cast(channel), admin=admin)
    game_id = cast.game_id
    board = leaderboard_pb2.Leaderboard(name="laps", submitters=leaderboard_pb2.LEADERBOARD_SUBMITTERS_PLAYERS)
    create_board = leaderboard_pb2.CreateLeaderboardRequest(game_id=game_id, leaderboard=board)
    await invoke(channel, "CreateLeaderboard", cast.developer, create_board)
    create_queue = matchmaking_pb2.CreateQueueRequest(game_id=game_id, queue=matchmaking_pb2.Queue(name="duel"))
    await invoke(channel, "CreateQueue", cast.developer, create_queue)
    create_session = session_pb2.CreateSessionRequest(game_id=game_id, min_seats=1, max_seats=8)
    session_id = (await invoke(channel, "CreateSession", cast.player, create_session)).session.session_id
    await invoke(channel, "Join", cast.player, session_pb2.JoinRequest(session_id=session_id))
    account = (await invoke(channel, "GetAccount", cast.player, auth_pb2.GetAccountRequest())).account
    other = (await invoke(channel, "GetAccount", cast.other_player, auth_pb2.GetAccountRequest())).account
    known = {
        "game_id": game_id, "session_id": session_id, "leaderboard": "laps", "queue": "duel", "name": "laps",
        "user_id": account.user_id, "user_ids": account.user_id, "opponent_user_id": other.user_id,
        "username": account.username, "email": f"{os.urandom(4).hex()}@example.org", "password": PASSWORD,
        "new_password": "another horse", "time_zone": "UTC", "avatar_url": "https://example.org/a", "language": "en",
        "old_password": PASSWORD, "metadata": "{}", "max_wait_seconds": 60.0, "after_seconds": 2.0,
        "min_teams": 2, "max_teams": 2, "queues": "duel", "cron": None, "page_token": None, "request_id": None,
        "position": None, "window_time": None, "min_score": -5, "max_score": 5, "kind": 1,
    }  # fmt: skip
    return Scene(cast, known)


def method_named(name: str) -> MethodDescriptor:
    found: MethodDescriptor = next(method for method in METHODS if method.name == name)
    return found


async def invoke(channel: grpc.aio.Channel, name: str, metadata: Metadata, request: Any) -> Any:
    return await call(channel, method_named(name), metadata, request)


def caller_of(method: MethodDescriptor, cast: Cast) -> Metadata:
    declared = set(method.GetOptions().Extensions[access_pb2.access])
    if access_pb2.ACCESS_PUBLIC in declared:
        return ()
    if declared == {access_pb2.ACCESS_ADMIN}:
        return cast.admin
    if method.name in ("Enqueue", "WatchTicket"):
        return cast.api_key  # which may enter any player
    return cast.player if access_pb2.ACCESS_PLAYER in declared else cast.developer


# Where the usual value of a field would not do.
ADJUSTED: dict[str, dict[str, Any]] = {
    "Register": {"username": "ada-x", "game_id": ""},
    "CreateSession": {"queue": ""},
    "ChangeState": {"state": session_pb2.SESSION_STATE_PAUSED},
    "UpdateGame": {"update_mask": "name,description,settings.maxSeats"},
    "UpdateAccount": {"update_mask": "displayName,avatarUrl,language"},
    "UpdateLeaderboard": {"update_mask": "description,minScore,maxScore,maxAttempts"},
    "CreateQueue": {"queue": {"name": "another"}},
    "CreateLeaderboard": {"leaderboard": {"name": "another"}},
    "Enqueue": {"party_session_id": "", "attributes": None},
    "WatchTicket": {"enqueue": {"party_session_id": "", "attributes": None}},
}


def players_of(request: Any) -> Sequence[Any]:
    """Players that a request enters into a queue, for each can be in it once."""
    if isinstance(request, matchmaking_pb2.WatchTicketRequest):
        return request.enqueue.players
    return request.players if isinstance(request, matchmaking_pb2.EnqueueRequest) else ()


def adjusted(method: MethodDescriptor, known: dict[str, Any]) -> Any:
    """A request of an RPC that could be meant."""
    request = plausible(method.input_type, known, "enqueue" if method.name == "WatchTicket" else "")
    ParseDict(ADJUSTED.get(method.name, {}), request)
    return request


def dead_letters(platform: Platform) -> int:
    done = operate(platform, "list", command="dead-letters")
    assert done.returncode == 0, done.stderr
    return sum(line.strip()[:1].isdigit() for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, id=f"{m.containing_service.name}.{m.name}") for m in METHODS if m.name not in ENDS],
)
async def test_no_extreme_value_of_any_field_is_a_fault(
    channel: grpc.aio.Channel, scene: Scene, admin: Metadata, method: MethodDescriptor
) -> None:
    if method.name in SPOILS:
        scene = await set_the_scene(channel, admin)
    request = adjusted(method, scene.known)
    wrong: list[tuple[str, grpc.StatusCode, OofggError | None]] = []

    async def attempt(path: str, spoilt: Any) -> None:
        for player in players_of(spoilt):
            if player.user_id == scene.known["user_id"]:
                player.user_id = new_id()
        async with at_once:
            code, error = await outcome(call(channel, method, caller_of(method, scene.cast), spoilt))
        details = b"" if error is None else str(error).encode()
        if code in FAULTS or (error is not None and error.reason is Reason.INTERNAL) or len(details) > 1_500:
            wrong.append((path, code, error))

    at_once = asyncio.Semaphore(4)
    await asyncio.gather(*(attempt(path, spoilt) for path, spoilt in extremes(request)))
    assert wrong == []


@pytest.mark.parametrize("seats", [1, 128, 512])
async def test_a_result_with_any_number_of_wrong_seats_is_an_invalid_argument(
    channel: grpc.aio.Channel, scene: Scene, seats: int
) -> None:
    wrong = [session_pb2.SeatResult(seat=0, placement=0) for _ in range(seats)]
    request = session_pb2.FinishRequest(session_id=scene.known["session_id"], result=session_pb2.Result(seats=wrong))
    code, error = await outcome(invoke(channel, "Finish", scene.cast.player, request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert error is not None
    named = [violation for violation in error.violations if violation.field]
    assert len(named) == min(20, 2 * seats)
    assert len(error.violations) == len(named) + (2 * seats > 20)


LEAST_AND_MOST = [-(10**15), 0, 10**15]
EXAMPLES = [
    {"label": "é" * 64},
    {"attributes": {"k" * 64: "line\n\tline\r\n" + "é" * 500, "": "x"}},
    {"attributes": {"\U0010ffff": "\U0010ffff" * 100}},
    {"queue": "q" * 64},
    {"queue": "Q ueue’s \U0001f3b2"},
    *({"score": score} for score in LEAST_AND_MOST),
    {"score": 10**15 + 1},
    {"score": 2**63 - 10},
    {"score": -(2**63)},
    {"stats": {"kills": 1e308, "x" * 32: -1e-300, "é": -0.0}},
    {"stats": {"kills\0": 1.0}},
    {"stats": {"kills": math.nan}},
    {"placement": 2**31 - 1},
    {"placement": 2**32 - 1},
    {"team": 2**31 - 1},
    {"team": 2**32 - 1},
    {"label": "a\0b"},
    {"attributes": {"k": "\0"}},
    {"queue": "ra\0nked"},
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: ascii(example)[:60])
async def test_a_result_that_was_answered_stated_is_in_the_history_five_seconds_later(
    channel: grpc.aio.Channel, scene: Scene, example: dict[str, Any]
) -> None:
    cast = scene.cast
    game = cast.game_id
    request = session_pb2.CreateSessionRequest(
        game_id=game, max_seats=2, label=example.get("label", ""), attributes=example.get("attributes", {}),
        queue=example.get("queue", ""),
    )  # fmt: skip
    code, error = await outcome(invoke(channel, "CreateSession", cast.api_key, request))
    if code is not grpc.StatusCode.OK:
        assert (code, error and error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD)
        return
    opened = await invoke(channel, "CreateSession", cast.api_key, request)
    session_id = opened.session.session_id
    for _ in range(2):
        player = bearer_of((await register(channel, "extreme", game)).access_token)
        await invoke(channel, "Join", player, session_pb2.JoinRequest(session_id=session_id))
    seats = [
        session_pb2.SeatResult(seat=1, placement=1, score=example.get("score", 0), stats=example.get("stats", {}),
                               team=example.get("team", 0)),
        session_pb2.SeatResult(seat=2, placement=example.get("placement", 2)),
    ]  # fmt: skip
    finish = session_pb2.FinishRequest(session_id=session_id, result=session_pb2.Result(seats=seats))
    code, error = await outcome(invoke(channel, "Finish", cast.api_key, finish))
    if code is not grpc.StatusCode.OK:
        assert (code, error and error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID_FIELD)
        state = (
            await invoke(channel, "GetSession", cast.api_key, session_pb2.GetSessionRequest(session_id=session_id))
        ).session.state
        assert state == session_pb2.SESSION_STATE_STARTED, "a refused result leaves the session as it is"
        return
    async with asyncio.timeout(5):
        while True:
            asked = history_pb2.GetMatchRequest(match_id=session_id)
            code, error = await outcome(invoke(channel, "GetMatch", cast.api_key, asked))
            if code is grpc.StatusCode.OK:
                return
            assert code is grpc.StatusCode.NOT_FOUND, error
            await asyncio.sleep(0.05)


async def test_a_sum_of_scores_beyond_64_bits_stays_at_its_limit_and_loses_nobodys_match(
    channel: grpc.aio.Channel, scene: Scene, platform: Platform
) -> None:
    """Ten matches at the bound add up to more than a test can play: the sum begins near the limit."""
    cast = scene.cast
    players = [await register(channel, "rich", cast.game_id) for _ in range(2)]
    from pkg.db.database import open_database

    async with (
        open_database(platform.endpoints.postgres_url, "scoring", size=1) as database,
        database.acquire() as connection,
    ):
        await connection.execute(
            "insert into standing (game_id, user_id, username, wins, losses, draws, score, update_time)"
            " values ($1, $2, 'rich', 0, 0, 0, $3, now())",
            cast.game_id, players[0].user_id, 2**63 - 10,
        )  # fmt: skip
    opened = await invoke(
        channel, "CreateSession", cast.api_key, session_pb2.CreateSessionRequest(game_id=cast.game_id, max_seats=2)
    )
    for player in players:
        await invoke(
            channel, "Join", bearer_of(player.access_token),
            session_pb2.JoinRequest(session_id=opened.session.session_id),
        )  # fmt: skip
    seats = [session_pb2.SeatResult(seat=seat, placement=seat, score=10**15) for seat in (1, 2)]
    await invoke(
        channel, "Finish", cast.api_key,
        session_pb2.FinishRequest(session_id=opened.session.session_id, result=session_pb2.Result(seats=seats)),
    )  # fmt: skip
    ranks = []
    async with asyncio.timeout(5):
        for player in players:
            asked = leaderboard_pb2.GetRankRequest(game_id=cast.game_id, leaderboard="score", user_id=player.user_id)
            while True:
                code, _ = await outcome(invoke(channel, "GetRank", cast.api_key, asked))
                entry = (await invoke(channel, "GetRank", cast.api_key, asked)).entry if code is OK else None
                if entry is not None and entry.wins + entry.losses == 1:
                    ranks.append(entry.score)
                    break
                await asyncio.sleep(0.05)
    assert ranks == [2**63 - 1, 10**15]


async def test_json_of_every_path_with_extremes_is_never_a_fault(envoy: str, scene: Scene) -> None:
    routes = [route for route in public_routes(read_descriptors()) if route.json and route.json.method != "GET"]
    bad: list[tuple[str, Any, int]] = []
    async with aiohttp.ClientSession(f"http://{envoy}", timeout=aiohttp.ClientTimeout(total=30)) as session:
        for route in routes:
            if route.method in ENDS or route.json is None:
                continue
            method = method_named(route.method)
            document = MessageToDict(adjusted(method, scene.known), preserving_proto_field_name=True)
            headers = {"content-type": "application/json"}
            if metadata := caller_of(method, scene.cast):
                headers["authorization"] = metadata[0][1]
            for name in document:
                for value in (r"\ud800", r"\udfff\ud800", r"a\u0000b", "1e400", "NaN", "99999999999999999999", "-1"):
                    quoted = f'"{value}"' if value.startswith(("\\", "a")) else value
                    body = json.dumps({**document, name: "@@"}).replace('"@@"', quoted)
                    async with session.request(
                        route.json.method, route.json.path, data=body.encode(), headers=headers
                    ) as response:
                        await response.read()
                        if response.status >= 500 and response.status != 501:
                            bad.append((route.method, (name, value), response.status))
    assert bad == []


async def test_nothing_of_all_this_is_among_the_dead_letters(platform: Platform) -> None:
    assert dead_letters(platform) == 0, "run: " + os.fspath(platform.data_dir)
