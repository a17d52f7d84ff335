"""A platform with a game on it: its players, its sessions, its nodes."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from bench.generator import BenchError, Seat
from bench.nodes import Node, further_nodes
from bench.platform import Platform, scratch
from oofgg.v1 import auth_pb2, auth_pb2_grpc, game_pb2, game_pb2_grpc, session_pb2_grpc
from oofgg.v1 import session_pb2 as pb

PASSWORD = "correct horse"
# The first players have a password; more of them would take long to hash, so the others are guests.
WITH_PASSWORD = 32

_CALL_SECONDS = 30.0
_DIRECT = [("grpc.enable_http_proxy", 0)]  # whatever proxy the environment names
_AT_ONCE = 16
_MOST_ELSEWHERE = 2_000

Metadata = tuple[tuple[str, str], ...]
_Item = TypeVar("_Item")


@dataclass(slots=True)
class Player:
    """Somebody with a login. A guest has a device."""

    name: str
    user_id: str
    token: str
    device_id: str = ""

    @property
    def metadata(self) -> Metadata:
        """What sends the token."""
        return (("authorization", f"Bearer {self.token}"),)


class Stage:
    """A platform with a game on it. Players are registered when they are first asked for."""

    def __init__(self, platform: Platform, channel: grpc.aio.Channel) -> None:
        self.platform = platform
        self.endpoints = platform.endpoints
        self.pids = platform.pids
        self.auth: Any = auth_pb2_grpc.AuthServiceStub(channel)
        self.games: Any = game_pb2_grpc.GameServiceStub(channel)
        self.sessions: Any = session_pb2_grpc.SessionServiceStub(channel)
        self.channel = channel
        self.game_id = ""
        self.server: Metadata = ()
        self._developer: Metadata = ()
        self._players: list[Player] = []

    async def prepare(self) -> None:
        """Makes the game, and the API key that speaks for its server."""
        studio = await self._register("")
        answer = await self.auth.BecomeDeveloper(
            auth_pb2.BecomeDeveloperRequest(), metadata=studio.metadata, timeout=_CALL_SECONDS
        )
        self._developer = (("authorization", f"Bearer {answer.access_token}"),)
        made = await self.games.CreateGame(
            game_pb2.CreateGameRequest(name="Bench", settings=game_pb2.GameSettings(max_seats=512)),
            metadata=self._developer,
            timeout=_CALL_SECONDS,
        )
        self.game_id = made.game.game_id
        key = await self.auth.CreateApiKey(
            auth_pb2.CreateApiKeyRequest(game_id=self.game_id, name="server"),
            metadata=self._developer,
            timeout=_CALL_SECONDS,
        )
        exchanged = await self.auth.ExchangeApiKey(
            auth_pb2.ExchangeApiKeyRequest(api_key=key.api_key), timeout=_CALL_SECONDS
        )
        self.server = (("authorization", f"Bearer {exchanged.access_token}"),)

    async def players(self, number: int, *, first: int = 0) -> list[Player]:
        """Players of the game from the one numbered `first`, always the same."""
        while (missing := first + number - len(self._players)) > 0:
            with_password = len(self._players) < WITH_PASSWORD
            more = range(min(_AT_ONCE, missing))
            made = (self._register(self.game_id) if with_password else self._guest() for _ in more)
            self._players += await asyncio.gather(*made)
        return self._players[first : first + number]

    def nodes(self, number: int, settings: Mapping[str, str] | None = None) -> AbstractAsyncContextManager[list[Node]]:
        """Further nodes, ended when left. They are known by their process ids, which are not among `pids`."""
        return further_nodes(self.platform.data_dir, number, settings or {})

    async def seated(self, number: int, *, window_ms: int | None = None) -> list[Seat]:
        """A session with this many players seated, the first ones. Without a window it has the default one."""
        return await self._seated(self.sessions, await self.players(number), number, window_ms)

    async def duels(self, number: int, pairs: int) -> list[str]:
        """Ids of sessions of two, played by so many pairs in turn. Whoever asks for them ends them."""
        players = await self.players(2 * pairs)
        made: list[str] = []

        async def sit(index: int) -> None:
            first = 2 * (index % pairs)
            made.append((await self._seated(self.sessions, players[first : first + 2], 2, None))[0].session_id)

        await _some_at_once(range(number), sit)
        return made

    @asynccontextmanager
    async def session(
        self, number: int, *, window_ms: int | None = None, node: Node | None = None
    ) -> AsyncIterator[list[Seat]]:
        """The same, on a node if one is given, closed when left."""
        async with self.several(1, number, window_ms=window_ms, node=node) as seats:
            yield seats

    @asynccontextmanager
    async def several(
        self, sessions: int, number: int, *, window_ms: int | None = None, node: Node | None = None, first: int = 0
    ) -> AsyncIterator[list[Seat]]:
        """Sessions of this many players each, closed when left. No player is in two; they are those from `first` on."""
        players = await self.players(number * sessions, first=first)
        seats: list[Seat] = []
        elsewhere: list[Seat] = []

        async def close(seat: Seat) -> None:
            closing = pb.CloseRequest(session_id=seat.session_id)
            try:
                await stub.Close(closing, metadata=self.server + _to(seat.node), timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError:
                # A node that was given may be gone by now; then its sessions end with their platform.
                if node is None:
                    raise

        async with AsyncExitStack() as stack:
            channel = self.channel
            if node:  # only Envoy finds the nodes
                direct = grpc.aio.insecure_channel(self.endpoints.envoy, options=_DIRECT)
                channel = await stack.enter_async_context(direct)
            stub: Any = session_pb2_grpc.SessionServiceStub(channel)

            async def sit(start: int) -> None:
                group = players[start : start + number]
                placed = await self._created(stub, group[0], number, window_ms)
                # The platform puts a session where there are the fewest.
                while node and placed.node != node.name:
                    elsewhere.append(placed)
                    if len(elsewhere) > _MOST_ELSEWHERE:
                        raise BenchError(f"no more sessions are placed on {node.name}")
                    placed = await self._created(stub, group[0], number, window_ms)
                seats.extend(await self._joined(stub, placed, group))

            try:
                await _some_at_once(range(0, len(players), number), sit)
                await _some_at_once(elsewhere, close)
                elsewhere.clear()
                yield seats
            finally:
                await _some_at_once([*{seat.session_id: seat for seat in seats}.values(), *elsewhere], close)

    async def _seated(self, stub: Any, players: list[Player], number: int, window_ms: int | None) -> list[Seat]:
        return await self._joined(stub, await self._created(stub, players[0], number, window_ms), players)

    async def _created(self, stub: Any, player: Player, number: int, window_ms: int | None) -> Seat:
        request = pb.CreateSessionRequest(game_id=self.game_id, min_seats=number, max_seats=number)
        if window_ms is not None:
            request.flush_window_ms = window_ms
        made = await stub.CreateSession(request, metadata=player.metadata, timeout=_CALL_SECONDS)
        return Seat(made.session.session_id, made.placement.node, player.token)

    async def _joined(self, stub: Any, placed: Seat, players: list[Player]) -> list[Seat]:
        async def join(player: Player) -> None:
            request = pb.JoinRequest(session_id=placed.session_id)
            await stub.Join(request, metadata=player.metadata + _to(placed.node), timeout=_CALL_SECONDS)

        await _some_at_once(players, join)
        return [Seat(placed.session_id, placed.node, player.token) for player in players]

    async def _register(self, game_id: str) -> Player:
        name = f"bench-{os.urandom(6).hex()}"
        request = auth_pb2.RegisterRequest(
            username=name, email=f"{name}@example.org", password=PASSWORD, game_id=game_id
        )
        answer = await self.auth.Register(request, timeout=_CALL_SECONDS, wait_for_ready=True)
        return Player(name, answer.user_id, answer.access_token)

    async def _guest(self) -> Player:
        device = str(uuid.uuid4())
        request = auth_pb2.LoginGuestRequest(device_id=device, game_id=self.game_id)
        answer = await self.auth.LoginGuest(request, timeout=_CALL_SECONDS)
        return Player(answer.username, answer.user_id, answer.access_token, device)


@asynccontextmanager
async def open_stage(*, lifted: bool = True) -> AsyncIterator[Stage]:
    """A platform with a game on it, gone when left; with its limits lifted, or as players meet it."""
    with scratch() as data_dir:
        platform = Platform(data_dir)
        try:
            await platform.start(lifted=lifted)
            async with grpc.aio.insecure_channel(platform.endpoints.service, options=_DIRECT) as channel:
                stage = Stage(platform, channel)
                await stage.prepare()
                yield stage
        finally:
            await platform.stop()


def _to(node: str) -> Metadata:
    return (("x-oofgg-node", node),)


async def _some_at_once(items: Iterable[_Item], work: Callable[[_Item], Awaitable[None]]) -> None:
    """Does the work for each, for a few at a time. Raises what the first that failed raised."""
    waiting = iter(items)

    async def some() -> None:
        for item in waiting:
            await work(item)

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
