"""The blocking client: one login on one channel, served by the loop's thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

from oofgg import client
from oofgg._calls import Metadata
from oofgg._ticket_types import Attribute, FoundMatch, TicketPlayer
from oofgg._types import Account, Login, Session, TokenInfo
from oofgg.client import DEFAULT_TIMEOUT
from oofgg.sync._leaderboards import Leaderboards
from oofgg.sync._loop import Portal
from oofgg.sync._own_account import OwnAccount
from oofgg.sync._play import PlaySession
from oofgg.sync._queue_definitions import Queues
from oofgg.sync._resources import Games, History, Ratings, Sessions
from oofgg.sync._tickets import Ticket


class Client:
    """A connection to a platform, and at most one login on it: `oofgg.Client` for a program that owns its thread.

        with oofgg.sync.Client("localhost:8080", game="…") as client:
            client.login("ada", "…")

    Takes the same arguments and raises the same errors. Calls wait, at most `timeout` seconds; what they fail with is
    raised where they were made. Any thread may call, and any may close: calls that wait then raise `errors.Cancelled`,
    and so does everything afterwards. Not for a thread that runs an event loop, nor for a forked process: RuntimeError.
    """

    me: OwnAccount
    games: Games
    sessions: Sessions
    leaderboards: Leaderboards
    history: History
    ratings: Ratings
    queues: Queues

    def __init__(
        self,
        target: str,
        *,
        game: str | None = None,
        api_key: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._client = client.Client(target, game=game, api_key=api_key, credentials=credentials, timeout=timeout)
        self._portal = Portal()
        self._playing: set[PlaySession] = set()

    def __enter__(self) -> Self:
        self._portal.open()
        try:
            self._portal.call(self._client.__aenter__())
        except BaseException:
            self.close()
            raise
        self.me = OwnAccount(self._portal, self._client.me)
        self.games = Games(self._portal, self._client.games)
        self.sessions = Sessions(self._portal, self._client.sessions)
        self.leaderboards = Leaderboards(self._portal, self._client.leaderboards)
        self.history = History(self._portal, self._client.history)
        self.ratings = Ratings(self._portal, self._client.ratings)
        self.queues = Queues(self._portal, self._client.queues)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends what is under way, sessions that are being played too, and the connection. As leaving the block."""
        self._portal.close(self._close)

    if not TYPE_CHECKING:  # a type checker shall still miss what does not exist

        def __getattr__(self, name: str) -> Any:
            # Asked for only what is not there.
            if name in type(self).__annotations__:
                self._portal.require_opened()
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def game(self) -> str:
        """The game that logins are for; empty for console logins."""
        return self._client.game

    @property
    def login_info(self) -> Login | None:
        """Who is logged in."""
        self._portal.require_opened()
        return self._client.login_info

    def register(self, username: str, email: str, password: str) -> Login:
        """Creates an account and logs it in. Raises AlreadyExists(USERNAME_TAKEN or EMAIL_TAKEN), InvalidArgument."""
        return self._portal.call(self._client.register(username, email, password))

    def login(self, username: str, password: str) -> Login:
        """Logs an account in by its username or email address.

        Raises Unauthenticated(BAD_CREDENTIALS), ResourceExhausted(LOCKED_OUT) after too many failures.
        """
        return self._portal.call(self._client.login(username, password))

    def login_guest(self, device_id: str, *, existing_only: bool = False) -> Login:
        """Logs in with the secret of a device, 16 to 128 characters that nobody can guess, such as a random UUID.

        A device without an account gets one, unless `existing_only`: then NotFound(ACCOUNT_NOT_FOUND). Keep the secret
        on the device: who has it has the account. `client.me.link_password` makes it a full one.
        """
        return self._portal.call(self._client.login_guest(device_id, existing_only=existing_only))

    def logout(self) -> None:
        """Ends the login: its tokens stop working everywhere, its streams end. An API key is only forgotten."""
        self._portal.call(self._client.logout())

    def account(self) -> Account:
        """The account that is logged in."""
        return self._portal.call(self._client.account())

    def become_developer(self) -> Account:
        """Makes the account a developer's, where the platform allows this. Needs a console login."""
        return self._portal.call(self._client.become_developer())

    def validate_token(self, access_token: str) -> TokenInfo:
        """Whose access token this is, for a game's server that got it from a player."""
        return self._portal.call(self._client.validate_token(access_token))

    def metadata(self) -> Metadata:
        """What to pass as `metadata` to generated stubs on your own channel: the access token, renewed if need be."""
        return self._portal.call(self._client.metadata())

    def enqueue(
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

            ticket = client.enqueue("duel", {"mode": "ranked"})
            with client.play(ticket.matched()) as session: ...

        `attributes` are what the queues' rules ask for: texts, numbers, and lists of texts; `roles` what the caller
        plays, best first; `latencies` measured milliseconds by region. `party` is a session in which the caller, its
        creator, sits with others: they come along, in one team, and `players` may say more of each. A game's server
        names the `players`. `quick_join` takes a free seat in a session that has one, rather than wait.

        The same `request_id` gets the same ticket, in a game that was started again, too. Raises
        FailedPrecondition(TICKET_ACTIVE) for who has a ticket in this game, with its id in the error's metadata
        (`ticket_id`); ResourceExhausted(PENALISED) for who declined a match lately; NotFound(QUEUE_NOT_FOUND).
        """
        ticket = self._client.enqueue(
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
        return Ticket(self._portal, self._portal.call(ticket))

    def ticket(self, *, reconnect_for: float = 60.0) -> Ticket | None:
        """The ticket that the caller has in this game, as after a restart; None where there is none.

        One that has its match counts while the caller has a seat in the session, and can play.
        """
        found = self._portal.call(self._client.ticket(reconnect_for=reconnect_for))
        return None if found is None else Ticket(self._portal, found)

    def play(
        self,
        session: str | Session | FoundMatch,
        *,
        team: int = 0,
        after_seq: int | None = 0,
        reconnect_for: float = 60.0,
    ) -> PlaySession:
        """Takes a seat in a session, or the one that a match has for the caller, and plays: a context manager that is
        polled for what happens.

            with client.play(session_id) as session:
                session.send({"move": "e4"})
                while not session.ended:
                    for event in session.poll(): ...

        Events begin after number `after_seq`: by default with the first the session still has; None begins with what
        happens from now on. A dropped connection is opened again, and goes on where it was; after `reconnect_for`
        seconds without one it is given up.
        """
        self._portal.require_open()
        play = self._client.play(session, team=team, after_seq=after_seq, reconnect_for=reconnect_for)
        return PlaySession(self._portal, play, after_seq, self._playing)

    def spectate(
        self, session: str | Session, *, after_seq: int | None = 0, reconnect_for: float = 60.0
    ) -> PlaySession:
        """Watches a session without a seat, where it allows spectators: as `play`, but nothing can be sent.

        What is said to some participants only is not seen. Raises FailedPrecondition(SESSION_FULL). A game's server (a
        client with `api_key`) and its developer watch any session of their game, and see everything.
        """
        self._portal.require_open()
        play = self._client.spectate(session, after_seq=after_seq, reconnect_for=reconnect_for)
        return PlaySession(self._portal, play, after_seq, self._playing)

    async def _close(self) -> None:
        for session in list(self._playing):
            await session._abandon()
        self._playing.clear()
        await self._client.__aexit__(None, None, None)
