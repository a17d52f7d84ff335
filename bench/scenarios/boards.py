"""A leaderboard of a million: what a score costs, what a look around, how long its ranks take to be made again."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

import asyncpg

from bench.cpu import snapshot, usage
from bench.figures import PER_U, Figure, most
from bench.generator import ROOT, BenchError, Call, Job
from bench.platform import SERVER
from bench.scenario import Context, Group, Run, Scenario
from bench.scenarios.unary import CONNECTIONS, ECHO, IN_FLIGHT, echo
from bench.stage import Stage
from oofgg.v1 import leaderboard_pb2 as pb
from oofgg.v1 import leaderboard_pb2_grpc
from pkg.embedded import read_state

_BOARD = "bench"
_ENTRIES, _ENTRIES_QUICK = 1_000_000, 10_000
_AROUND = 10
_BATCH = 100
# Different requests to send; more than a run sends, so that none is a repeat of another.
_SINGLES, _BATCHES, _LOOKS = 40_000, 4_000, 4_000
_QUICK_SHARE = 10
_SERVICE = "/oofgg.v1.LeaderboardService"
_CALL_SECONDS = 30.0
_FILL_SECONDS = 600.0
_BUILD_SECONDS = 600.0
# Scores are as likely as those that are there: about half of them are better and move their entry.
_DEFINITION = pb.Leaderboard(name=_BOARD, operator=pb.LEADERBOARD_OPERATOR_BEST)
_MOST_SCORE = 1_000_000
_FILL = """
    insert into scoring.leaderboard_entry (user_id, leaderboard_id, window_start, update_time, score, subscore, turn,
        attempts, ascending, username, metadata)
    select md5('bench' || n)::uuid, l.leaderboard_id, 'epoch', now(), (random() * $3::bigint)::bigint, 0,
        nextval('scoring.leaderboard_turn'), 1, false, 'player ' || n, ''
    from generate_series(1, $2::integer) n, scoring.leaderboard l where l.game_id = $1
"""
_WINDOW = """
    insert into scoring.leaderboard_window (leaderboard_id, window_start)
    select leaderboard_id, 'epoch' from scoring.leaderboard where game_id = $1
"""


def _player(number: int) -> str:
    """The id that the statement above gives."""
    return str(uuid.UUID(hashlib.md5(f"bench{number}".encode(), usedforsecurity=False).hexdigest()))


async def submit_score(context: Context) -> Run:
    """A game's server submits scores of players, one a call."""
    await _filled(context)
    game_id = context.platform.game_id
    calls = [
        pb.SubmitScoreRequest(game_id=game_id, score=_score(context), request_id=str(uuid.uuid4()))
        for _ in range(_share(context, _SINGLES))
    ]
    value, run = await _load(context, "SubmitScore", calls)
    return Run({"submit_score": value}, *run)


async def submit_scores(context: Context) -> Run:
    """The same, a hundred a call."""
    await _filled(context)
    game_id = context.platform.game_id
    calls = []
    for _ in range(_share(context, _BATCHES)):
        users = random.sample(range(1, _entries(context) + 1), _BATCH)
        scores = [_score(context, user) for user in users]
        calls.append(pb.SubmitScoresRequest(game_id=game_id, scores=scores, request_id=str(uuid.uuid4())))
    value, run = await _load(context, "SubmitScores", calls)
    return Run({"submit_scores": value / _BATCH}, *run)


async def get_around(context: Context) -> Run:
    """Ten entries around a player."""
    await _filled(context)
    game_id = context.platform.game_id
    calls = [
        pb.GetAroundRequest(game_id=game_id, leaderboard=_BOARD, user_id=_anybody(context), page_size=_AROUND)
        for _ in range(_share(context, _LOOKS))
    ]
    value, run = await _load(context, "GetAround", calls)
    return Run({"get_around": value}, *run)


async def rebuild(context: Context) -> Run:
    """`python -m services boards rebuild`, and then `verify`."""
    await _filled(context)
    stage = context.platform
    values = {}
    before = snapshot(stage.pids)
    for command, figure in (("rebuild", "board_rebuild"), ("verify", "board_verify")):
        context.tell(command)
        began = time.monotonic()
        await _command(stage, command)
        values[figure] = time.monotonic() - began
    return Run(values, usage(before, snapshot(stage.pids)))


def _entries(context: Context) -> int:
    return _ENTRIES_QUICK if context.quick else _ENTRIES


def _share(context: Context, number: int) -> int:
    return number // _QUICK_SHARE if context.quick else number


def _anybody(context: Context) -> str:
    return _player(random.randint(1, _entries(context)))


