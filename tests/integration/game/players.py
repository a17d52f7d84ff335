"""A game with players, and a client that keeps its side of the stream protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc

from oofgg.v1 import auth_pb2, auth_pb2_grpc, errors_pb2, game_pb2, game_pb2_grpc, session_pb2_grpc
from oofgg.v1 import session_pb2 as pb
from pkg.errors import OofggError, Reason, backend_unavailable
from pkg.rpc.status import from_rpc_error, from_status
from tests.integration.calls import bearer, register
from tests.integration.conftest import RunningServices

WITHIN = 10.0
CODES = {code.value[0]: code for code in grpc.StatusCode}
Metadata = tuple[tuple[str, str], ...]


class Arena:
    """A game and its developer."""

    def __init__(self, running: RunningServices, game: game_pb2.Game, console: Metadata) -> None:
        self.game = game
        self.console = console
        self.reconnect(running)

    def reconnect(self, running: RunningServices) -> None:
        self.running = running
        self.sessions: Any = session_pb2_grpc.SessionServiceStub(running.channel)
        self.auth: Any = auth_pb2_grpc.AuthServiceStub(running.channel)

    @classmethod
    async def build(cls, running: RunningServices, name: str = "studio") -> Arena:
        auth = auth_pb2_grpc.AuthServiceStub(running.channel)
        registered = await register(auth, name)
        console = bearer(
            (
                await auth.BecomeDeveloper(
                    auth_pb2.BecomeDeveloperRequest(), metadata=bearer(registered.access_token), timeout=WITHIN
                )
            ).access_token
        )
        games: Any = game_pb2_grpc.GameServiceStub(running.channel)
        game = await games.CreateGame(game_pb2.CreateGameRequest(name="Duel"), metadata=console, timeout=WITHIN)
        return cls(running, game.game, console)

    async def player(self, name: str) -> Metadata:
        return bearer((await register(self.auth, name, game_id=self.game.game_id)).access_token)

    async def server(self) -> Metadata:
        """The token of an API key of the game."""
        made = await self.auth.CreateApiKey(
            auth_pb2.CreateApiKeyRequest(game_id=self.game.game_id, name="server"),
            metadata=self.console,
            timeout=WITHIN,
        )
        request = auth_pb2.ExchangeApiKeyRequest(api_key=made.api_key)
        return bearer((await self.auth.ExchangeApiKey(request, timeout=WITHIN)).access_token)

    async def create(self, who: Metadata, **fields: Any) -> pb.Session:
        request = pb.CreateSessionRequest(game_id=self.game.game_id, **fields)
        session: pb.Session = (await self.sessions.CreateSession(request, metadata=who, timeout=WITHIN)).session
        return session

    async def join(self, who: Metadata, session_id: str, **fields: Any) -> pb.JoinResponse:
        request = pb.JoinRequest(session_id=session_id, **fields)
        response: pb.JoinResponse = await self.sessions.Join(request, metadata=who, timeout=WITHIN)
        return response

    async def read(self, who: Metadata, session_id: str) -> pb.Session:
        request = pb.GetSessionRequest(session_id=session_id)
        session: pb.Session = (await self.sessions.GetSession(request, metadata=who, timeout=WITHIN)).session
        return session

    async def finish(self, who: Metadata, session_id: str, *places: int, **fields: Any) -> pb.FinishResponse:
        """States a result: the placement of seats 1, 2, …"""
        request = pb.FinishRequest(session_id=session_id, result=result(*places), **fields)
        response: pb.FinishResponse = await self.sessions.Finish(request, metadata=who, timeout=WITHIN)
        return response

    async def duel(self, **fields: Any) -> tuple[Metadata, Metadata, str]:
        """Two players in a started session."""
        ada, bob = await self.player("ada"), await self.player("bob")
        session = await self.create(ada, **fields)
        await self.join(ada, session.session_id)
        await self.join(bob, session.session_id)
        return ada, bob, session.session_id

    def play(self, who: Metadata, session_id: str, **options: Any) -> Player:
        return Player(self.sessions, who, session_id, **options)


def result(*places: int) -> pb.Result:
    return pb.Result(
        seats=[pb.SeatResult(seat=seat, placement=place, score=10 - place) for seat, place in enumerate(places, 1)]
    )


class Player:
    """One Play stream. Events are kept in the order they came; reliable ones are checked for gaps and repeats."""

    def __init__(
        self,
        sessions: Any,
        who: Metadata,
        session_id: str,
        *,
        after: int | None = None,
        acknowledge: bool = True,
        epoch: int = 0,
        spectate: bool = False,
    ) -> None:
        self._call = sessions.Play(metadata=who)
        self._acknowledge = acknowledge
        self._opening = pb.StreamOpen(session_id=session_id, after_seq=after, epoch=epoch, spectate=spectate)
        self.opened = pb.StreamOpened()
        self.status = errors_pb2.Status()
        self.events: list[pb.Event] = []
        self.last = after
        self.acked_command = 0
        self.heartbeats = 0
        self.flushes: list[int] = []
        self.error: OofggError | None = None
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._acks = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._call.write(pb.PlayRequest(open=self._opening))
        self._task = asyncio.create_task(self._read())
        await self.until(lambda: self.opened.HasField("session"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop()

    async def drop(self) -> None:
        """Goes away without a word."""
        self._call.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def send(self, *commands: pb.Command, **fields: Any) -> None:
        await self._write(pb.PlayRequest(commands=commands, **fields))

    async def until(self, condition: Callable[[], bool], within: float = WITHIN) -> None:
        """Waits for something that comes with the stream; fails with the error that ended it."""
        async with asyncio.timeout(within):
            while not condition():
                if self._task is not None and self._task.done():
                    raise self.error or AssertionError("the stream ended before the condition came true")
                self._changed.clear()
                await self._changed.wait()

    async def kept(self, command: int) -> None:
        """Waits until a command of this player is acknowledged."""
        await self.until(lambda: self.acked_command >= command)

    async def ended(self, within: float = WITHIN) -> OofggError | None:
        """Waits for the end of the stream; None when it ended well."""
        assert self._task is not None
        async with asyncio.timeout(within):
            await asyncio.shield(self._task)
        return self.error

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        """Seat and payload of each command that came."""
        return [(event.seat, event.message.payload) for event in self.events if event.HasField("message")]

    @property
    def presence(self) -> list[tuple[int, str]]:
        """Seat and change of each presence event that came."""
        return [
            (event.seat, pb.PresenceChange.Name(event.presence.change).removeprefix("PRESENCE_CHANGE_"))
            for event in self.events
            if event.HasField("presence")
        ]

    async def _write(self, request: pb.PlayRequest) -> None:
        # Two writes at the same time break a call of grpc.aio.
        async with self._writing:
            await self._call.write(request)

    async def _acknowledge_flushes(self) -> None:
        """Beside reading: a write to a connection that died may take as long as it likes."""
        while True:
            await self._acks.wait()
            self._acks.clear()
            try:
                await self._write(pb.PlayRequest(ack_flush=self.flushes[-1]))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return  # the stream is over; how it ended, reading tells

    async def _read(self) -> None:
        acknowledging = asyncio.create_task(self._acknowledge_flushes())
        try:
            async for response in self._call:
                self._take(response)
                self._changed.set()
        except grpc.aio.AioRpcError as error:
            # A write of ours that met the end has put INTERNAL in the place of the trailers.
            code = CODES[self.status.code]
            self.error = from_rpc_error(error) if code is grpc.StatusCode.OK else from_status(self.status, code)
        except asyncio.CancelledError:
            # grpc.aio raises it for a stream whose channel was closed, too.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self.error = backend_unavailable("The stream")
        finally:
            acknowledging.cancel()
            await asyncio.gather(acknowledging, return_exceptions=True)
            self._changed.set()

    def _take(self, response: pb.PlayResponse) -> None:
        if response.HasField("opened"):
            self.opened = response.opened
            if self.last is None:
                self.last = response.opened.head_seq
        for event in response.events:
            if event.HasField("log_reset"):
                self.last = event.seq
            elif event.seq:
                assert self.last is not None
                assert event.seq == self.last + 1, "a gap or a repeat"
                self.last = event.seq
            self.events.append(event)
        if response.HasField("status"):
            self.status = response.status
        self.acked_command = max(self.acked_command, response.ack_command)
        self.heartbeats += response.HasField("heartbeat")
        if response.flush:
            self.flushes.append(response.flush)
            if self._acknowledge:
                self._acks.set()


async def open_at_last(make: Callable[[], Player], meanwhile: Reason, within: float = 15.0) -> Player:
    """Opens a stream as soon as it is not refused for one reason any more; another one fails."""
    async with asyncio.timeout(within):
        while True:
            player = make()
            try:
                return await player.__aenter__()
            except OofggError as error:
                await player.drop()
                if error.reason is not meanwhile:
                    raise
                await asyncio.sleep(0.2)


def say(
    number: int, text: str = "", delivery: pb.DeliveryClass.ValueType = pb.DELIVERY_CLASS_RELIABLE, **fields: Any
) -> pb.Command:
    return pb.Command(number=number, payload=text.encode(), delivery=delivery, **fields)
