"""Games, sessions and history: the calls of a client, grouped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from oofgg import _convert
from oofgg._calls import Caller, new_request_id
from oofgg._channel import Stubs
from oofgg._events import Event
from oofgg._follow import follow, stream
from oofgg._types import (
    ApiKey,
    ApiKeyInfo,
    Game,
    GameSettings,
    Match,
    MatchNews,
    MatchOutcome,
    Outcome,
    Rating,
    RatingRules,
    ResultState,
    SeatResult,
    Session,
    SessionState,
)
from oofgg.v1 import auth_pb2, game_pb2, history_pb2, matchmaking_pb2, rating_pb2, session_pb2

_T = TypeVar("_T")
_PAGE = 100
_REPLAY_PAGE = 1_000


async def paged(page: Callable[[str], Awaitable[tuple[Iterable[_T], str]]]) -> AsyncIterator[_T]:
    """Everything on all pages; each is fetched when it is reached."""
    token = ""
    while True:
        items, token = await page(token)
        for item in items:
            yield item
        if not token:
            return


class _Resource:
    def __init__(self, stubs: Stubs, caller: Caller, game: Callable[[], str]) -> None:
        self._stubs = stubs
        self._caller = caller
        self._default_game = game

    def _game(self, game_id: str | None) -> str:
        chosen = game_id or self._default_game()
        if not chosen:
            raise ValueError("which game? Pass game_id=…, or make the client with game=…")
        return chosen


class Games(_Resource):
    """A developer's games."""

    async def create(self, name: str, *, description: str = "", settings: GameSettings | None = None) -> Game:
        """Makes a game. Raises AlreadyExists(GAME_NAME_TAKEN)."""
        request = game_pb2.CreateGameRequest(name=name, description=description, request_id=new_request_id())
        if settings is not None:
            request.settings.CopyFrom(_convert.wire_settings(settings))
        response = await self._caller.call(self._stubs.games.CreateGame, request)
        return _convert.game(response.game)

    async def get(self, game_id: str | None = None) -> Game:
        """Reads a game; the client's own by default. Raises NotFound."""
        request = game_pb2.GetGameRequest(game_id=self._game(game_id))
        response = await self._caller.call(self._stubs.games.GetGame, request)
        return _convert.game(response.game)

    def list(self) -> AsyncIterator[Game]:
        """The caller's games, newest first."""

        async def page(token: str) -> tuple[Iterable[Game], str]:
            request = game_pb2.ListGamesRequest(page_size=_PAGE, page_token=token)
            response = await self._caller.call(self._stubs.games.ListGames, request)
            return map(_convert.game, response.games), response.next_page_token

        return paged(page)

    async def update(
        self,
        game_id: str | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        settings: GameSettings | None = None,
    ) -> Game:
        """Changes what is given and leaves the rest."""
        changed = game_pb2.Game(game_id=self._game(game_id), name=name or "", description=description or "")
        if settings is not None:
            changed.settings.CopyFrom(_convert.wire_settings(settings))
        given = {"name": name, "description": description, "settings": settings}
        request = game_pb2.UpdateGameRequest(
            game=changed,
            update_mask=FieldMask(paths=[field for field, value in given.items() if value is not None]),
            request_id=new_request_id(),
        )
        response = await self._caller.call(self._stubs.games.UpdateGame, request)
        return _convert.game(response.game)

    async def delete(self, game_id: str | None = None) -> None:
        """Deletes a game: nobody can log in to it or open a session in it any more."""
        request = game_pb2.DeleteGameRequest(game_id=self._game(game_id), request_id=new_request_id())
        await self._caller.call(self._stubs.games.DeleteGame, request)

    async def create_api_key(
        self, name: str, *, game_id: str | None = None, expire_time: datetime | None = None
    ) -> ApiKey:
        """Makes an API key for a game's servers, good until `expire_time` (aware). It is shown this once."""
        request = auth_pb2.CreateApiKeyRequest(game_id=self._game(game_id), name=name, request_id=new_request_id())
        if expire_time is not None:
            request.expire_time.CopyFrom(_convert.wire_time(expire_time))
        response = await self._caller.call(self._stubs.auth.CreateApiKey, request)
        return ApiKey(response.api_key_id, response.api_key)

    def list_api_keys(self, *, game_id: str | None = None) -> AsyncIterator[ApiKeyInfo]:
        """A game's API keys that were not revoked, newest first."""
        chosen = self._game(game_id)

        async def page(token: str) -> tuple[Iterable[ApiKeyInfo], str]:
            request = auth_pb2.ListApiKeysRequest(game_id=chosen, page_size=_PAGE, page_token=token)
            response = await self._caller.call(self._stubs.auth.ListApiKeys, request)
            return map(_convert.api_key_info, response.api_keys), response.next_page_token

        return paged(page)

    async def revoke_api_key(self, key: str | ApiKey | ApiKeyInfo) -> None:
        """Ends a key and the tokens it was exchanged for. Raises NotFound(API_KEY_NOT_FOUND)."""
        api_key_id = key if isinstance(key, str) else key.api_key_id
        await self._caller.call(self._stubs.auth.RevokeApiKey, auth_pb2.RevokeApiKeyRequest(api_key_id=api_key_id))


