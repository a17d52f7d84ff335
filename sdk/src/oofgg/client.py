"""The client: one login on one channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

from oofgg import _convert
from oofgg._calls import Caller, Metadata, new_request_id
from oofgg._connection import Connection
from oofgg._leaderboards import Leaderboards
from oofgg._login import LoginKeeper
from oofgg._own_account import OwnAccount
from oofgg._play import PlaySession
from oofgg._queues import Queues
from oofgg._resources import Games, History, Ratings, Sessions
from oofgg._target import parse_target
from oofgg._ticket_types import Attribute, FoundMatch, TicketPlayer
from oofgg._tickets import Desk, Ticket
from oofgg._types import Account, Login, Session, TokenInfo
from oofgg.v1 import auth_pb2

DEFAULT_TIMEOUT = 15.0
_NOT_OPEN = "this client is not open: use `async with oofgg.Client(…) as client:`"
# What a client has once it is open.
_PARTS = frozenset(
    "stubs me games sessions leaderboards history ratings queues _desk _login".split()  # noqa: SIM905
)


class Client:
    """A connection to a platform, and at most one login on it.

        async with oofgg.Client("localhost:8080", game="…") as client:
            await client.login("ada", "…")

    `target` is host:port. With `game`, logins are a player's in that game; without it, console logins. With `api_key`,
    the client is a game's server, logged in from the start. `timeout` is for each call with its repeats, in seconds.
    `credentials`, such as `grpc.ssl_channel_credentials()`, encrypt the connection.

    Tokens are renewed by themselves. Calls are repeated while the platform cannot be reached, and then fail with
    `errors.Unavailable`, which says what to do; where nothing has ever answered on this machine, after four seconds.
    When the caller sends too much (RATE_LIMITED), they wait once for as long as the platform says, up to ten seconds
    and within `timeout`. Everything else they fail with is another `OofggError`, after `close` too: Cancelled.

    For one event loop of one process. RuntimeError before it is entered, in another event loop, and in a process that
    was forked since.
    """

    def __init__(
        self,
        target: str,
        *,
        game: str | None = None,
        api_key: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Raises ValueError for a target that cannot be one."""
        self._target = parse_target(target)
        self.game = game or ""
        self._api_key = api_key or ""
        self._credentials = credentials
        self._caller = Caller(timeout)
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        if self._connection is not None:
            raise RuntimeError("this client is open already")
        self._connection = Connection(self._target, self._credentials)
        self._caller.connection = self._connection
        self.stubs = self._connection.stubs
        """The generated stubs, for what is not wrapped here."""
        self._login = LoginKeeper(self.stubs, self._caller, self._api_key)
        parts = (self.stubs, self._caller, self._game_id)
        self.me = OwnAccount(self.stubs, self._caller)
        self.games = Games(*parts)
        self.sessions = Sessions(*parts)
        self.leaderboards = Leaderboards(*parts)
        self.history = History(*parts)
        self.ratings = Ratings(*parts)
        self.queues = Queues(*parts)
        self._desk = Desk(self._connection, self._caller, self._game_id, lambda: self.login_info)
        if self._api_key:
            try:
                await self._login.renew()
            except BaseException:
                await self.__aexit__(None, None, None)
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leaves the queues, ends what is under way, and closes the connection. As leaving the block; may be repeated.

        What a session that is being played has not sent yet is lost: leave its block before.
        """
        connection, self._connection = self._connection, None
        if connection is None or connection.is_foreign:
            return
        try:
            await self._desk.close()
            await self._login.close()
        finally:
            await connection.close()

    if not TYPE_CHECKING:  # a type checker shall still miss what does not exist

        def __getattr__(self, name: str) -> Any:
            # Asked for only what is not there.
            if name in _PARTS:
                raise RuntimeError(_NOT_OPEN)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def login_info(self) -> Login | None:
        """Who is logged in."""
        return self._login.login

    async def register(self, username: str, email: str, password: str) -> Login:
        """Creates an account and logs it in. Raises AlreadyExists(USERNAME_TAKEN or EMAIL_TAKEN), InvalidArgument."""
        request = auth_pb2.RegisterRequest(
            username=username, email=email, password=password, game_id=self.game, request_id=new_request_id()
        )
        response = await self._caller.call(self.stubs.auth.Register, request, authorized=False)
        return self._accept(response)

    async def login(self, username: str, password: str) -> Login:
        """Logs an account in by its username or email address.

        Raises Unauthenticated(BAD_CREDENTIALS), ResourceExhausted(LOCKED_OUT) after too many failures.
        """
        request = auth_pb2.LoginRequest(username=username, password=password, game_id=self.game)
        response = await self._caller.call(self.stubs.auth.Login, request, authorized=False)
        return self._accept(response)

    async def login_guest(self, device_id: str, *, existing_only: bool = False) -> Login:
        """Logs in with the secret of a device, 16 to 128 characters that nobody can guess, such as a random UUID.

        A device without an account gets one, unless `existing_only`: then NotFound(ACCOUNT_NOT_FOUND). Keep the secret
        on the device: who has it has the account. `client.me.link_password` makes it a full one.
        """
        request = auth_pb2.LoginGuestRequest(device_id=device_id, game_id=self.game, existing_only=existing_only)
        response = await self._caller.call(self.stubs.auth.LoginGuest, request, authorized=False)
        return self._accept(response)

    async def logout(self) -> None:
        """Ends the login: its tokens stop working everywhere, its streams end. An API key is only forgotten."""
        if not self._login.by_key:
            await self._caller.call(self.stubs.auth.Logout, auth_pb2.LogoutRequest())
        self._login.forget()

    async def account(self) -> Account:
        """The account that is logged in."""
        response = await self._caller.call(self.stubs.auth.GetAccount, auth_pb2.GetAccountRequest())
        return _convert.account(response.account)

    async def become_developer(self) -> Account:
        """Makes the account a developer's, where the platform allows this. Needs a console login."""
        response = await self._caller.call(self.stubs.auth.BecomeDeveloper, auth_pb2.BecomeDeveloperRequest())
        account = _convert.account(response.account)
        self._login.replace_access(response.access_token, response.expires_in, account.role)
        return account

    async def validate_token(self, access_token: str) -> TokenInfo:
        """Whose access token this is, for a game's server that got it from a player."""
        request = auth_pb2.ValidateTokenRequest(access_token=access_token)
        found = await self._caller.call(self.stubs.auth.ValidateToken, request, authorized=False)
        return TokenInfo(
            is_valid=found.is_valid,
            user_id=found.user_id,
            username=found.username,
            role=_convert.role(found.role),
            game_id=found.game_id,
            expires_in=found.expires_in,
        )

    async def metadata(self) -> Metadata:
        """What to pass as `metadata` to `stubs`: the login's access token, renewed if need be."""
        self._caller.require_usable()
        return await self._login.metadata()

    async def enqueue(
        self,
        queues: str | Iterable[str],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        roles: Iterable[str] = (),
        latencies: Mapping[str, float] | None = None,
        party: str | Session | None = None,
        players: Iterable[TicketPlayer] = (),
        quick_join: bool = False,
        request_id: str | None = None,
        reconnect_for: float = 60.0,
    ) -> Ticket:
        """Looks for a match in a queue, or in several at once, and returns when the ticket waits there.

            ticket = await client.enqueue("duel", {"mode": "ranked"})
            async with client.play(await ticket.matched()) as session: ...

        `attributes` are what the queues' rules ask for: texts, numbers, and lists of texts; `roles` what the caller
        plays, best first; `latencies` measured milliseconds by region. `party` is a session in which the caller, its
        creator, sits with others: they come along, in one team, and `players` may say more of each. A game's server
        names the `players`. `quick_join` takes a free seat in a session that has one, rather than wait.

        The same `request_id` gets the same ticket, in a game that was started again, too. Raises
        FailedPrecondition(TICKET_ACTIVE) for who has a ticket in this game, with its id in the error's metadata
        (`ticket_id`); ResourceExhausted(PENALISED) for who declined a match lately; NotFound(QUEUE_NOT_FOUND).
        """
        return await self._desk.enqueue(
            queues,
            attributes,
            roles=roles,
            latencies=latencies,
            party=party,
            players=players,
            quick_join=quick_join,
            request_id=request_id,
            reconnect_for=reconnect_for,
        )

    async def ticket(self, *, reconnect_for: float = 60.0) -> Ticket | None:
        """The ticket that the caller has in this game, as after a restart; None where there is none.

        One that has its match counts while the caller has a seat in the session, and can play.
        """
        return await self._desk.active(reconnect_for)

    def play(
        self,
        session: str | Session | FoundMatch,
        *,
        team: int = 0,
        after_seq: int | None = 0,
        reconnect_for: float = 60.0,
    ) -> PlaySession:
        """Takes a seat in a session, or the one that a match has for the caller, and plays: an async context manager,
        and an iterator of what happens.

            async with client.play(session_id) as session:
                await session.send({"move": "e4"})
                async for event in session: ...

        Events begin after number `after_seq`: by default with the first the session still has; None begins with what
        happens from now on. A dropped connection is opened again, and goes on where it was; after `reconnect_for`
        seconds without one it is given up.
        """
        return PlaySession(
            sessions=self.sessions,
            connection=self._open_connection(),
            login=self._login,
            session=session,
            team=team,
            after_seq=after_seq,
            reconnect_for=reconnect_for,
        )

    def spectate(
        self, session: str | Session, *, after_seq: int | None = 0, reconnect_for: float = 60.0
    ) -> PlaySession:
        """Watches a session without a seat, where it allows spectators: as `play`, but nothing can be sent.

        What is said to some participants only is not seen. Raises FailedPrecondition(SESSION_FULL). A game's server (a
        client with `api_key`) and its developer watch any session of their game, and see everything.
        """
        return PlaySession(
            sessions=self.sessions,
            connection=self._open_connection(),
            login=self._login,
            session=session,
            team=0,
            after_seq=after_seq,
            reconnect_for=reconnect_for,
            spectate=True,
        )

    def _game_id(self) -> str:
        return self.game or (self.login_info.game_id if self.login_info else "")

    def _open_connection(self) -> Connection:
        if self._connection is not None:
            return self._connection
        self._caller.require_usable()  # tells of one that was closed
        raise RuntimeError(_NOT_OPEN)

    def _accept(
        self, response: auth_pb2.RegisterResponse | auth_pb2.LoginResponse | auth_pb2.LoginGuestResponse
    ) -> Login:
        login = Login(response.user_id, _convert.role(response.role), self.game)
        return self._login.accept(login, response.access_token, response.refresh_token, response.expires_in)
