"""The channel to the platform, and the generated stubs on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio

from oofgg._target import Target
from oofgg.v1 import (
    account_pb2_grpc,
    auth_pb2_grpc,
    game_pb2_grpc,
    history_pb2_grpc,
    leaderboard_pb2_grpc,
    matchmaking_pb2_grpc,
    rating_pb2_grpc,
    session_pb2_grpc,
)

_OPTIONS: Sequence[tuple[str, int]] = (
    # A client keeps a connection of its own, and comes back to it soon after it broke.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Small windows: a slow reader is noticed by the platform, not hidden in buffers.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65_536),
)


# The process in which the first channel was opened. What gRPC keeps of it cannot be used in a forked process.
_first_process: int | None = None


def open_channel(target: Target, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """A channel to Envoy; without credentials it is not encrypted.

    It goes through a proxy of the environment only where `Target.proxy_variable` says so. Raises RuntimeError in a
    process that was forked from one that had opened a channel: calls would hang there.
    """
    global _first_process
    if _first_process is None:
        _first_process = os.getpid()
    elif _first_process != os.getpid():
        raise RuntimeError(
            f"this process was forked from process {_first_process}, in which an oofgg client was opened before, and "
            "gRPC does not work here any more: start it with the method 'spawn' or 'forkserver' of multiprocessing, or "
            "open the first client after the fork"
        )
    options = (*_OPTIONS, ("grpc.enable_http_proxy", int(bool(target.proxy_variable))))
    if credentials is None:
        return grpc.aio.insecure_channel(target.address, options=options)
    return grpc.aio.secure_channel(target.address, credentials, options=options)


class Stubs:
    """The generated stubs on the client's channel, for what the SDK does not wrap.

    They neither repeat nor authorise calls: pass `metadata=await client.metadata()`, and read failures with
    `oofgg.errors.from_rpc_error`.
    """

    auth: auth_pb2_grpc.AuthServiceAsyncStub
    accounts: account_pb2_grpc.AccountServiceAsyncStub
    games: game_pb2_grpc.GameServiceAsyncStub
    sessions: session_pb2_grpc.SessionServiceAsyncStub
    leaderboards: leaderboard_pb2_grpc.LeaderboardServiceAsyncStub
    history: history_pb2_grpc.HistoryServiceAsyncStub
    ratings: rating_pb2_grpc.RatingServiceAsyncStub
    matchmaking: matchmaking_pb2_grpc.MatchmakingServiceAsyncStub

    def __init__(self, channel: grpc.aio.Channel) -> None:
        bind(self, channel)


def bind(stubs: Stubs, channel: grpc.aio.Channel) -> None:
    """Calls go over this channel from now on."""
    opened: Any = channel  # the generated classes say Channel and take both kinds
    stubs.auth = auth_pb2_grpc.AuthServiceStub(opened)
    stubs.accounts = account_pb2_grpc.AccountServiceStub(opened)
    stubs.games = game_pb2_grpc.GameServiceStub(opened)
    stubs.sessions = session_pb2_grpc.SessionServiceStub(opened)
    stubs.leaderboards = leaderboard_pb2_grpc.LeaderboardServiceStub(opened)
    stubs.history = history_pb2_grpc.HistoryServiceStub(opened)
    stubs.ratings = rating_pb2_grpc.RatingServiceStub(opened)
    stubs.matchmaking = matchmaking_pb2_grpc.MatchmakingServiceStub(opened)