class Sessions(_Resource):
    """Game sessions. To play in one, see `Client.play`."""

    async def create(
        self,
        *,
        label: str = "",
        attributes: Mapping[str, str] | None = None,
        min_seats: int = 0,
        max_seats: int = 0,
        max_spectators: int = 0,
        flush_window_ms: int | None = None,
        queue: str = "",
        game_id: str | None = None,
    ) -> Session:
        """Opens a session, which starts when `min_seats` (0: two) are taken, and takes `max_seats` (0: as many as it
        starts with). It has no seats yet: join it, or play. A `queue`, whose ratings its result moves, is for the
        game's developer or server.
        """
        request = session_pb2.CreateSessionRequest(
            game_id=self._game(game_id),
            label=label,
            attributes=attributes,
            min_seats=min_seats,
            max_seats=max_seats,
            max_spectators=max_spectators,
            flush_window_ms=flush_window_ms,
            queue=queue,
            request_id=new_request_id(),
        )
        response = await self._caller.call(self._stubs.sessions.CreateSession, request)
        return _convert.session(response.session, response.placement.node)

    async def get(self, session_id: str) -> Session:
        """Reads a session. Raises NotFound."""
        request = session_pb2.GetSessionRequest(session_id=session_id)
        response = await self._caller.call(self._stubs.sessions.GetSession, request)
        return _convert.session(response.session, response.placement.node)

    def list(
        self, *, state: SessionState | None = None, label: str = "", game_id: str | None = None
    ) -> AsyncIterator[Session]:
        """Sessions of the game that are not over, newest first."""
        wanted = session_pb2.SessionState.Value(f"SESSION_STATE_{state or SessionState.UNSPECIFIED}")
        game = self._game(game_id)

        async def page(token: str) -> tuple[Iterable[Session], str]:
            request = session_pb2.ListSessionsRequest(
                game_id=game, state=wanted, label=label, page_size=_PAGE, page_token=token
            )
            response = await self._caller.call(self._stubs.sessions.ListSessions, request)
            return map(_convert.session, response.sessions), response.next_page_token

        return paged(page)

    async def join(self, session: str | Session, *, team: int = 0) -> Session:
        """Takes a seat, or keeps the one the caller has. Raises FailedPrecondition(SESSION_FULL or SESSION_STATE)."""
        return (await self.take_seat(session, team))[0]

    async def take_seat(self, session: str | Session, team: int = 0) -> tuple[Session, int]:
        """As `join`; returns the session and the number of the caller's seat."""
        session_id, node = _which(session)
        request = session_pb2.JoinRequest(session_id=session_id, team=team, request_id=new_request_id())
        response = await self._caller.call(self._stubs.sessions.Join, request, node=node)
        return _convert.session(response.session, response.placement.node), response.seat.seat

    async def leave(self, session: str | Session) -> None:
        """Gives the account's seat up, whichever of its clients plays there. `PlaySession.leave` is for its own."""
        await self._leave(session, "")

    async def _leave(self, session: str | Session, instance_id: str) -> None:
        """The same, unless another client than the one with this id plays there: Aborted(REPLACED)."""
        session_id, node = _which(session)
        request = session_pb2.LeaveRequest(session_id=session_id, request_id=new_request_id(), instance_id=instance_id)
        await self._caller.call(self._stubs.sessions.Leave, request, node=node)

    async def update(
        self,
        session: str | Session,
        *,
        label: str | None = None,
        set_attributes: Mapping[str, str] | None = None,
        remove_attributes: Iterable[str] = (),
        expected_version: int | None = None,
    ) -> Session:
        """Changes label and attributes, for all to see as a SessionChange. For its creator and the game's developer.

        With `expected_version`, such as `session.version`, only if nobody else changed it: Aborted(CONFLICT) otherwise.
        """
        session_id, node = _which(session)
        request = session_pb2.UpdateSessionRequest(
            session_id=session_id,
            label=label,
            set_attributes=set_attributes,
            remove_attributes=remove_attributes,
            expected_version=expected_version,
            request_id=new_request_id(),
        )
        response = await self._caller.call(self._stubs.sessions.UpdateSession, request, node=node)
        return _convert.session(response.session, node)

    async def start(self, session: str | Session) -> Session:
        """Starts before all seats are taken, or goes on after a pause. For its creator and the game's developer."""
        return await self._change_state(session, session_pb2.SESSION_STATE_STARTED)

    async def pause(self, session: str | Session) -> Session:
        """Interrupts it: a state that all see; who plays fair waits. For its creator and the game's developer."""
        return await self._change_state(session, session_pb2.SESSION_STATE_PAUSED)

    async def kick(self, session: str | Session, seat: int, *, reason: str = "", may_return: bool = False) -> None:
        """Removes a participant, for good unless `may_return`. For the session's creator and the game's developer."""
        session_id, node = _which(session)
        request = session_pb2.KickRequest(
            session_id=session_id, seat=seat, reason=reason, may_return=may_return, request_id=new_request_id()
        )
        await self._caller.call(self._stubs.sessions.Kick, request, node=node)

    async def close(self, session: str | Session) -> None:
        """Ends a session without a result. For its creator and the game's developer."""
        session_id, node = _which(session)
        request = session_pb2.CloseRequest(session_id=session_id, request_id=new_request_id())
        await self._caller.call(self._stubs.sessions.Close, request, node=node)

    async def finish(
        self,
        session: str | Session,
        result: Mapping[int, int] | Iterable[SeatResult],
        *,
        scores: Mapping[int, int] | None = None,
    ) -> Outcome:
        """States the result: a place per seat (`{1: 1, 2: 2}`: seat 1 won), perhaps with scores, or SeatResults.

        The word of a game's developer (a client with `api_key`) counts at once; players have to agree.
        """
        session_id, node = _which(session)
        request = session_pb2.FinishRequest(
            session_id=session_id, result=_convert.wire_result(result, scores), request_id=new_request_id()
        )
        response = await self._caller.call(self._stubs.sessions.Finish, request, node=node)
        return _convert.outcome(response)

    def replay(self, session_id: str) -> AsyncIterator[Event]:
        """What was said and done in a finished session, in order, as the caller got it; the game's developer gets all.

        Raises NotFound(REPLAY_NOT_FOUND) when it is not kept any more, PermissionDenied(NOT_A_PARTICIPANT).
        """

        async def page(token: str) -> tuple[Iterable[Event], str]:
            request = session_pb2.GetReplayRequest(session_id=session_id, page_size=_REPLAY_PAGE, page_token=token)
            response = await self._caller.call(self._stubs.sessions.GetReplay, request)
            shown = [_convert.event(event) for event in response.events if not event.hidden]
            return shown, response.next_page_token

        return paged(page)

    async def backfill(self, session: str | Session, seats: Mapping[int, int | Iterable[str]]) -> int:
        """Looks for players for free seats of a session that came from a queue with `backfill`, until they are found.

        `seats` are by team: how many, or the roles that are missing there. Asking again replaces what was asked for;
        nothing ends the search. Returns how many seats are looked for now. For the session's creator and the game's
        developer.
        """
        request = matchmaking_pb2.RequestBackfillRequest(session_id=_which(session)[0])
        for team, wanted in seats.items():
            roles = [] if isinstance(wanted, int) else list(wanted)
            request.seats.add(team=team, seats=wanted if isinstance(wanted, int) else len(roles), roles=roles)
        return (await self._caller.call(self._stubs.matchmaking.RequestBackfill, request)).seats

    async def _change_state(self, session: str | Session, state: session_pb2.SessionState.ValueType) -> Session:
        session_id, node = _which(session)
        request = session_pb2.ChangeStateRequest(session_id=session_id, state=state, request_id=new_request_id())
        response = await self._caller.call(self._stubs.sessions.ChangeState, request, node=node)
        return _convert.session(response.session, node)


