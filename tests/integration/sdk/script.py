"""A platform that does as it is told, to see what the SDK makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

import oofgg
from oofgg.v1 import auth_pb2, errors_pb2, game_pb2, session_pb2

SESSION = "s1"


def refusal_details(reason: str, metadata: dict[str, str], retry_after: float | None) -> bytes:
    info = errors_pb2.ErrorInfo(reason=reason, domain="oofgg", metadata=metadata)
    packed = [AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString())]
    if retry_after is not None:
        retry = errors_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(retry_after * 1000))
        packed.append(AnyMessage(type_url="type.googleapis.com/google.rpc.RetryInfo", value=retry.SerializeToString()))
    return errors_pb2.Status(message=reason, details=packed).SerializeToString()


async def refuse(
    context: Any, code: grpc.StatusCode, reason: str, retry_after: float | None = None, **metadata: str
) -> Any:
    """Ends a call with a reason."""
    details = refusal_details(reason, metadata, retry_after)
    await context.abort(code, reason, trailing_metadata=(("grpc-status-details-bin", details),))


def headers(context: Any) -> dict[str, str]:
    return {key: str(value) for key, value in context.invocation_metadata()}


class Auth:
    """Tokens a1, a2, … of which only the last is good, each for `expires_in` seconds."""

    def __init__(self) -> None:
        self.issued = 0
        self.refreshes: list[str] = []
        self.exchanges = 0
        self.expires_in = 900
        self.failing = 0
        self.refresh_gate = asyncio.Event()
        self.refresh_gate.set()
        self.ended = False
        self.refusals: list[tuple[grpc.StatusCode, str, float]] = []
        """Code, reason and seconds to wait, for the next calls that log in."""

    async def Register(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = await self.Login(request, context)
        return auth_pb2.RegisterResponse.FromString(answer.SerializeToString())

    async def LoginGuest(self, request: Any, context: Any) -> Any:  # noqa: N802
        answer = await self.Login(request, context)
        return auth_pb2.LoginGuestResponse.FromString(answer.SerializeToString())

    async def Login(self, request: Any, context: Any) -> auth_pb2.LoginResponse:  # noqa: N802
        if self.refusals:
            await refuse(context, *self.refusals.pop(0))
        self.issued += 1
        return auth_pb2.LoginResponse(
            user_id="u1", access_token=f"a{self.issued}", refresh_token=f"r{self.issued}", expires_in=self.expires_in
        )

    async def RefreshToken(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.refreshes.append(request.refresh_token)
        await self.refresh_gate.wait()
        if self.failing:
            self.failing -= 1
            await refuse(context, grpc.StatusCode.UNAVAILABLE, "BACKEND_UNAVAILABLE")
        if self.ended or request.refresh_token != f"r{self.issued}":
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID")
        self.issued += 1
        return auth_pb2.RefreshTokenResponse(
            access_token=f"a{self.issued}", refresh_token=f"r{self.issued}", expires_in=self.expires_in
        )

    async def ExchangeApiKey(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.exchanges += 1
        self.issued += 1
        return auth_pb2.ExchangeApiKeyResponse(access_token=f"a{self.issued}", expires_in=self.expires_in, game_id="g1")

    async def GetAccount(self, request: Any, context: Any) -> Any:  # noqa: N802
        if headers(context).get("authorization") != f"Bearer a{self.issued}":
            await refuse(context, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
        return auth_pb2.GetAccountResponse(account=auth_pb2.Account(user_id="u1"))


class Games:
    """Fails as often as it is told."""

    def __init__(self) -> None:
        self.created: list[game_pb2.CreateGameRequest] = []
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.peers: list[str] = []
        self.sleep = 0.0

    async def CreateGame(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.created.append(request)
        self.peers.append(context.peer())
        await asyncio.sleep(self.sleep)
        if self.failures:
            await refuse(context, *self.failures.pop(0))
        return game_pb2.CreateGameResponse(game=game_pb2.Game(game_id="g1", name=request.name))

    async def ListGames(self, request: Any, context: Any) -> Any:  # noqa: N802
        start = int(request.page_token or 0)
        games = [game_pb2.Game(game_id=str(number)) for number in range(start, start + 3)]
        return game_pb2.ListGamesResponse(games=games, next_page_token=str(start + 3) if start < 6 else "")


class StreamScript:
    """One stream of the session, seen from the server."""

    def __init__(self, requests: AsyncIterator[session_pb2.PlayRequest], context: Any) -> None:
        self._requests = requests
        self.context = context
        self.headers = headers(context)
        self.peer: str = context.peer()
        self.opening = session_pb2.StreamOpen()

    async def accept(
        self,
        head: int = 0,
        command: int = 0,
        state: int = session_pb2.SESSION_STATE_STARTED,
        heartbeat_ms: int = 400,
    ) -> None:
        """Answers the opening request. A script that is silent for 1.75 heartbeats is left."""
        await self.read_opening()
        session = session_pb2.Session(session_id=SESSION, seats=[session_pb2.Seat(seat=1, user_id="u1")])
        session.state = session_pb2.SessionState.ValueType(state)
        opened = session_pb2.StreamOpened(session=session, seat=1, head_seq=head, command=command)
        opened.heartbeat_ms = heartbeat_ms
        await self.write(session_pb2.PlayResponse(opened=opened))

    async def read_opening(self) -> None:
        request = await self.read()
        assert request.HasField("open")
        self.opening = request.open

    async def read(self) -> session_pb2.PlayRequest:
        """The next request."""
        async with asyncio.timeout(5):
            return await anext(self._requests)

    async def read_commands(self, count: int) -> list[session_pb2.Command]:
        """Commands, over as many requests as it takes."""
        commands: list[session_pb2.Command] = []
        while len(commands) < count:
            commands += (await self.read()).commands
        return commands

    async def read_ack(self) -> int:
        """The next acknowledgement."""
        while True:
            if flush := (await self.read()).ack_flush:
                return flush

    async def write(self, response: session_pb2.PlayResponse) -> None:
        await self.context.write(response)

    async def tell(self, *events: session_pb2.Event, flush: int = 0, ack: int = 0) -> None:
        await self.write(session_pb2.PlayResponse(events=events, flush=flush, ack_command=ack))

    async def refuse(self, code: grpc.StatusCode, reason: str, retry_after: float | None = None, **more: str) -> None:
        await refuse(self.context, code, reason, retry_after, **more)

    async def refuse_and_lose_the_trailers(self, code: grpc.StatusCode, reason: str) -> None:
        """As a client of grpc.aio sees a refusal while it writes: the reason in the last response, then INTERNAL."""
        status = errors_pb2.Status.FromString(refusal_details(reason, {}, None))
        status.code = code.value[0]
        await self.write(session_pb2.PlayResponse(status=status))
        await self.context.abort(grpc.StatusCode.INTERNAL, "Internal error from Core")

    async def stay(self) -> None:
        """Until the client goes."""
        async for _ in self._requests:
            pass


Script = Callable[[StreamScript], Awaitable[None]]


class Sessions:
    """Plays one script after another; the last one again and again."""

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.streams: list[StreamScript] = []
        self.errors: list[BaseException] = []
        self.join_nodes: list[str] = []
        self.owner_is_dead = 0
        """How many calls still hear of a node that nobody reaches any more."""

    async def Join(self, request: Any, context: Any) -> Any:  # noqa: N802
        node = headers(context).get("x-oofgg-node", "")
        self.join_nodes.append(node)
        if self.owner_is_dead:
            self.owner_is_dead -= 1
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "WRONG_NODE", node="dead")
        session = session_pb2.Session(session_id=request.session_id)
        placement = session_pb2.Placement(node=node or "n1")
        return session_pb2.JoinResponse(session=session, seat=session_pb2.Seat(seat=1), placement=placement)

    async def Leave(self, request: Any, context: Any) -> Any:  # noqa: N802
        if headers(context).get("x-oofgg-node") != "n2":
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "WRONG_NODE", node="n2")
        return session_pb2.LeaveResponse()

    async def Play(self, requests: Any, context: Any) -> None:  # noqa: N802
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        stream = StreamScript(requests, context)
        self.streams.append(stream)
        try:
            await script(stream)
        except (AssertionError, TimeoutError, StopAsyncIteration) as error:
            self.errors.append(error)
            raise


class Platform:
    """The scripted services behind one port."""

    def __init__(self, *others: tuple[Any, object]) -> None:
        """`others` are modules of protos and what answers for their services."""
        self.auth = Auth()
        self.games = Games()
        self.sessions = Sessions()
        self.target = ""
        self._served = ((auth_pb2, self.auth), (game_pb2, self.games), (session_pb2, self.sessions), *others)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Platform]:
        server = grpc.aio.server()
        for module, servicer in self._served:
            for service in module.DESCRIPTOR.services_by_name.values():
                server.add_generic_rpc_handlers((handlers_of(service, servicer),))
        self.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(0)
        if self.sessions.errors:
            pytest.fail(f"the scripted server saw something else: {self.sessions.errors!r}")


_BUILDERS: dict[tuple[bool, bool], Callable[..., Any]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def handlers_of(service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
    """The RPCs of a service that the script has."""
    handlers = {}
    for method in service.methods:
        if behaviour := getattr(servicer, method.name, None):
            build = _BUILDERS[method.client_streaming, method.server_streaming]
            request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
            handlers[method.name] = build(behaviour, request.FromString, response.SerializeToString)
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def message(seq: int, text: str = "x") -> session_pb2.Event:
    return session_pb2.Event(seq=seq, seat=2, message=session_pb2.Message(payload=text.encode()))


def finished(seq: int) -> session_pb2.Event:
    return session_pb2.Event(seq=seq, state=session_pb2.StateChange(state=session_pb2.SESSION_STATE_FINISHED))


def texts(events: Sequence[oofgg.Event]) -> list[str]:
    """What was said in these events."""
    return [event.text() for event in events if isinstance(event, oofgg.Message)]