def _score(context: Context, user: int | None = None) -> pb.ScoreSubmission:
    user_id = _anybody(context) if user is None else _player(user)
    return pb.ScoreSubmission(leaderboard=_BOARD, user_id=user_id, score=random.randint(0, _MOST_SCORE))


async def _load(context: Context, rpc: str, requests: list[Any]) -> tuple[float, tuple[Any, ...]]:
    """µs of CPU of a call, and the rest of what a run tells."""
    stage = context.platform
    token = dict(stage.server)["authorization"].removeprefix("Bearer ")
    calls = [Call(request.SerializeToString(), token) for request in requests]
    job = Job(
        "unary", stage.endpoints.service, CONNECTIONS, method=f"{_SERVICE}/{rpc}", in_flight=IN_FLIGHT, calls=calls
    )
    mark, used = await context.load(job, stage.pids)
    return used.core_seconds(*SERVER) / mark.done * 1e6, (used, "", mark.failed, mark.failure)


async def _filled(context: Context) -> None:
    """A leaderboard with its entries and ranks, made when it is first asked for."""
    stage = context.platform
    boards: Any = leaderboard_pb2_grpc.LeaderboardServiceStub(stage.channel)
    who = {"metadata": stage.server, "timeout": _CALL_SECONDS}
    known = await boards.ListLeaderboards(pb.ListLeaderboardsRequest(game_id=stage.game_id), **who)
    if any(board.name == _BOARD for board in known.leaderboards):
        return
    await boards.CreateLeaderboard(pb.CreateLeaderboardRequest(game_id=stage.game_id, leaderboard=_DEFINITION), **who)
    context.tell(f"{_entries(context):,} entries are made")
    connection = await asyncpg.connect(_endpoints(stage)["postgres_url"], timeout=_CALL_SECONDS)
    try:
        await connection.execute(_FILL, stage.game_id, _entries(context), _MOST_SCORE, timeout=_FILL_SECONDS)
        await connection.execute(_WINDOW, stage.game_id, timeout=_CALL_SECONDS)
        await connection.execute("vacuum analyze scoring.leaderboard_entry", timeout=_FILL_SECONDS)
    finally:
        await connection.close(timeout=_CALL_SECONDS)
    context.tell("their ranks are made")
    request = pb.GetRankRequest(game_id=stage.game_id, leaderboard=_BOARD, user_id=_player(1))
    await _command(stage, "rebuild")
    found = await boards.GetRank(request, **who)
    if found.total != _entries(context):
        raise BenchError(f"the leaderboard has {found.total:,} entries instead of {_entries(context):,}")


def _endpoints(stage: Stage) -> Mapping[str, str]:
    endpoints: Mapping[str, str] = read_state(stage.platform.data_dir)["endpoints"]
    return endpoints


async def _command(stage: Stage, command: str) -> None:
    """A command of an operator, beside the platform."""
    endpoints, secrets = _endpoints(stage), stage.platform.data_dir / "secrets"
    environment = {
        **os.environ,
        "OOFGG_POSTGRES_URL": endpoints["postgres_url"],
        "OOFGG_REDIS_URL": endpoints["redis_url"],
        "OOFGG_KAFKA_BOOTSTRAP": endpoints["kafka_bootstrap"],
        "OOFGG_MASTER_KEY_FILE": str(secrets / "master_key"),
        "OOFGG_SERVICE_SECRET_FILE": str(secrets / "service_secret"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services", "boards", command, "--game", stage.game_id, cwd=ROOT, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_BUILD_SECONDS):
            told, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise BenchError(f"boards {command}: {told.decode(errors='replace')}")


_ECHO = Scenario(ECHO, (), echo)

GROUP = Group(
    "boards",
    "Leaderboards",
    (
        _ECHO,
        Scenario(
            "submit_score",
            (
                Figure(
                    "submit_score", "SubmitScore, to a leaderboard of 1,000,000, with its backends", PER_U, most(1.8)
                ),
            ),
            submit_score,
        ),
        Scenario(
            "submit_scores",
            (Figure("submit_scores", "SubmitScores of 100, per score", PER_U, most(0.1)),),
            submit_scores,
        ),
        Scenario(
            "get_around",
            (Figure("get_around", "GetAround, 10 of 1,000,000, with its backends", PER_U, most(1.8)),),
            get_around,
        ),
        Scenario(
            "board_rebuild",
            (
                Figure("board_rebuild", "Ranks of 1,000,000 made again", "s"),
                Figure("board_verify", "… compared with PostgreSQL", "s"),
            ),
            rebuild,
            runs=1,
        ),
        _ECHO,
    ),
)