class Ratings(_Resource):
    """How good players are, per queue; `queue` is empty for sessions that players opened themselves."""

    async def get(self, user_ids: Iterable[str], *, queue: str = "", game_id: str | None = None) -> list[Rating]:
        """The ratings of 1 to 100 players, in their order. Who has not played has the one everybody begins with."""
        request = rating_pb2.GetRatingsRequest(game_id=self._game(game_id), queue=queue, user_ids=user_ids)
        response = await self._caller.call(self._stubs.ratings.GetRatings, request)
        return [_convert.rating(rating) for rating in response.ratings]

    async def rules(self, *, queue: str = "", game_id: str | None = None) -> RatingRules:
        """How a queue rates. For the game's developer."""
        request = rating_pb2.GetRatingRulesRequest(game_id=self._game(game_id), queue=queue)
        return _convert.rating_rules((await self._caller.call(self._stubs.ratings.GetRatingRules, request)).rules)

    async def set_rules(self, rules: RatingRules, *, queue: str = "", game_id: str | None = None) -> RatingRules:
        """Decides how a queue rates, from its next result on. For the game's developer."""
        request = rating_pb2.SetRatingRulesRequest(
            game_id=self._game(game_id), queue=queue, rules=_convert.wire_rating_rules(rules)
        )
        return _convert.rating_rules((await self._caller.call(self._stubs.ratings.SetRatingRules, request)).rules)


class History(_Resource):
    """Finished matches, a moment after they finish."""

    def list(
        self,
        *,
        user_id: str = "",
        opponent: str = "",
        outcome: MatchOutcome | None = None,
        result_state: ResultState | None = None,
        queue: str | None = None,
        label: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        game_id: str | None = None,
    ) -> AsyncIterator[Match]:
        """Matches of the game, latest first: all, or those of one player, against an opponent, with an outcome.

        `queue` "" are matches without one; `since` is included, `until` is not, and both are aware.
        """
        game = self._game(game_id)
        wanted = _convert.match_filter(user_id, opponent, outcome, result_state, queue, label, since, until)

        async def page(token: str) -> tuple[Iterable[Match], str]:
            request = history_pb2.ListMatchesRequest(game_id=game, filter=wanted, page_size=_PAGE, page_token=token)
            response = await self._caller.call(self._stubs.history.ListMatches, request)
            return map(_convert.match, response.matches), response.next_page_token

        return paged(page)

    def watch(
        self, *, position: str = "", from_start: bool = False, game_id: str | None = None
    ) -> AsyncIterator[MatchNews]:
        """Matches as they finish, each once and in one order; for the game's developer or server. Never ends by itself.

        Begins after `position` (of the last MatchNews dealt with: keep it), with the first match kept, or with what
        finishes from now on. A dropped connection is opened again.
        """
        return follow(self._stubs, self._caller, self._game(game_id), position, from_start)

    def export(self, *, since: datetime | None = None, game_id: str | None = None) -> AsyncIterator[str]:
        """Matches as newline-delimited JSON, latest first, in pieces of whole lines; for the game's developer.

        Raises OofggError when it breaks: begin again then.
        """
        wanted = _convert.match_filter("", "", None, None, None, "", since, None)
        request = history_pb2.ExportMatchesRequest(game_id=self._game(game_id), filter=wanted)

        async def pieces() -> AsyncIterator[str]:
            async for response in stream(self._caller, self._stubs.history.ExportMatches, request):
                yield response.ndjson

        return pieces()

    async def get(self, match_id: str) -> Match:
        """Reads a match; its id is that of its session. Raises NotFound."""
        response = await self._caller.call(self._stubs.history.GetMatch, history_pb2.GetMatchRequest(match_id=match_id))
        return _convert.match(response.match)


def _which(session: str | Session) -> tuple[str, str]:
    return (session, "") if isinstance(session, str) else (session.session_id, session.node)
